// Package health decides when a provider is broken, what is done about it and
// when it is well again. It holds two pure machines: Machine, one for each
// provider (Step), and Group, one for each group of local backend processes
// (GroupStep). The shell in internal/healing owns them in one goroutine, hands
// in what happened and performs what they ask for.
//
// The contract is the healing contract; "row n" in the comments is row n
// of the table in its section 4.
package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// State says how a provider is, or that it is kept out.
type State uint8

// The states. The zero value is Healthy: a provider is trusted until it fails.
const (
	// Healthy: fewer than N consecutive counted failures, and the ratio rule
	// is quiet. A restart of the daemon keeps it.
	Healthy State = iota
	// Degraded: N to 2N-1 failures in a row. It is shown and chosen last among
	// equals, and otherwise routed as Healthy. A graceful stop keeps it; after
	// a kill it is Healthy.
	Degraded
	// Unhealthy: 2N or more, or the ratio rule holds, and no profile excludes
	// it. A restart keeps it and arms its probe again.
	Unhealthy
	// Excluded: out of the chain of every profile that excludes; out of all
	// chains when by the operator or while restarting. A restart keeps it
	// (see Loaded).
	Excluded
)

var stateNames = [...]string{"HEALTHY", "DEGRADED", "UNHEALTHY", "EXCLUDED"}

// String returns the state's name in events, views, metrics and records.
func (s State) String() string { return drey.NameOf(stateNames[:], s, "state") }

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(b []byte) error { return drey.ParseName(stateNames[:], s, b, "state") }

// Phase says what is being done about a state.
type Phase uint8

// The phases. NoPhase goes with every state.
const (
	NoPhase    Phase = iota
	Draining         // EXCLUDED: answers under way may end; a restart of the daemon restarts the backend at once
	Restarting       // EXCLUDED: the restart runs; a restart of the daemon does not run it again
	Probing          // EXCLUDED, or UNHEALTHY where a profile demotes: waits for a probe or a trial
	Ramping          // HEALTHY after a restore: few answers at once; a restart of the daemon ramps from 1
)

var phaseNames = [...]string{"none", "draining", "restarting", "probing", "ramping"}

// String returns the phase's name.
func (f Phase) String() string { return drey.NameOf(phaseNames[:], f, "phase") }

// MarshalText writes the phase's name.
func (f Phase) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *Phase) UnmarshalText(b []byte) error { return drey.ParseName(phaseNames[:], f, b, "phase") }

// By says who excluded a provider.
type By uint8

// Who excludes. ByHealth and ByProcess heal by themselves; ByOperator waits
// for the operator or for the end of its "for".
const (
	ByNobody By = iota
	ByHealth
	ByOperator
	ByProcess
)

var byNames = [...]string{"", "health", "operator", "process"}

// String returns the name; "" for ByNobody.
func (b By) String() string { return drey.NameOf(byNames[:], b, "by") }

// MarshalText writes the name.
func (b By) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (b *By) UnmarshalText(t []byte) error { return drey.ParseName(byNames[:], b, t, "by") }

// Trial says whether a request may try a provider that is out, or does.
type Trial uint8

// The trials. At most one is there at a time.
const (
	NoTrial      Trial = iota
	TrialOpen          // row 10: the next request that would have used the provider gets it
	TrialRunning       // row 10: a request has it
	PanicRunning       // the healing contract §5: a request that found no other provider has it
)

var trialNames = [...]string{"none", "open", "running", "panic"}

// String returns the name.
func (t Trial) String() string { return drey.NameOf(trialNames[:], t, "trial") }

// MarshalText writes the name.
func (t Trial) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Trial) UnmarshalText(b []byte) error { return drey.ParseName(trialNames[:], t, b, "trial") }

// Token names one attempt at a provider. Who starts the attempt makes it: the
// epoch of the View that it routed by, and an N that is never used twice for
// the provider. A result counts once, and only in the epoch that it began in.
type Token struct {
	Provider drey.ProviderID
	Epoch    uint64
	N        uint64
}

