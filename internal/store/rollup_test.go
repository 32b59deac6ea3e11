package store

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBuckets: bars join without a gap, a bound is in the bar that it ends.
func TestBuckets(t *testing.T) {
	for ms, want := range map[float64]int{
		-1: 0, 0: 0, 0.5: 0, 1: 0, 1.0001: 1, 2: 4, 2.1: 5, 1000: 40, 1024: 40, 1025: 41,
		math.NaN(): 0, math.Inf(1): bucketMost, 1e300: bucketMost,
	} {
		if got := Bucket(ms); got != want {
			t.Errorf("%v ms is in bar %d, want %d", ms, got, want)
		}
	}
	for n := 1; n < bucketMost; n++ {
		bound := math.Exp2(float64(n) / bucketsPerOctave)
		if got := Bucket(bound); got != n {
			t.Errorf("the end of bar %d is in bar %d", n, got)
		}
		if got := Bucket(bound * 1.0001); got != n+1 {
			t.Errorf("behind the end of bar %d is bar %d", n, got)
		}
	}
}

// TestLatencyOf: quantiles are true to 9 % of what a sorted list says.
func TestLatencyOf(t *testing.T) {
	if got := LatencyOf(nil); got != (Latency{}) {
		t.Errorf("of nothing: %+v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(1, 3.6e6), 1, 50).Draw(t, "ms")
		bars := map[int]int64{}
		for _, ms := range values {
			bars[Bucket(ms)]++
		}
		got := LatencyOf(bars)
		if got.Count != int64(len(values)) {
			t.Fatalf("%d of %d", got.Count, len(values))
		}
		for q, d := range map[float64]time.Duration{0.50: got.P50, 0.95: got.P95} {
			want := nearestRank(values, q)
			if ms := float64(d) / float64(time.Millisecond); math.Abs(ms-want) > 0.095*want {
				t.Fatalf("quantile %v is %v ms, want about %v of %v", q, ms, want, values)
			}
		}
	})
}

// nearestRank is the quantile by definition: the least value that so many are
// not above.
func nearestRank(values []float64, q float64) float64 {
	best := math.Inf(1)
	for _, v := range values {
		n := 0
		for _, w := range values {
			if w <= v {
				n++
			}
		}
		if float64(n) >= q*float64(len(values)) {
			best = min(best, v)
		}
	}
	return best
}

// FuzzRollup: any row is counted, once, and no sum is negative.
func FuzzRollup(f *testing.F) {
	f.Add("ok", `{"model":"m","tokens":{"input":1},"attempts":[{"provider":"p","class":"ok","ms":1}]}`)
	f.Add("failed", `{"tokens":{"input":-1,"output":1e300},"attempts":{"a":{"provider":"p","class":"x"}}}`)
	f.Add("", `[`)
	f.Fuzz(func(t *testing.T, outcome, row string) {
		var r Rollup
		for range 2 {
			r.Add(RequestRow{Outcome: outcome, Row: []byte(row)})
		}
		var requests int64
		for _, u := range r.Usage {
			requests += u.Requests
			if u.Input < 0 || u.Output < 0 || u.CacheRead < 0 || u.CacheWrite < 0 || u.Reasoning < 0 || u.Estimated < 0 {
				t.Errorf("%s: %+v", row, u)
			}
		}
		if requests != 2 {
			t.Errorf("%d requests, want 2", requests)
		}
	})
}

// TestRollupOfAReplay: its tokens were used, and how it went is no sign of how
// the provider does.
func TestRollupOfAReplay(t *testing.T) {
	var r Rollup
	for _, of := range []string{"", `"replay_of":"req_a",`} {
		r.Add(RequestRow{Provider: "p", Outcome: "ok", Row: []byte(`{` + of + `"model":"m","tokens":{"output":5},"attempts":[{"provider":"p","class":"ok","ms":9}]}`)})
	}
	u := r.Usage[UsageKey{Day(time.Time{}), "p", "m"}]
	if n := r.Attempts[AttemptKey{Day(time.Time{}), "p", "ok"}]; u.Requests != 2 || u.Output != 10 || n != 1 || len(r.Latency) != 1 {
		t.Errorf("%+v, %d attempts, %v", u, n, r.Latency)
	}
}
