// Package store says what the house keeps: the journal of transitions with the
// snapshots of the machines in it, and apart from both the telemetry of
// requests. The packages below it (sqlite, later postgres) keep it; storetest
// is the one suite that each of them passes.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dreyhq/drey"
)

// Errors that callers branch on. A backend wraps them.
var (
	ErrNotFound = errors.New("not found")
	// ErrVersion: the machine is at another version than the append expects;
	// nothing was written.
	ErrVersion = errors.New("version conflict")
	// ErrEpoch: another process has opened the store since; this one writes
	// nothing any more.
	ErrEpoch = errors.New("superseded by a newer process")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store is closed")
	// ErrUnsettled: it could not be found out whether appends were committed.
	// The store answers everything with it from then on, and the process must
	// stop: the next one reads what is true.
	ErrUnsettled = errors.New("the result of a commit is unknown")
	// ErrCursor: a cursor that this store has not given out.
	ErrCursor = errors.New("not a cursor of this list")
	// ErrNetworkFilesystem: the home is on a file system whose locks cannot
	// be trusted.
	ErrNetworkFilesystem = errors.New("network file system")
)

// Journal is the append-only record of transitions. It is safe for concurrent
// use; there is one writer behind it, which takes all appends that wait into
// one transaction (group commit).
type Journal interface {
	// Append commits the appends in one transaction: all of them or none. It
	// returns when they are durable, or with an error when nothing of them
	// was written (ErrUnsettled alone says that nobody knows). When ctx ends
	// first, Append returns its error and the appends may still be committed;
	// when it has ended before, nothing is written.
	Append(ctx context.Context, appends ...Append) (Commit, error)

	// Submit is Append without waiting: done is called exactly once, from the
	// committer's goroutine, in the order of seq, and must not block; it may
	// submit again, and must not close the store. Refusals come in the same
	// order, so that an answer never overtakes the commit that it rests on.
	// Appends that were submitted earlier by the same goroutine commit
	// earlier or together. Values are read before Submit returns.
	Submit(done func(Commit, error), appends ...Append)

	// Query returns a page of events in the order of seq.
	Query(ctx context.Context, q Query) (Page, error)

	// Load returns a machine's latest snapshot and the events since it, or
	// ErrNotFound if the journal knows neither.
	Load(ctx context.Context, machine, id string) (State, error)

	// Snapshots returns, for every id of a machine, what Load would return,
	// in the bytewise order of ids and as of one moment. An id that has
	// events and no snapshot yet is among them: a restart takes it up too.
	Snapshots(ctx context.Context, machine string) ([]State, error)

	// SnapshotsAfter is a page of Snapshots: those behind the id after, "" =
	// from the first on, at most limit (as of a Query). Each page is as of its
	// own moment; what is there throughout a walk is in it exactly once.
	SnapshotsAfter(ctx context.Context, machine, after string, limit int) ([]State, error)

	// Head returns the last committed seq; 0 for an empty journal.
	Head(ctx context.Context) (drey.Seq, error)

	// Epoch returns this process's epoch: raised by one each time the store
	// is opened, and asserted in every write.
	Epoch() uint64
}

// Append is what one decision about one machine writes.
type Append struct {
	Machine string
	ID      string
	// Expect is the version that the machine must have: the number of events
	// that were appended for it so far. AnyVersion leaves it unchecked.
	Expect int64
	// Events are journaled in order; each raises the version by one. Their
	// Machine and ID may differ from the append's (companion rows): those
	// count for no version and are in no machine's State, they are found by
	// Query alone. Whoever moves two machines at once passes two Appends.
	Events []drey.Event
	// Snapshot replaces the machine's snapshot by one that contains all
	// events so far, those of this append included; nil leaves it.
	Snapshot json.RawMessage
	// Delete ends the machine's life after the events of this append: its
	// rows stay in the journal, and otherwise it is as if it had never been
	// (Load: ErrNotFound, the next Expect is 0). It excludes Snapshot.
	Delete bool
}

