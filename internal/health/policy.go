package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// Numbers of the contract that nobody configures.
const (
	windowAge      = 600 * time.Second // §3: the ratio rule looks back this far
	restartCapSpan = 600 * time.Second // §6: at most len(Machine.Restarts) restarts in it
	panicPause     = 5 * time.Second   // §5: no panic trial so soon after one that failed
	loadSpread     = time.Second       // §10: first probes after a start are spread over it
	rampCeiling    = 8                 // §9: where a ramp ends if no limit is configured
)

// Depth is how far a probe goes up the ladder of the healing contract §8.
type Depth uint8

// The rungs. The zero value is the default. DepthTrial is no rung: it is
// reported for a request that served as the probe.
const (
	DepthGeneration Depth = iota // one token, well formed
	DepthLiveness                // any HTTP answer
	DepthModels                  // 200, and the model is listed
	DepthTrial
)

var depthNames = [...]string{"generation", "liveness", "models", "trial"}

// String returns the name.
func (d Depth) String() string { return drey.NameOf(depthNames[:], d, "depth") }

// MarshalText writes the name.
func (d Depth) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a rung as the configuration spells it.
func (d *Depth) UnmarshalText(b []byte) error {
	return drey.ParseName(depthNames[:DepthTrial], d, b, "depth")
}

// Policy is what the configuration and the lifecycle say about one provider.
// The shell builds it and hands it in with each event; when it changes, that
// event is PolicyChanged. A value out of range acts as the nearest one in it.
type Policy struct {
	// Provider is whose policy it is; it names the events. Source: the key in
	// providers.
	Provider drey.ProviderID
	// Threshold is N: that many counted failures in a row are DEGRADED, twice
	// as many UNHEALTHY. 1 to 20; 0 = 3. Source: health.threshold.
	Threshold int
	// Excluders are the profiles that list the provider and whose
	// health_action is exclude, in file order: X of the contract is that there
	// is one. Source: profiles.
	Excluders []drey.ProfileID
	// Demote is D: a profile that lists the provider has health_action demote.
	// Source: profiles.
	Demote bool

	// Command is the restart command, or the process's, as text for events:
	// a list joined by spaces, redacted. "" = there is none. Source:
	// restart_command, process.command.
	Command string
	// Managed: the command is that of a process which drey keeps. Source:
	// process.
	Managed bool
	// RestartDrain is how long answers under way may still end before a
	// restart; 0 = not at all. Source: restart_drain (default 10s).
	RestartDrain time.Duration
	// RestartSettle is how soon after a good restart the extra probe comes;
	// 0 = there is none. Source: restart_settle (default 2s).
	RestartSettle time.Duration

	// NoProbe: the provider is paid and probing it is not allowed, so that it
	// returns by trial. Source: class and health.probe.paid.
	NoProbe bool
	// Initial and Max are the first and the longest wait between probes.
	// 0 = 30s and 5m. Source: health.probe.initial, .max.
	Initial, Max time.Duration
	// Jitter is the share of an interval by which a probe may be early or
	// late, 0 to 0.5. Source: health.probe.jitter.
	Jitter float64
	// Depth is how far a probe goes. Source: health.probe.depth.
	Depth Depth
	// Asleep: the daemon is in SLEEP, where probes are at least Max apart.
	// Source: the lifecycle.
	Asleep bool

	// Ramp is how long a restored provider is brought back slowly; 0 = not at
	// all. Source: health.ramp (default 30s).
	Ramp time.Duration
	// Concurrency is how many answers it may give at once, and where a ramp
	// ends; 0 = no limit, and a ramp ends at 8. Source: limits.concurrency.
	Concurrency int
}

// DefaultPolicy returns the contract's defaults for a provider in a profile
// that excludes.
func DefaultPolicy(provider drey.ProviderID, profile drey.ProfileID) Policy {
	return Policy{
		Provider: provider, Threshold: 3, Excluders: []drey.ProfileID{profile},
		RestartDrain: 10 * time.Second, RestartSettle: 2 * time.Second,
		Initial: 30 * time.Second, Max: 5 * time.Minute, Ramp: 30 * time.Second,
	}
}

// n returns the threshold.
func (p *Policy) n() int {
	if p.Threshold == 0 {
		return 3
	}
	return min(max(p.Threshold, 1), 20)
}

