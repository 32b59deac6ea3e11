package gateway

import (
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

// profileStates is what is remembered of each profile from request to request.
// It outlives reloads.
type profileStates struct {
	mu sync.Mutex
	m  map[drey.ProfileID]*profileState
}

type profileState struct {
	budget route.RetryBudget
	failed int // chains that failed in a row
}

func (s *profileStates) ofLocked(id drey.ProfileID) *profileState {
	p := s.m[id]
	if p == nil {
		if s.m == nil {
			s.m = map[drey.ProfileID]*profileState{}
		}
		p = &profileState{}
		s.m[id] = p
	}
	return p
}

// requested counts a request toward its profile's retry budget.
func (s *profileStates) requested(id drey.ProfileID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ofLocked(id).budget.Request(at)
}

// mayRetry takes a retry from the budget, if there is one left.
func (s *profileStates) mayRetry(c *chain, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ofLocked(c.ID).budget.Take(at, c.RetryShare, c.RetryFloor)
}

// failedInARow counts one more chain that failed and returns how many that
// makes since the last that did not.
func (s *profileStates) failedInARow(id drey.ProfileID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ofLocked(id)
	p.failed++
	return p.failed
}

// served ends a row of failures.
func (s *profileStates) served(id drey.ProfileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ofLocked(id).failed = 0
}
