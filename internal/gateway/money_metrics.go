package gateway

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey/internal/wire"
)

// The totals of money.
const (
	nameCost    = "drey_cost_usd_total"
	nameSavings = "drey_cache_savings_usd_total"
	nameTokens  = "drey_tokens_total"
)

var descCacheHits = prometheus.NewDesc("drey_cache_hit_ratio",
	"Share of a provider's prompt tokens that came from its prompt cache.", []string{"provider"}, nil)

// spent counts what a request came to, for each provider its own part. The caller
// holds mu.
func (m *Metrics) spent(r *Record) {
	for _, a := range r.Attempts {
		m.add(a.Cost.USD(), nameCost, string(a.Provider))
		if a.Usage == (wire.Usage{}) {
			continue
		}
		for kind, n := range map[string]int{
			"input": a.Usage.Input, "output": a.Usage.Output, "cache_read": a.Usage.CacheRead,
			"cache_write": a.Usage.CacheWrite, "reasoning": a.Usage.Reasoning,
		} {
			m.add(float64(n), nameTokens, string(a.Provider), kind)
		}
	}
	m.add(r.Savings.USD(), nameSavings)
}

// cacheHits tells the ratio of each provider that was ever asked something. It
// follows from the totals of tokens, and goes on over restarts with them. The
// caller holds mu.
func (m *Metrics) cacheHits(ch chan<- prometheus.Metric) {
	type prompt struct{ read, all float64 }
	prompts := map[string]prompt{}
	for series, v := range m.sums {
		rest, ok := strings.CutPrefix(series, nameTokens+sep)
		if !ok {
			continue
		}
		provider, kind, _ := strings.Cut(rest, sep)
		p := prompts[provider]
		switch kind {
		case "cache_read":
			p.read += v
			p.all += v
		case "input", "cache_write":
			p.all += v
		}
		prompts[provider] = p
	}
	for provider, p := range prompts {
		if p.all > 0 {
			ch <- prometheus.MustNewConstMetric(descCacheHits, prometheus.GaugeValue, p.read/p.all, provider)
		}
	}
}