// excludes is X.
func (p *Policy) excludes() bool { return len(p.Excluders) > 0 }

// blame returns the profile to name in an exclusion: the attempt's own if that
// one excludes, else the first in file order that does.
func (p *Policy) blame(own drey.ProfileID) drey.ProfileID {
	for _, x := range p.Excluders {
		if x == own {
			return own
		}
	}
	if len(p.Excluders) > 0 {
		return p.Excluders[0]
	}
	return own
}

// initial returns the first interval.
func (p *Policy) initial() time.Duration {
	if p.Initial <= 0 {
		return 30 * time.Second
	}
	return p.Initial
}

// longest returns the longest interval.
func (p *Policy) longest() time.Duration {
	if p.Max <= 0 {
		return max(p.initial(), 5*time.Minute)
	}
	return max(p.initial(), p.Max)
}

// clamp brings an interval into range; 0 becomes the first one.
func (p *Policy) clamp(d time.Duration) time.Duration {
	return min(max(d, p.initial()), p.longest())
}

// doubled returns the interval after one that failed.
func (p *Policy) doubled(d time.Duration) time.Duration {
	return p.clamp(2 * min(p.clamp(d), p.longest()))
}

// wait returns how long to wait for the next probe: the interval, off by up to
// the jitter's share, and at least the longest one in SLEEP. rnd is Meta.Rand.
func (p *Policy) wait(interval time.Duration, rnd float64) time.Duration {
	if p.Asleep {
		interval = max(interval, p.longest())
	}
	j := min(max(p.Jitter, 0), 0.5)
	d := interval + time.Duration(float64(interval)*j*(2*rnd-1))
	if p.Asleep {
		d = max(d, p.longest()) // also of one that the jitter would have early
	}
	return d
}

// ceiling returns where a ramp ends.
func (p *Policy) ceiling() int {
	if p.Concurrency > 0 {
		return p.Concurrency
	}
	return rampCeiling
}

// mayProbe says whether a probe may be sent: never to a paid provider without
// leave, and never where it would load a model that nobody asked for.
func (p *Policy) mayProbe(m *Machine) bool { return !p.NoProbe && !m.Unloaded }

// windowSize and windowMin are the ratio rule's "of the last" and "at least".
func (p *Policy) windowSize() int { return max(20, 4*p.n()) }
func (p *Policy) windowMin() int  { return max(10, 2*p.n()) }

// mayRestart says whether the cap of §6 allows one more restart now.
func (m *Machine) mayRestart(at time.Time) bool {
	oldest := m.Restarts[len(m.Restarts)-1]
	return oldest.IsZero() || at.Sub(oldest) >= restartCapSpan
}

// Park says for what a failure parks a provider (the gateway contract §6).
type Park uint8

// What parks. The zero value does not.
const (
	NoPark        Park = iota
	ParkRateLimit      // 5 s doubling to 60 s, ± 25 %
	ParkQuota          // 15 min doubling to 6 h
	ParkAuth           // 60 s doubling to 1 h; lifted by a reload
	ParkResource       // 120 s
)

var parkNames = [...]string{"", "parked-rate-limit", "parked-quota", "parked-auth", "resource"}

// String returns the reason as provider-parked and provider-skipped spell it.
func (k Park) String() string { return drey.NameOf(parkNames[:], k, "park") }

// MarshalText writes the reason.
func (k Park) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Park) UnmarshalText(b []byte) error {
	return drey.ParseName(parkNames[:], k, b, "park reason")
}

// span returns how long to park after so many parkings in a row, where the
// provider has not said it. rnd is Meta.Rand.
func (k Park) span(before int, rnd float64) time.Duration {
	first, longest := 120*time.Second, 120*time.Second
	switch k {
	case ParkRateLimit:
		first, longest = 5*time.Second, time.Minute
	case ParkQuota:
		first, longest = 15*time.Minute, 6*time.Hour
	case ParkAuth:
		first, longest = time.Minute, time.Hour
	}
	d := min(first<<min(max(before, 0), 20), longest)
	if k == ParkRateLimit {
		d += time.Duration(float64(d) * 0.25 * (2*rnd - 1))
	}
	return d
}
