package store

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
)

// Rollup sums request rows up as Upkeeper.Rollup keeps them. Backends share it,
// so that a row counts the same everywhere. The zero value is empty and ready.
type Rollup struct {
	Usage    map[UsageKey]Usage
	Attempts map[AttemptKey]int64
	Latency  map[LatencyKey]int64
}

// UsageKey is what usage is added up by.
type UsageKey struct {
	Day      string
	Provider drey.ProviderID
	Model    string
}

// AttemptKey is what attempts are counted by.
type AttemptKey struct {
	Day      string
	Provider drey.ProviderID
	Class    string // "ok" or the class of the failure
}

// LatencyKey is one bar of a histogram.
type LatencyKey struct {
	Day      string
	Provider drey.ProviderID
	Kind     string // LatencyTTFT or LatencyTotal
	Bucket   int    // see Bucket
}

// The kinds of latency.
const (
	LatencyTTFT  = "ttft"
	LatencyTotal = "total"
)

// Day returns the UTC day that a time belongs to in usage and statistics.
func Day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// mostTokens bounds what one request can have used, so that a provider that
// reports nonsense makes a wrong sum and not a negative one.
const mostTokens = 1 << 32

// Add counts one row. What is not in its JSON is not counted; the row itself
// always is.
func (r *Rollup) Add(row RequestRow) {
	if r.Usage == nil {
		r.Usage, r.Attempts, r.Latency = map[UsageKey]Usage{}, map[AttemptKey]int64{}, map[LatencyKey]int64{}
	}
	whole := gjson.ParseBytes(row.Row)
	day := Day(row.At)
	model := whole.Get("model_served").String()
	if model == "" {
		model = whole.Get("model").String()
	}
	k := UsageKey{day, drey.ProviderID(row.Provider), model}
	u := r.Usage[k]
	u.Day, u.Provider, u.Model = k.Day, k.Provider, k.Model
	u.Requests++
	if row.Outcome != "ok" && row.Outcome != "cancel" {
		u.Failed++
	}
	tokens := whole.Get("tokens")
	count := func(name string) int64 { return min(max(0, tokens.Get(name).Int()), mostTokens) }
	u.Input += count("input")
	u.Output += count("output")
	u.CacheRead += count("cache_read")
	u.CacheWrite += count("cache_write")
	u.Reasoning += count("reasoning")
	if tokens.Get("estimated").Bool() {
		u.Estimated += count("input") + count("output")
	}
	r.Usage[k] = u
	if whole.Get("replay_of").Exists() {
		return // a captured request that was sent again: its tokens count, and how it went says nothing about traffic
	}
	whole.Get("attempts").ForEach(func(_, a gjson.Result) bool {
		provider, class := drey.ProviderID(a.Get("provider").String()), a.Get("class").String()
		if provider == "" || class == "" {
			return true
		}
		r.Attempts[AttemptKey{day, provider, class}]++
		if class == "ok" {
			if ms := a.Get("ms").Float(); ms > 0 {
				r.Latency[LatencyKey{day, provider, LatencyTotal, Bucket(ms)}]++
			}
			if ms := a.Get("ttft_ms").Float(); ms > 0 {
				r.Latency[LatencyKey{day, provider, LatencyTTFT, Bucket(ms)}]++
			}
		}
		return true
	})
}

// Latencies are kept in bars whose bounds grow by a quarter of an octave, from
// one millisecond on: 92 bars reach two hours.
const (
	bucketsPerOctave = 4
	bucketMost       = 23 * bucketsPerOctave
)

// Bucket returns the bar of a latency in milliseconds: bar n ends at 2^(n/4) ms
// and begins where the one before it ends. Bar 0 begins at 0, and the last one
// has no end.
func Bucket(ms float64) int {
	if !(ms > 1) {
		return 0
	}
	// The little less keeps a bound in its own bar, whatever Log2 makes of it.
	n := math.Ceil(math.Log2(ms)*bucketsPerOctave - 1e-9)
	return int(min(n, bucketMost))
}

// LatencyOf reads a histogram, bars by number. Its quantiles are the middle of
// the bar that they fall into.
func LatencyOf(bars map[int]int64) Latency {
	var l Latency
	for _, n := range bars {
		l.Count += n
	}
	numbers := slices.Sorted(maps.Keys(bars))
	quantile := func(q float64) time.Duration {
		rank, seen := int64(math.Ceil(q*float64(l.Count))), int64(0)
		for _, bar := range numbers {
			if seen += bars[bar]; seen >= rank && seen > 0 {
				ms := math.Exp2((float64(bar) - 0.5) / bucketsPerOctave)
				return time.Duration(ms * float64(time.Millisecond))
			}
		}
		return 0
	}
	l.P50, l.P95 = quantile(0.50), quantile(0.95)
	return l
}