// AnyVersion is the Expect of an append that does not compare versions.
const AnyVersion int64 = -1

// Commit tells where the events of an append landed.
type Commit struct {
	First, Last drey.Seq // 0, 0 if there were no events
	Rows        int      // in the whole transaction, for metrics of group commit
}

// Query selects events. The zero value selects all from the beginning.
type Query struct {
	After     drey.Seq // exclusive
	Machine   string   // "" = all
	ID        string   // "" = all
	Event     string   // a glob over the event's name, see Glob; "" = all
	RequestID drey.RequestID
	Since     time.Time // inclusive; zero = all
	Until     time.Time // exclusive; zero = all
	Newest    bool      // the last Limit events instead of the first, still in rising order; one page, Next is 0
	Limit     int       // 0 = 100; more than 1000 is 1000
}

// Page is one page of a query.
type Page struct {
	Events []drey.Event
	Next   drey.Seq // the cursor for the next page; 0 if this was the last
	AsOf   drey.Seq // the head of the journal when it was read
}

// State is what the store knows of one machine.
type State struct {
	Machine  string
	ID       string
	Version  int64           // events so far
	Snapshot json.RawMessage // nil if none was taken
	At       drey.Seq        // the machine's last event that the snapshot contains; 0 if none
	Tail     []drey.Event    // the machine's events after it
}

// Telemetry keeps the rows of requests. They are written in batches of their
// own, may lose their last second in a crash, and never wait on the journal's
// fsync.
type Telemetry interface {
	// PutRequest queues a row. It never blocks; when the queue is full the
	// row is dropped and counted (Dropped). A row with the id of an earlier
	// one replaces it. The store keeps r.Row, which must not be changed.
	PutRequest(r RequestRow)
	// Requests returns rows that have been written, newest first. A cursor
	// that is none is ErrCursor.
	Requests(ctx context.Context, q RequestQuery) (RequestPage, error)
	// Request returns one row, or ErrNotFound.
	Request(ctx context.Context, id drey.RequestID) (RequestRow, error)
	// Dropped returns how many rows were dropped since the store was opened.
	Dropped() uint64
	// Flush writes what is queued, counters included, and returns when it is
	// as durable as telemetry gets.
	Flush(ctx context.Context) error
}

// RequestRow is one request as it ended: columns that are searched, and the
// whole as JSON.
type RequestRow struct {
	ID       drey.RequestID
	At       time.Time // arrival
	Profile  string
	Provider string // who served; "" if none
	Outcome  string // ok, cancel, failed, failed_midstream, refused
	Status   int
	Row      json.RawMessage // as in requests.jsonl, and "events": its telemetry events
}

// RequestQuery selects rows. The zero value selects the newest 100.
type RequestQuery struct {
	Before   string // opaque cursor
	Profile  string
	Provider string
	Outcome  string
	Since    time.Time
	Limit    int // 0 = 100; more than 1000 is 1000
}

// RequestPage is one page of rows.
type RequestPage struct {
	Rows []RequestRow
	Next string // cursor; "" if this was the last page
}

// Counters keeps sums that go on over restarts: the totals of metrics, usage
// per day.
type Counters interface {
	// AddCounters adds to sums by name; it is batched as telemetry is and
	// never blocks. What is not a finite number is passed over.
	AddCounters(delta map[string]float64)
	// LoadCounters returns all sums, what is still queued included.
	LoadCounters(ctx context.Context) (map[string]float64, error)
}

// Store is all of it.
type Store interface {
	Journal
	Telemetry
	Counters
	Captures
	Upkeeper
	Statistics
	// Close commits what was submitted, writes what is queued, refuses what
	// comes after with ErrClosed, and releases everything. A second call
	// returns what the first returned.
	Close() error
}

// The limits of a page, for journal and request rows alike (docs/design.md,
// section 9).
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// PageLimit returns how many rows a query with this Limit gets.
func PageLimit(n int) int {
	switch {
	case n <= 0:
		return DefaultLimit
	case n > MaxLimit:
		return MaxLimit
	default:
		return n
	}
}
