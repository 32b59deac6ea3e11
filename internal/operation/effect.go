package operation

import (
	"time"

	"github.com/dreyhq/drey"
)

// An Effect is something that the shell is asked to do. Each is safe to
// repeat.
//
// A transition gives Append, Publish, then Resolve if the operation has ended,
// then StopWork if its work may still run. A refusal gives Reject alone, a
// repeat Repeat, a watch Watch, and a resumption TakeUp.
type Effect interface{ isEffect() }

// Append: commit the row. What the machine has become may be told to nobody
// before.
type Append struct{ *Row }

// Publish: the row is committed; answer the caller, show the machine to
// readers, emit the event.
type Publish struct{ *Row }

// Resolve: the operation has ended; give its outcome to those who watch and
// wait.
type Resolve struct{ *Row }

// StopWork: the operation was ended from outside; whatever still works for it
// shall stop.
type StopWork struct{ *Row }

// Reject: the call is refused and has changed nothing.
type Reject struct{ *Error }

// Repeat: the call was taken before, and this is its answer again. Nothing is
// written.
type Repeat struct {
	Version int64 // that the call made the machine's
}

// Watch: register a watch. Resolved says that the operation has ended: the
// watch is answered at once.
type Watch struct{ Resolved bool }

// TakeUp: the operation survived a restart; ask who runs it to take it up, or
// to run its disposal again, in the background.
type TakeUp struct{ ID ID }

func (Append) isEffect()   {}
func (Publish) isEffect()  {}
func (Resolve) isEffect()  {}
func (StopWork) isEffect() {}
func (Reject) isEffect()   {}
func (Repeat) isEffect()   {}
func (Watch) isEffect()    {}
func (TakeUp) isEffect()   {}

// Row is one transition: what the journal keeps, and what readers see from its
// commit on. It is not changed once it is made.
type Row struct {
	After     Machine // what the transition made of the operation
	From      Status  // what it was; Absent of a registration
	Action    Action
	At        time.Time // never before the operation's last transition
	Epoch     uint64
	Cause     drey.Seq
	RequestID drey.RequestID

	Update    ProgressUpdate // of report_progress, as it is kept
	OldOwner  string         // of adopt_owner
	childLeft bool           // of recover
	digest    digest         // of a call with a request id
}

// Expect returns the version that the operation has in the journal before the
// row.
func (r *Row) Expect() int64 { return r.After.Version - 1 }

// Progress returns what the row adds to the operation's History, if it does.
func (r *Row) Progress() (Progress, bool) {
	return Progress{r.Update.Message, r.Update.Percent, r.After.UpdatedAtMS}, r.Action == ActReportProgress
}

// RowOf returns the row of a transition, nil if out is that of none.
func RowOf(out []Effect) *Row {
	if len(out) > 0 {
		if a, ok := out[0].(Append); ok {
			return a.Row
		}
	}
	return nil
}

// Refusal returns the error of a refusal, nil if out is that of none.
func Refusal(out []Effect) *Error {
	if len(out) == 1 {
		if r, ok := out[0].(Reject); ok {
			return r.Error
		}
	}
	return nil
}
