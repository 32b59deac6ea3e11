package spend

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRate(t *testing.T) {
	var r Rate
	take := func(after time.Duration, n int, ok bool, wait time.Duration) {
		t.Helper()
		if got, w := r.Take(noon.Add(after), n); got != ok || w != wait {
			t.Errorf("after %s: %v, %s, want %v, %s", after, got, w, ok, wait)
		}
	}
	take(0, 2, true, 0)
	take(10*time.Second, 2, true, 0)
	take(10500*time.Millisecond, 2, false, 50500*time.Millisecond) // the first leaves with its second
	take(60*time.Second, 2, false, time.Second)
	take(61*time.Second, 2, true, 0)
	take(61*time.Second, 1, false, 61*time.Second) // a smaller limit: both others must go
	take(5*time.Second, 2, false, 61*time.Second)  // a clock that was set back: not sooner
	take(61*time.Second, 0, true, 0)               // no limit; counted
	take(61*time.Second, 3, false, 10*time.Second)
	take(time.Hour, 2, true, 0)
	take(-time.Hour, 1, true, 0) // a clock that was set back for longer than it looks
}

// TestRateHolds compares with a list of all requests: never more than the limit
// in any minute, and none is held back that is within it by a second more.
func TestRateHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Rate
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		now := time.Unix(rapid.Int64Range(-100, 100).Draw(t, "start"), 0)
		var taken []time.Time
		within := func(d time.Duration) (n int) {
			for _, at := range taken {
				if now.Sub(at) < d {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "ms")) * time.Millisecond)
			ok, wait := r.Take(now, limit)
			switch {
			case ok:
				taken = append(taken, now)
				if n := within(60 * time.Second); n > limit {
					t.Fatalf("%d in a minute, and the limit is %d", n, limit)
				}
			case within(61*time.Second) < limit:
				t.Fatalf("held back, although %d of %d", within(61*time.Second), limit)
			case wait <= 0 || wait > 61*time.Second:
				t.Fatalf("wait %s", wait)
			default:
				ahead := r
				if ok, _ := ahead.Take(now.Add(wait-1), limit); ok {
					t.Fatalf("it may go before %s", wait)
				}
				ahead = r
				if ok, _ := ahead.Take(now.Add(wait), limit); !ok {
					t.Fatalf("it may not go after %s", wait)
				}
			}
		}
	})
}
