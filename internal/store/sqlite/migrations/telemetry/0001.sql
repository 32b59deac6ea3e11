-- The epoch of the journal that this file stands beside; every transaction
-- asserts it.
CREATE TABLE head (
	one   INTEGER PRIMARY KEY CHECK (one = 1),
	epoch INTEGER NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0);

-- at is microseconds since 1970, UTC; row is the whole as JSON.
CREATE TABLE requests (
	no       INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	at       INTEGER NOT NULL,
	profile  TEXT NOT NULL,
	provider TEXT NOT NULL,
	outcome  TEXT NOT NULL,
	status   INTEGER NOT NULL,
	row      TEXT
) STRICT;
CREATE INDEX requests_by_time ON requests (at, id);
CREATE INDEX requests_by_profile ON requests (profile, at, id);
CREATE INDEX requests_by_provider ON requests (provider, at, id);
CREATE INDEX requests_by_outcome ON requests (outcome, at, id);

CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value REAL NOT NULL
) STRICT;
