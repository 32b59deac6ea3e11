-- The one row that every transaction of the journal locks and moves: seq is the
-- last row of the journal, txn numbers the transactions, and floor is where the
-- journal was cut: queries show rows after it alone. A counter row and not a
-- sequence, because a sequence leaves gaps and does not follow the order of
-- commits.
CREATE TABLE head (
	one   INT PRIMARY KEY CHECK (one = 1),
	seq   BIGINT NOT NULL,
	txn   BIGINT NOT NULL,
	floor BIGINT NOT NULL
);
INSERT INTO head (one, seq, txn, floor) VALUES (1, 0, 0, 0);

-- Who may write. Acquiring raises the epoch, which every transaction compares
-- under the lock of the row. txn is head's number of the last transaction that
-- was committed under the lease, and fenced what it was when the epoch was last
-- raised: with them a commit whose result was lost is found again, also by a
-- process that has lost the lease since.
CREATE TABLE leases (
	name       TEXT PRIMARY KEY,
	holder     TEXT NOT NULL,
	epoch      BIGINT NOT NULL,
	expires_at TIMESTAMPTZ NOT NULL,
	txn        BIGINT NOT NULL,
	fenced     BIGINT NOT NULL
);

-- version is the machine's version after the row, 0 for a companion row, which
-- counts for none. at is microseconds since 1970, UTC. fields is one JSON
-- object in the event's order: TEXT, because JSONB would give back another one.
-- An empty text, and cause 0, stand for no value.
CREATE TABLE journal (
	seq        BIGINT PRIMARY KEY,
	machine    TEXT NOT NULL,
	id         TEXT NOT NULL,
	version    BIGINT NOT NULL,
	at         BIGINT NOT NULL,
	event      TEXT NOT NULL,
	level      TEXT NOT NULL,
	from_state TEXT NOT NULL,
	to_state   TEXT NOT NULL,
	trigger    TEXT NOT NULL,
	cause      BIGINT NOT NULL,
	request_id TEXT NOT NULL,
	fields     TEXT NOT NULL
);
CREATE INDEX journal_by_machine ON journal (machine, seq);
CREATE INDEX journal_by_subject ON journal (id, machine, seq);
CREATE INDEX journal_by_time ON journal (at);
CREATE INDEX journal_by_request ON journal (request_id, seq) WHERE request_id <> '';

-- Every machine that has rows of its own or a snapshot. born is the seq at which
-- its earlier life was deleted: only rows after it belong to its state. at and
-- version are the last row and the version that the snapshot contains, 0 where
-- there is none.
CREATE TABLE machines (
	machine  TEXT NOT NULL,
	id       TEXT NOT NULL,
	born     BIGINT NOT NULL,
	at       BIGINT NOT NULL,
	version  BIGINT NOT NULL,
	snapshot TEXT,
	PRIMARY KEY (machine, id)
);
-- Pages are in the order of bytes, whatever the server's locale.
CREATE INDEX machines_in_order ON machines (machine, (id COLLATE "C"));

-- The one row that every transaction of telemetry locks, so that none of them
-- waits for the journal's. taken is the number of the last request row, and
-- rolled that of the last one that was counted below.
CREATE TABLE telemetry (
	one    INT PRIMARY KEY CHECK (one = 1),
	taken  BIGINT NOT NULL,
	rolled BIGINT NOT NULL
);
INSERT INTO telemetry (one, taken, rolled) VALUES (1, 0, 0);

-- at is microseconds since 1970, UTC; whole is the row as JSON, '' if there is
-- none.
CREATE TABLE requests (
	id       TEXT PRIMARY KEY,
	no       BIGINT NOT NULL,
	at       BIGINT NOT NULL,
	profile  TEXT NOT NULL,
	provider TEXT NOT NULL,
	outcome  TEXT NOT NULL,
	status   BIGINT NOT NULL,
	whole    TEXT NOT NULL
);
CREATE UNIQUE INDEX requests_by_no ON requests (no);
CREATE INDEX requests_by_time ON requests (at, id);
CREATE INDEX requests_by_profile ON requests (profile, at, id);
CREATE INDEX requests_by_provider ON requests (provider, at, id);
CREATE INDEX requests_by_outcome ON requests (outcome, at, id);

CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value DOUBLE PRECISION NOT NULL
);

-- The columns are those of store.Usage; day is 2006-01-02, UTC.
CREATE TABLE usage (
	day         TEXT NOT NULL,
	provider    TEXT NOT NULL,
	model       TEXT NOT NULL,
	requests    BIGINT NOT NULL,
	failed      BIGINT NOT NULL,
	input       BIGINT NOT NULL,
	output      BIGINT NOT NULL,
	cache_read  BIGINT NOT NULL,
	cache_write BIGINT NOT NULL,
	reasoning   BIGINT NOT NULL,
	estimated   BIGINT NOT NULL,
	PRIMARY KEY (day, provider, model)
);

CREATE TABLE attempts (
	day      TEXT NOT NULL,
	provider TEXT NOT NULL,
	class    TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	PRIMARY KEY (day, provider, class)
);

-- bucket is store.Bucket of the latency.
CREATE TABLE latency (
	day      TEXT NOT NULL,
	provider TEXT NOT NULL,
	kind     TEXT NOT NULL,
	bucket   BIGINT NOT NULL,
	attempts BIGINT NOT NULL,
	PRIMARY KEY (day, provider, kind, bucket)
)
