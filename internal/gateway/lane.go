package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
)

// lane is one provider at run time: the way to it and what experience has
// taught. It outlives a reload that leaves the provider the same machine.
type lane struct {
	p *Provider
	*machine
	up *upstream.Provider
}

// machine is what a lane has learned. Its own mutex guards it, since any
// request may teach it.
type machine struct {
	inFlight atomic.Int64

	mu      sync.Mutex
	park    route.Parking
	prompt  route.Rate // to the first content, per token of the prompt
	output  route.Rate // from there to the end, per token of the answer
	health  Tally
	learned upstream.Learned
	asked   bool // learned is the server's last word
}

// Tally counts what happened at a provider, by class. Cancels and failures
// that are the caller's own do not count against it; whether the others have
// consequences is decided elsewhere.
type Tally struct {
	Attempts    uint64
	Successes   uint64
	Failures    map[drey.Class]uint64
	Consecutive int // counted failures since the last success
	LastFailure *LastFailure
}

// LastFailure is the latest counted or uncounted failure, for people.
type LastFailure struct {
	At     time.Time
	Class  drey.Class
	Status int
	Text   string // redacted, ≤ 200 characters
}

// newLane makes the way to a provider and takes over what was learned. The way
// itself is kept where the settings are the same value, as after Learn.
func newLane(p *Provider, last *lane) *lane {
	l := &lane{p: p}
	if last != nil && last.p == p {
		return last
	}
	l.up = upstream.New(p.Config)
	if last != nil {
		l.machine = last.machine
		l.mu.Lock()
		l.park, _ = l.park.Reloaded(time.Now())
		l.mu.Unlock()
		return l
	}
	l.machine = &machine{health: Tally{Failures: map[drey.Class]uint64{}}}
	return l
}

// live is what routing reads of the provider.
func (l *lane) live() route.Live {
	l.mu.Lock()
	defer l.mu.Unlock()
	return route.Live{InFlight: int(l.inFlight.Load()), Park: l.park}
}

// learn takes in how an attempt ended, and returns the events that are due.
func (l *lane) learn(res result, at time.Time, took time.Duration, tokens int, text string, random float64) []drey.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.health
	t.Attempts++
	var evs []drey.Event
	if res.ok {
		t.Successes++
		t.Consecutive = 0
		l.prompt = l.prompt.Observe(res.firstByte, tokens)
		if res.usage != nil && res.streamed {
			l.output = l.output.Observe(took-res.firstByte, res.usage.Output)
		}
		var freed bool
		if l.park, freed = l.park.Succeeded(at.Add(-took), at); freed {
			evs = append(evs, l.event(at, drey.Info, "provider-unparked"))
		}
		return evs
	}
	v := res.verdict
	if v.Class == drey.Cancel {
		return nil // nobody's failure, and so nobody's last one
	}
	t.Failures[v.Class]++
	t.LastFailure = &LastFailure{At: at, Class: v.Class, Status: v.Status, Text: text}
	if v.Counts {
		t.Consecutive++
	}
	if v.Class == drey.Resource {
		evs = append(evs, l.event(at, drey.Warn, "memory-pressure-detected", drey.F("error", text)))
	}
	park, anew := l.park.After(v, at, random)
	l.park = park
	if anew {
		evs = append(evs, l.event(at, drey.Warn, "provider-parked",
			drey.F("reason", park.Reason.Reason()), drey.F("until", drey.FormatTime(park.Until))))
	}
	return evs
}

func (l *lane) event(at time.Time, level drey.Level, name string, fields ...drey.Field) drey.Event {
	return drey.Event{
		At: at, Level: level, Name: name, Machine: "provider", ID: string(l.p.ID),
		Fields: append([]drey.Field{drey.F("provider", l.p.ID)}, fields...),
	}
}
