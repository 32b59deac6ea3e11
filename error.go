package drey

import (
	"errors"
	"strings"
	"time"
)

// Error is the one error type of the house. Programs branch on Class and Code,
// people read the text and the Hint. HTTP status and exit code are mapped from
// Class and Code at one place each (internal/server, cmd/drey).
type Error struct {
	Class      Class
	Code       string        // a contract's word, such as "not_found" or "paid_gate"; may be empty
	Op         string        // what was being done: "call provider", "open store"
	Provider   ProviderID    // whose failure it is; empty if nobody's
	Status     int           // the HTTP status that a provider answered with; 0 if none
	RetryAfter time.Duration // how long the provider asked us to wait; 0 if it did not
	Hint       string        // one sentence for a person: what to do about it
	Err        error         // the cause; its text is shown
}

// Error returns the operation, the provider and the cause on one line. The
// hint is not part of it: whoever shows an error to a person shows it beside.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Provider != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(e.Provider))
	}
	cause := e.Code
	if e.Err != nil {
		cause = e.Err.Error()
	}
	if cause == "" {
		cause = e.Class.String()
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(cause)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of the first Error in err's tree, or Internal.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Internal
}

// HintOf returns the first hint in err's tree, or "".
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
