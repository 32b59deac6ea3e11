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
	// was written. When ctx ends first, Append returns its error and the
	// appends may still be committed.
	Append(ctx context.Context, appends ...Append) (Commit, error)

	// Submit is Append without waiting: done is called from the committer's
	// goroutine, in the order of seq, and must not block. Appends that were
	// submitted earlier by the same goroutine commit earlier or together.
	Submit(done func(Commit, error), appends ...Append)

	// Query returns a page of events in the order of seq.
	Query(ctx context.Context, q Query) (Page, error)

	// Load returns a machine's latest snapshot and the events since it, or
	// ErrNotFound if the journal knows neither.
	Load(ctx context.Context, machine, id string) (State, error)

	// Snapshots returns the latest snapshot of every id of a machine, in the
	// order of ids.
	Snapshots(ctx context.Context, machine string) ([]State, error)

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
	// Machine and ID may differ from the append's (companion rows); those
	// then do not count for the version.
	Events []drey.Event
	// Snapshot replaces the machine's snapshot; nil leaves it. Delete removes
	// it.
	Snapshot json.RawMessage
	Delete   bool
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
	Event     string   // a glob over the event's name; "" = all
	RequestID drey.RequestID
	Since     time.Time // inclusive; zero = all
	Until     time.Time // exclusive; zero = all
	Newest    bool      // the last Limit events instead of the first, still in rising order
	Limit     int       // 0 = 100; at most 1000
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
	At       drey.Seq        // the last event that the snapshot contains
	Tail     []drey.Event    // the events after it
}

// Telemetry keeps the rows of requests. They are written in batches of their
// own, may lose their last second in a crash, and never wait on the journal's
// fsync.
type Telemetry interface {
	// PutRequest queues a row. It never blocks; when the queue is full the
	// row is dropped and counted (Dropped).
	PutRequest(r RequestRow)
	// Requests returns rows, newest first.
	Requests(ctx context.Context, q RequestQuery) (RequestPage, error)
	// Request returns one row, or ErrNotFound.
	Request(ctx context.Context, id drey.RequestID) (RequestRow, error)
	// Dropped returns how many rows were dropped since the store was opened.
	Dropped() uint64
	// Flush writes what is queued.
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
	Limit    int // 0 = 100; at most 1000
}

// RequestPage is one page of rows.
type RequestPage struct {
	Rows []RequestRow
	Next string // cursor; "" if this was the last page
}

// Counters keeps sums that go on over restarts: the totals of metrics, usage
// per day.
type Counters interface {
	// AddCounters adds to sums by name; it is batched as telemetry is.
	AddCounters(delta map[string]float64)
	// LoadCounters returns all sums.
	LoadCounters(ctx context.Context) (map[string]float64, error)
}

// Store is all of it.
type Store interface {
	Journal
	Telemetry
	Counters
	// Close flushes, refuses what comes after, and releases everything.
	Close() error
}
