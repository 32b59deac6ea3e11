-- What was captured of requests. at is microseconds since 1970, UTC; whole is
-- JSON, and bytes its length, so that the oldest can go by size without a look
-- at it. It stands last, so that a list does not read it either.
CREATE TABLE captures (
	no       INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	at       INTEGER NOT NULL,
	profile  TEXT NOT NULL,
	provider TEXT NOT NULL,
	outcome  TEXT NOT NULL,
	bytes    INTEGER NOT NULL,
	whole    TEXT NOT NULL
) STRICT;
CREATE INDEX captures_by_time ON captures (at, id, bytes)
