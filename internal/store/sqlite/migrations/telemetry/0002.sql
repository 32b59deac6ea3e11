-- rolled is the no of the last request that was counted below. A number is
-- given again when the rows from it on are gone, so whoever removes rows keeps
-- rolled at or under the last one.
ALTER TABLE head ADD COLUMN rolled INTEGER NOT NULL DEFAULT 0;

-- The columns are those of store.Usage; day is 2006-01-02, UTC.
CREATE TABLE usage (
	day         TEXT NOT NULL,
	provider    TEXT NOT NULL,
	model       TEXT NOT NULL,
	requests    INTEGER NOT NULL,
	failed      INTEGER NOT NULL,
	input       INTEGER NOT NULL,
	output      INTEGER NOT NULL,
	cache_read  INTEGER NOT NULL,
	cache_write INTEGER NOT NULL,
	reasoning   INTEGER NOT NULL,
	estimated   INTEGER NOT NULL,
	PRIMARY KEY (day, provider, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
	day      TEXT NOT NULL,
	provider TEXT NOT NULL,
	class    TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	PRIMARY KEY (day, provider, class)
) STRICT, WITHOUT ROWID;

-- bucket is store.Bucket of the latency.
CREATE TABLE latency (
	day      TEXT NOT NULL,
	provider TEXT NOT NULL,
	kind     TEXT NOT NULL,
	bucket   INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	PRIMARY KEY (day, provider, kind, bucket)
) STRICT, WITHOUT ROWID
