package spend

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// Ending is how an attempt that may cost money ended. It decides what is
// charged.
type Ending uint8

// The endings. Complete is the zero value.
const (
	Complete  Ending = iota // the answer came whole: what the provider reported is charged
	Cancelled               // the caller went away: what was seen is charged
	Cut                     // the answer broke off after its first token: what was seen is charged
	Failed                  // there was no token: nothing is charged
	Recovered               // drey itself ended in between: the whole reservation is charged
)

var endingNames = [...]string{"complete", "cancel", "cut", "failed", "recovered"}

// String returns the ending's name in the journal.
func (e Ending) String() string { return drey.NameOf(endingNames[:], e, "ending") }

// MarshalText writes the ending's name.
func (e Ending) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (e *Ending) UnmarshalText(b []byte) error { return drey.ParseName(endingNames[:], e, b, "ending") }

// Meter adds up what one attempt used. A stream reports its usage more than
// once, and an early report may be a guess: the field-wise maximum counts. The
// zero value has seen nothing. It belongs to one goroutine.
type Meter struct {
	usage    wire.Usage
	reported bool
}

// Report takes one report of the provider. nil, a frame without one, is none.
func (m *Meter) Report(u *wire.Usage) {
	switch {
	case u == nil:
	case m.reported:
		m.usage = m.usage.Max(*u)
	default:
		m.usage, m.reported = *u, true
	}
}

// Usage returns what is charged when the attempt has ended so. prompt is the
// estimate of its input and output that of what came of the answer; they stand
// in for what the provider did not report, and the usage then says that it is
// estimated.
//
//   - Complete: the reports; without any, both estimates.
//   - Cancelled, Cut: what was seen: the reports so far, but no less output than
//     came, since the report of the true number is the one that is missing. Of
//     an attempt of which nothing was seen, nothing.
//   - Failed, Recovered: nothing. What a recovered one costs is the machine's to
//     say (Machine.Recover).
func (m *Meter) Usage(end Ending, prompt, output int) wire.Usage {
	u := m.usage
	switch end {
	case Complete:
		if !m.reported {
			return wire.Usage{Input: max(prompt, 0), Output: max(output, 0), Estimated: true}
		}
		return u
	case Cancelled, Cut:
		if !m.reported && output <= 0 {
			return wire.Usage{}
		}
		if u.Input == 0 && u.CacheRead == 0 && u.CacheWrite == 0 {
			u.Input = max(prompt, 0)
		}
		u.Output = max(u.Output, output)
		u.Estimated = true
		return u
	default:
		return wire.Usage{}
	}
}
