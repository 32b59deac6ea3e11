package store

import (
	"context"
	"errors"
	"time"

	"github.com/dreyhq/drey"
)

// Errors of upkeep that callers branch on.
var (
	// ErrDamaged: what was read contradicts itself or cannot be read, and no
	// wait will mend it. Verify and the check of a copy return it.
	ErrDamaged = errors.New("the store is damaged")
	// ErrNotOurs: the call is the business of the database server behind this
	// store. (errors.ErrUnsupported would not tell it from a file system that
	// cannot do something.)
	ErrNotOurs = errors.New("left to the database server")
)

// Upkeeper is what the sleep cycle asks of a store (the lifecycle contract, §8).
//
// Every call works in chunks beside live writers and holds none of them up for
// more than some milliseconds. What a chunk did is committed when the next one
// begins, and a call that is repeated finds only the rest. Between chunks, and
// before the first, it asks its Pace; that, and the end of ctx, is how it is
// interrupted: it returns within 100 ms, with what the chunks before have done.
// Calls may come at the same time and from several processes; they do the same
// work twice then, and no harm.
//
// A backend that leaves a call to its server returns ErrNotOurs.
type Upkeeper interface {
	// Checkpoint moves the write-ahead logs into the files they belong to and
	// cuts them to nothing. A log that somebody is reading stays, and Busy
	// counts it: that is no error, the next checkpoint finds it again.
	Checkpoint(ctx context.Context, pace Pace) (Checkpointed, error)

	// Prune removes what is older than r says.
	//
	// The journal is cut from its beginning: the rows up to the last one
	// before the first that is young enough go, and no Query shows them any
	// more, so that a cursor among them has a gap behind it and the numbers
	// after the cut stay without one. A row that a machine's Load still needs
	// is out of the queries too, and stays until a snapshot covers it.
	//
	// Of the request rows those go that are older and that Rollup has counted;
	// of its statistics the days before go, and usage stays for ever. Of the
	// captures those go that are older, and the oldest beyond r.Captures.
	Prune(ctx context.Context, r Retention, pace Pace) (Pruned, error)

	// Rollup adds the request rows that it has not seen to the usage per day,
	// provider and model and to the statistics of the providers. Each row is
	// counted once, also when a rollup dies in between.
	Rollup(ctx context.Context, pace Pace) (RolledUp, error)

	// Verify reads the whole store and returns an error that is ErrDamaged
	// where it is not what was written: the files' own structure, a journal
	// without a gap behind its cut, and snapshots and tails that can be read
	// and fit together.
	Verify(ctx context.Context, c Check, pace Pace) (Verified, error)

	// Backup writes a consistent copy of the journal's database as of one
	// moment to path, 0600, and checks it. The file appears under its name
	// when it is whole, checked and on disk; path must not exist. What is left
	// of an interrupted copy is removed. Request rows and counters are not in
	// the copy; no machine needs them to go on.
	Backup(ctx context.Context, path string, pace Pace) (Copied, error)

	// Optimize renews the statistics that queries are planned with and gives
	// free pages back to the file system.
	Optimize(ctx context.Context, pace Pace) (Optimized, error)
}

// Pace is called before each chunk of an Upkeeper's call. It may block for a
// while; an error ends the call, which returns it as it is. A nil Pace never
// does either.
type Pace func() error

// Next asks the pace, and whether ctx has ended.
func (p Pace) Next(ctx context.Context) error {
	if p != nil {
		if err := p(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Checkpointed is what a checkpoint did.
type Checkpointed struct {
	Pages int64 // pages moved
	Busy  int   // logs that were being read and were not cut
}

// Retention says what Prune removes.
type Retention struct {
	// Before is when a row must have happened to be old. The zero time
	// removes nothing.
	Before time.Time
	// Now is the time. A journal row from after it was written while the
	// clock was wrong, and holds none of its older neighbours back. The zero
	// time believes every row.
	Now time.Time
	// Logs names the machines whose events nobody replays: if they have a state
	// it is their snapshot, and the events tell how it came about. Rows of one
	// without a snapshot go by age alone, and its version begins again when the
	// last is gone; what came after a snapshot stays until the next one or its
	// deletion. Of a machine that is not named here and has no snapshot, all
	// rows are kept for its Load.
	Logs []string
	// Captures is how many bytes captures may hold together; 0 is no bound.
	Captures int64
}

// Pruned is what a Prune removed.
type Pruned struct {
	Events   int64    // journal rows
	Kept     int64    // rows behind the cut that a Load needs
	Requests int64    // request rows
	Captures int64    // captures
	Oldest   drey.Seq // the first seq that queries still show; head+1 if there is none
}

// RolledUp is what a Rollup counted.
type RolledUp struct {
	Requests int64
}

// Check says how thorough a Verify is.
type Check struct {
	// Now is when it runs. When the last full check that found nothing is
	// FullEvery or longer ago, or lies after Now, this one is full: it reads
	// every index against its table. FullEvery 0 makes every check full.
	Now       time.Time
	FullEvery time.Duration
}

// Verified is what a Verify looked at.
type Verified struct {
	Full      bool
	Events    int64 // journal rows read
	Snapshots int64
}

// Copied is a backup.
type Copied struct {
	Bytes int64
	Seq   drey.Seq // the last seq in it
}

// Optimized is what an Optimize did.
type Optimized struct {
	Freed int64 // bytes given back to the file system
}

// Statistics is what rollups have added up. Readers may call at any time.
type Statistics interface {
	// Usage returns the sums of the days from since to until, exclusive, in
	// the order of day, provider and model. Zero times are no bounds; of both
	// only the UTC day counts.
	Usage(ctx context.Context, since, until time.Time) ([]Usage, error)
	// ProviderStats returns one entry per provider that was tried on the UTC
	// day of since or later, in the order of their names.
	ProviderStats(ctx context.Context, since time.Time) ([]ProviderStats, error)
}

// Usage is what was used of one model at one provider on one UTC day.
type Usage struct {
	Day      string          `json:"day"`      // 2006-01-02
	Provider drey.ProviderID `json:"provider"` // "" = nobody served
	Model    string          `json:"model"`    // as the provider named it, else as it was asked for
	Requests int64           `json:"requests"`
	Failed   int64           `json:"failed"` // neither ok nor cancelled by the caller
	// Tokens. Estimated counts those of requests whose provider reported none,
	// and they are in the others too.
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
	CacheRead  int64 `json:"cache_read_tokens"`
	CacheWrite int64 `json:"cache_write_tokens"`
	Reasoning  int64 `json:"reasoning_tokens"`
	Estimated  int64 `json:"estimated_tokens"`
}

// ProviderStats is how the attempts at one provider went.
type ProviderStats struct {
	Provider drey.ProviderID
	Attempts int64
	Classes  map[string]int64 // attempts by "ok" or the class of their failure
	TTFT     Latency          // to the first byte of attempts that went well
	Total    Latency          // to the last
}

// Latency is a distribution of durations, true to 9 %. The zero value is one of
// no durations.
type Latency struct {
	Count    int64
	P50, P95 time.Duration
}
