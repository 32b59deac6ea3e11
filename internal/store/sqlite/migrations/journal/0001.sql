-- The one row that every transaction of the journal asserts and moves: epoch
-- is the process that may write, seq the last row of the journal, and txn
-- numbers the transactions, so that a commit whose result was lost can be
-- found again.
CREATE TABLE head (
	one   INTEGER PRIMARY KEY CHECK (one = 1),
	epoch INTEGER NOT NULL,
	seq   INTEGER NOT NULL,
	txn   INTEGER NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0, 0, 0);

-- Names and ids are written once; the journal and its indexes carry numbers.
CREATE TABLE machines (
	no   INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
) STRICT;

-- born is the seq at which the machine's earlier life was deleted: only rows
-- after it belong to its state.
CREATE TABLE subjects (
	no      INTEGER PRIMARY KEY,
	machine INTEGER NOT NULL REFERENCES machines (no),
	id      TEXT NOT NULL,
	born    INTEGER NOT NULL DEFAULT 0,
	UNIQUE (machine, id)
) STRICT;
CREATE INDEX subjects_by_id ON subjects (id);

-- version is the machine's version after the row, 0 for a companion row, which
-- counts for none. at is microseconds since 1970, UTC. fields is one JSON
-- object in the event's order. NULL stands for an empty value.
-- subject and machine are not declared as references: the writer has just
-- looked them up, and a check per row would cost a quarter of the throughput.
CREATE TABLE journal (
	seq        INTEGER PRIMARY KEY,
	subject    INTEGER NOT NULL,
	machine    INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	event      TEXT NOT NULL,
	level      TEXT,
	from_state TEXT,
	to_state   TEXT,
	trigger    TEXT,
	cause      INTEGER,
	request_id TEXT,
	fields     TEXT
) STRICT;
CREATE INDEX journal_by_subject ON journal (subject);
CREATE INDEX journal_by_machine ON journal (machine);
CREATE INDEX journal_by_time ON journal (at);
CREATE INDEX journal_by_request ON journal (request_id) WHERE request_id IS NOT NULL;

CREATE TABLE snapshots (
	subject INTEGER PRIMARY KEY REFERENCES subjects (no),
	at      INTEGER NOT NULL,
	version INTEGER NOT NULL,
	data    TEXT NOT NULL
) STRICT;
