package health

import (
	"time"

	"github.com/dreyhq/drey"
)

// Numbers of the contract that nobody configures.
const (
	settleTime = time.Second      // §7: after the processes are gone, before the next one starts
	loopPause  = 30 * time.Minute // §7: between the further starts of a CRASHLOOP
)

// GroupPolicy is what the configuration says about one process group.
type GroupPolicy struct {
	// Resident is how many of its processes may be in memory at once; 0 = 1.
	// Source: process_groups.NAME.resident.
	Resident int
	// SwapWait is how long a request waits for its model while another one is
	// busy, before that one takes no new requests. Source: swap_wait (30s).
	SwapWait time.Duration
	// MinResident is how long a process is READY at least before a busy one is
	// swapped out. Source: min_resident (10s).
	MinResident time.Duration
	// Members are the processes of the group in file order.
	Members []MemberPolicy
}

// MemberPolicy is what the configuration says about one process.
type MemberPolicy struct {
	Provider drey.ProviderID
	// Eager starts it with the daemon if there is room, else at the first
	// request. Source: process.start.
	Eager bool
	// TTL unloads it when idle for so long; 0 = never. Source: process.ttl.
	TTL time.Duration
	// Queue is how many requests may wait for it. 0 = none: a request starts
	// it and goes elsewhere. Source: process.queue (32).
	Queue int
	// QueueWait is how long each may wait. Source: process.queue_wait (5m).
	QueueWait time.Duration
	// BackoffFirst and BackoffMax are the first and the longest pause after an
	// unasked exit. Source: process.backoff.first, .max (1s, 5m).
	BackoffFirst, BackoffMax time.Duration
	// BackoffCap exits within BackoffWithin are a crash loop; 0 = never.
	// Source: process.backoff.cap, .within (5, 10m).
	BackoffCap    int
	BackoffWithin time.Duration
	// BackoffReset is how long READY it must have been for the pause to begin
	// at the first again. Source: process.backoff.reset (10m).
	BackoffReset time.Duration
}

// DefaultMemberPolicy returns the contract's defaults.
func DefaultMemberPolicy(id drey.ProviderID) MemberPolicy {
	return MemberPolicy{
		Provider: id, Queue: 32, QueueWait: 5 * time.Minute,
		BackoffFirst: time.Second, BackoffMax: 5 * time.Minute, BackoffCap: 5,
		BackoffWithin: 10 * time.Minute, BackoffReset: 10 * time.Minute,
	}
}

// resident returns how many processes may be in memory.
func (p *GroupPolicy) resident() int { return max(p.Resident, 1) }

// member returns the policy of a provider.
func (p *GroupPolicy) member(id drey.ProviderID) (MemberPolicy, bool) {
	for _, m := range p.Members {
		if m.Provider == id {
			return m, true
		}
	}
	return MemberPolicy{}, false
}

// backoff returns the pause after so many unasked exits.
func (p *MemberPolicy) backoff(fails int) time.Duration {
	d := p.BackoffFirst
	for i := 1; i < fails && d < p.BackoffMax; i++ {
		d *= 2
	}
	return min(d, max(p.BackoffMax, p.BackoffFirst))
}
