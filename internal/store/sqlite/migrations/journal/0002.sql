-- floor is where the journal was cut: queries show rows after it alone. A row
-- at or before it is there because a machine's tail still needs it.
ALTER TABLE head ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;

-- When a piece of upkeep was last done, in microseconds since 1970, UTC.
CREATE TABLE upkeep (
	name TEXT PRIMARY KEY,
	at   INTEGER NOT NULL
) STRICT