// Machine is the health of one provider. The zero value is a HEALTHY provider
// of which nothing is known yet. It is a value: Step never changes what it was
// given, so an old Machine stays good.
type Machine struct {
	State   State
	Finding State // HEALTHY, DEGRADED or UNHEALTHY: what is known; excluding is an act upon it
	Phase   Phase
	By      By             // who excluded it; ByNobody when it is in
	Profile drey.ProfileID // whose rule excluded it; "" if no profile's
	Reason  string         // of the exclusion, as in self-healing-exclude; an operator's own words if given

	ConsecutiveFailures int    // counted failures since the last success
	Ratio               bool   // the ratio rule holds
	Epoch               uint64 // grows at each exclusion, restore and process start

	Interval    time.Duration // wait between probes, without jitter; kept through a ramp (row 16)
	NextProbeAt time.Time     // probing: when to probe or to open the trial
	Deadline    time.Time     // draining: when waiting for answers ends; zero = no end
	ExcludedAt  time.Time
	Until       time.Time // by operator: when it comes back by itself; zero = when restored
	RampLimit   int       // ramping: answers at once; 0 = no ramp
	RampUntil   time.Time // ramping: from when one success ends it; zero = from now on

	Trial         Trial
	TrialN        uint64    // the attempt that has the trial
	PanicFailedAt time.Time // of this exclusion; zero = none failed
	ProbeN        uint64    // the probe that runs; 0 = none
	Probes        uint64    // probes started so far: the last ProbeN
	Settling      bool      // the next probe is the extra one after a restart

	Restart   uint64       // the last restart's number
	RunningAt time.Time    // when the restart that runs began; zero = none runs
	Told      bool         // this exclusion's restart was told to have succeeded
	Capped    bool         // provider-restart-capped was emitted since the last restart
	Restarts  [5]time.Time // the last restarts, newest first (§6: at most 5 in 600 s)

	Unloaded bool // its model is not in memory: it returns by trial, a probe would load it
	Killed   int  // drain: attempts that were cancelled at its timeout
	Loaded   bool // Loaded came: another one changes nothing
	Closed   bool // ShutdownBegan came: nothing new is started

	ParkedUntil  time.Time // parking is orthogonal to health (the gateway contract §6)
	ParkedReason Park
	Parks        int // parkings in a row for ParkedReason: doubles the next one

	window window
	flight flight
}

// InFlight returns the attempts that have begun and not ended.
func (m Machine) InFlight() int { return m.flight.len() }

// Window returns how many counted attempts the ratio rule looks at, and how
// many of them failed.
func (m Machine) Window() (attempts, failed int) { return m.window.n, m.window.failed }

// windowCap is the largest window: 4N at the largest threshold, 20.
const windowCap = 80

// window holds the last counted attempts in the order of their ends. It is an
// array so that a Machine is a value and counting does not allocate.
type window struct {
	ends   [windowCap]int64 // unix milliseconds × 2, plus 1 for a failure
	first  int              // the oldest
	n      int
	failed int
}

// add notes an attempt and forgets what is older than windowAge or beyond the
// last size ones. size is at most windowCap.
func (w *window) add(at time.Time, failed bool, size int) {
	now := at.UnixMilli()
	for w.n > 0 && (w.n >= size || now-w.ends[w.first]>>1 > windowAge.Milliseconds()) {
		w.failed -= int(w.ends[w.first] & 1)
		w.ends[w.first] = 0
		w.first = (w.first + 1) % windowCap
		w.n--
	}
	e := now << 1
	if failed {
		e |= 1
		w.failed++
	}
	w.ends[(w.first+w.n)%windowCap] = e
	w.n++
}

// flightInline is how many attempts are tracked without allocating. A local
// backend rarely answers more at once.
const flightInline = 32

// flight is the set of attempts under way, by Token.N. The rest slice is never
// written in place, so that copies of a Machine do not share changes.
type flight struct {
	few  [flightInline]uint64
	n    int // used of few
	rest []uint64
}

func (f *flight) len() int { return f.n + len(f.rest) }

func (f *flight) add(n uint64) {
	switch {
	case f.has(n):
	case f.n < flightInline:
		f.few[f.n] = n
		f.n++
	default:
		f.rest = append(f.rest[:len(f.rest):len(f.rest)], n)
	}
}

func (f *flight) has(n uint64) bool {
	for _, v := range f.few[:f.n] {
		if v == n {
			return true
		}
	}
	for _, v := range f.rest {
		if v == n {
			return true
		}
	}
	return false
}

// remove reports whether n was there.
func (f *flight) remove(n uint64) bool {
	for i, v := range f.few[:f.n] {
		if v != n {
			continue
		}
		if last := len(f.rest) - 1; last >= 0 {
			f.few[i] = f.rest[last]
			f.rest = f.rest[:last:last]
			return true
		}
		f.n--
		f.few[i] = f.few[f.n]
		f.few[f.n] = 0
		return true
	}
	for i, v := range f.rest {
		if v == n {
			rest := make([]uint64, 0, len(f.rest)-1)
			f.rest = append(append(rest, f.rest[:i]...), f.rest[i+1:]...)
			return true
		}
	}
	return false
}
