package lifecycle

import "time"

// Numbers of the contract that nobody configures.
const (
	timerSoon   = 5 * time.Minute  // §6.4: a durable timer this near keeps the daemon from SLEEP
	retryFirst  = 5 * time.Minute  // §8.4: between a first failure and the second try
	retrySecond = 30 * time.Minute // §8.4: between a second failure and the third try
	strikes     = 3                // §8.5: failures of one step that quarantine
	again       = 24 * time.Hour   // §8.6: a long idle period has one cycle in it
	maxError    = 500              // §8.4: characters of last_error
	quietFor    = time.Second      // §6.7: nothing in flight for so long lets a backstop begin
	worklessMax = 3                // §7.8: wakes without work from which on HIBERNATION is held back
	holdFirst   = time.Hour        // §7.8: for how long at first
	holdLongest = 24 * time.Hour   // §7.8: and at most
)

// SliceRun and SliceRest are the pace of upkeep that runs beside work (§6.7,
// §8.7): it works for at most SliceRun, then rests for at least SliceRest.
const (
	SliceRun  = 100 * time.Millisecond
	SliceRest = 900 * time.Millisecond
)

// Policy is what the configuration says about the lifecycle. The owner hands
// it in with every call, so that a reload takes effect at the next one. The
// durations must be positive, with DrowsyAfter < SleepAfter <= HibernateAfter;
// the configuration has checked it.
type Policy struct {
	// ShadowRun records HIBERNATION without ending the process (§5). Source:
	// lifecycle.shadow_run, drey serve --shadow-run.
	ShadowRun bool
	// DrowsyAfter, SleepAfter and HibernateAfter are the idle times for
	// idle_5min, idle_30min and still_idle. Source: lifecycle.drowsy_after
	// (5m), sleep_after (30m), hibernate_after (30m).
	DrowsyAfter, SleepAfter, HibernateAfter time.Duration
	// BootGrace is how long after the start no idle event is dispatched and no
	// cycle begins: the request for which we were started must be able to
	// arrive. Source: lifecycle.boot_grace (60s).
	BootGrace time.Duration
	// ActivityFlush is how far apart the recordings of activity in WAKE are at
	// least. Source: lifecycle.activity_flush (30s).
	ActivityFlush time.Duration
	// CycleDeadline is within what a cycle is complete, however busy the
	// daemon is (§6.7). Source: lifecycle.cycle_deadline (48h).
	CycleDeadline time.Duration
	// QuarantineTTL is how long a quarantine lasts. Source:
	// lifecycle.quarantine_ttl (24h).
	QuarantineTTL time.Duration
}

// DefaultPolicy returns the contract's defaults.
func DefaultPolicy() Policy {
	return Policy{
		DrowsyAfter: 5 * time.Minute, SleepAfter: 30 * time.Minute, HibernateAfter: 30 * time.Minute,
		BootGrace: time.Minute, ActivityFlush: 30 * time.Second,
		CycleDeadline: 48 * time.Hour, QuarantineTTL: 24 * time.Hour,
	}
}

// RetryDelay returns how long after the last failure a step that has failed so
// often in a row is tried again; 0 for a step that has not failed.
func RetryDelay(attempt int) time.Duration {
	switch {
	case attempt <= 0:
		return 0
	case attempt == 1:
		return retryFirst
	}
	return retrySecond
}

// HoldBack returns for how long after a start HIBERNATION is held back when so
// many wakes in a row came without work (§7.8): from the third on for 1 h,
// doubling to 24 h.
func HoldBack(worklessWakes int) time.Duration {
	if worklessWakes < worklessMax {
		return 0
	}
	return min(holdFirst<<min(worklessWakes-worklessMax, 10), holdLongest)
}
