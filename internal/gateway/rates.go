package gateway

import (
	"fmt"
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/spend"
)

// rates hold keys to their requests per minute. The zero value has seen none.
// Keys are as many as configurations have named since the start.
type rates struct {
	mu sync.Mutex
	of map[string]*spend.Rate // by the key's name
}

// take counts a request of a key that has a limit, or says when it may come
// again.
func (r *rates) take(q *Request) *Refusal {
	if q.Key.PerMinute <= 0 {
		return nil
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	rate := r.of[q.Key.Name]
	if rate == nil {
		if r.of == nil {
			r.of = map[string]*spend.Rate{}
		}
		rate = &spend.Rate{}
		r.of[q.Key.Name] = rate
	}
	ok, wait := rate.Take(now, q.Key.PerMinute)
	if ok {
		return nil
	}
	return &Refusal{
		Case: route.CaseRateLimited, RetryAt: now.Add(wait),
		Message: fmt.Sprintf("the key %q has had its %d requests of this minute; wait, or raise its requests_per_minute", q.Key.Name, q.Key.PerMinute),
	}
}
