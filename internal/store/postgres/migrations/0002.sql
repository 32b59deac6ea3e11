-- What was captured of requests. at is microseconds since 1970, UTC; whole is
-- JSON, and bytes its length, so that the oldest can go by size without a look
-- at it.
CREATE TABLE captures (
	id       TEXT PRIMARY KEY,
	at       BIGINT NOT NULL,
	profile  TEXT NOT NULL,
	provider TEXT NOT NULL,
	outcome  TEXT NOT NULL,
	bytes    BIGINT NOT NULL,
	whole    TEXT NOT NULL
);
CREATE INDEX captures_by_time ON captures (at, id, bytes)
