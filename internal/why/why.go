// Package why tells in sentences what the journal and the request log hold:
// why a request went where it went, what became of a provider or an operation,
// and why the daemon is awake or sleeps. It is the one reader that puts events
// together; each sentence stands on an event that can be looked up by its seq.
//
// The package is pure: events and rows come in as values, and a sentence names
// spans ("after 30 s", "in 27 s") and never a time of day, so that whoever
// shows a story chooses the zone.
package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// Story is an explanation. It is a value.
type Story struct {
	Subject string // "provider", "request", "operation" or "daemon"
	ID      string // which one
	Summary string // how it stands, or how it ended: one or two sentences
	Steps   []Step // what led there, in order of time
	Earlier int    // breakdowns of a provider, or wakes of the daemon, that are left out; they are in the journal
}

// Step is one thing that happened.
type Step struct {
	At        time.Time
	Seq       drey.Seq // its first event in the journal; 0 for telemetry
	Event     string   // the name of that event
	RequestID drey.RequestID
	Text      string // a clause without a full stop, that begins in lower case
}

// Text returns the story for people, one step a line, with times in zone; nil
// is UTC.
func (s Story) Text(zone *time.Location) string {
	if zone == nil {
		zone = time.UTC
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.Summary)
	if len(s.Steps) == 0 {
		return b.String()
	}
	b.WriteByte('\n')
	if s.Earlier > 0 {
		what, where := "breakdown", "drey events"
		if s.Subject == "daemon" {
			what, where = "wake", "drey lifecycle history" // which needs no daemon
		}
		fmt.Fprintf(&b, "(%s before these; see `%s`)\n", count(s.Earlier, what), where)
	}
	for _, step := range s.Steps {
		fmt.Fprintf(&b, "%s  %s\n", step.At.In(zone).Format("2006-01-02 15:04:05.000"), step.Text)
	}
	return b.String()
}
