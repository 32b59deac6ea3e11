package gateway

import (
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey"
)

// Metrics are what the gateway tells Prometheus. Totals are sums that the
// store keeps, so that they go on over restarts; label values come from the
// configuration alone, so that a hostile model name makes no new series.
type Metrics struct {
	mu    sync.Mutex
	sums  map[string]float64 // by series: name and label values, joined by sep
	delta map[string]float64 // since the last takeDelta

	duration, ttft, gap *prometheus.HistogramVec
	overhead            prometheus.Histogram
	inFlight            *prometheus.GaugeVec
}

// sep joins a series' name and its label values: the unit separator, which no
// name contains and every store can hold.
const sep = "\x1f"

// total is a counter's description and its labels.
type total struct {
	desc   *prometheus.Desc
	labels int
}

func newTotal(name, help string, labels ...string) total {
	return total{prometheus.NewDesc(name, help, labels, nil), len(labels)}
}

const nameReloads = "drey_config_reloads_total"

// totals are the counters by name.
var totals = map[string]total{
	"drey_requests_total":    newTotal("drey_requests_total", "Requests that have ended (not attempts).", "wire", "profile", "status", "outcome"),
	"drey_attempts_total":    newTotal("drey_attempts_total", "Attempts at providers by class of failure, or ok.", "provider", "class"),
	"drey_skips_total":       newTotal("drey_skips_total", "Providers passed over without an attempt.", "provider", "reason"),
	"drey_fallbacks_total":   newTotal("drey_fallbacks_total", "Requests served by another provider than the chain's first choice.", "profile", "from", "to", "reason"),
	"drey_retries_total":     newTotal("drey_retries_total", "Attempts repeated at the same provider."),
	"drey_tokens_total":      newTotal("drey_tokens_total", "Tokens that attempts used, as their providers tell it or by estimate.", "provider", "kind"),
	"drey_guard_total":       newTotal("drey_guard_total", "Requests in which a guard found something, by what it did.", "guard", "action"),
	nameCost:                 newTotal(nameCost, "Money that attempts at providers came to, in USD.", "provider"),
	nameSavings:              newTotal(nameSavings, "What tokens from a prompt cache would have cost more without it, in USD."),
	"drey_streams_cut_total": newTotal("drey_streams_cut_total", "Streams that broke after their first content.", "provider"),
	"drey_repairs_total":     newTotal("drey_repairs_total", "Tool calls that were printed as text and made calls, by how they were printed.", "provider", "shape"),
	"drey_filters_total":     newTotal("drey_filters_total", "Answers that an output filter changed.", "filter"),
	nameReloads:              newTotal(nameReloads, "Times that the configuration was read again, by what came of it: ok or rejected.", "outcome"),
	"drey_rescues_total":     newTotal("drey_rescues_total", "Streams that broke in a profile that rescues, by how that ended.", "mode", "outcome"),
}

// NewMetrics returns the gateway's metrics, registered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{sums: map[string]float64{}, delta: map[string]float64{}}
	buckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900}
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "drey_request_duration_seconds", Help: "From a request's arrival to the last byte of its answer.", Buckets: buckets,
	}, []string{"wire", "profile"})
	m.ttft = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "drey_ttft_seconds", Help: "From an attempt's start to its first content.", Buckets: buckets,
	}, []string{"provider"})
	m.gap = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "drey_inter_token_gap_seconds", Help: "Mean time between the contents of one stream.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
	}, []string{"provider"})
	m.overhead = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "drey_overhead_seconds", Help: "The part of a request's time that was drey's own.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .1, 1},
	})
	m.inFlight = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drey_in_flight", Help: "Requests under way."}, []string{"wire"})
	reg.MustRegister(m.duration, m.ttft, m.gap, m.overhead, m.inFlight, m)
	return m
}

// Restore puts saved sums under what has been counted so far, and returns the
// names of those that no counter knows.
func (m *Metrics) Restore(saved map[string]float64) (unknown []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for series, v := range saved {
		name, labels := splitSeries(series)
		if t, ok := totals[name]; !ok || len(labels) != t.labels || !(v >= 0) {
			unknown = append(unknown, name)
			continue
		}
		m.sums[series] += v
	}
	return unknown
}

// add counts. It is given a name of totals and as many label values as that
// one has.
func (m *Metrics) add(n float64, name string, labels ...string) {
	if n == 0 {
		return
	}
	series := strings.Join(append([]string{name}, labels...), sep)
	m.sums[series] += n
	m.delta[series] += n
}

// Reloaded counts that the configuration was read again, and whether it was good.
func (m *Metrics) Reloaded(good bool) {
	outcome := "rejected"
	if good {
		outcome = "ok"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(1, nameReloads, outcome)
}

// Requests returns how many requests have ended, and with which outcomes, over
// restarts.
func (m *Metrics) Requests() (total uint64, outcomes map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outcomes = map[string]uint64{}
	for series, v := range m.sums {
		if name, labels := splitSeries(series); name == "drey_requests_total" {
			outcomes[labels[len(labels)-1]] += uint64(v)
			total += uint64(v)
		}
	}
	return total, outcomes
}

// takeDelta returns what was counted since the last call.
func (m *Metrics) takeDelta() map[string]float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.delta
	m.delta = make(map[string]float64, len(d))
	return d
}

// observe counts a request that has ended.
func (m *Metrics) observe(r *Record) {
	m.duration.WithLabelValues(r.Wire.String(), string(r.Profile)).Observe(r.Total.Seconds())
	m.overhead.Observe(r.Own.Seconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(1, "drey_requests_total", r.Wire.String(), string(r.Profile), strconv.Itoa(r.Status), string(r.Outcome))
	tried := map[drey.ProviderID]bool{}
	for _, a := range r.Attempts {
		m.add(1, "drey_attempts_total", string(a.Provider), a.outcome())
		if tried[a.Provider] {
			m.add(1, "drey_retries_total")
		}
		tried[a.Provider] = true
		if a.Committed && !a.OK && a.Class != drey.Cancel {
			m.add(1, "drey_streams_cut_total", string(a.Provider))
		}
		if a.FirstByte > 0 {
			m.ttft.WithLabelValues(string(a.Provider)).Observe(a.FirstByte.Seconds())
		}
		if a.Gap > 0 {
			m.gap.WithLabelValues(string(a.Provider)).Observe(a.Gap.Seconds())
		}
	}
	m.spent(r)
	m.mended(r)
	if r.Rescue.Mode != RescueOff {
		m.add(1, "drey_rescues_total", string(r.Rescue.Mode), string(r.Rescue.Outcome))
	}
	for _, s := range r.Skipped {
		m.add(1, "drey_skips_total", string(s.Provider), s.Reason)
	}
	for _, t := range r.Guards {
		m.add(1, "drey_guard_total", t.Guard, t.Action)
	}
	if r.FellFrom != "" && r.Provider != "" {
		m.add(1, "drey_fallbacks_total", string(r.Profile), string(r.FellFrom), string(r.Provider), r.FellFor)
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, t := range totals {
		ch <- t.desc
	}
	ch <- descCacheHits
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for series, v := range m.sums {
		name, labels := splitSeries(series)
		ch <- prometheus.MustNewConstMetric(totals[name].desc, prometheus.CounterValue, v, labels...)
	}
	m.cacheHits(ch)
}

func splitSeries(series string) (name string, labels []string) {
	parts := strings.Split(series, sep)
	return parts[0], parts[1:]
}

// InFlight counts requests under way; it is the gateway's Config.InFlight.
func (m *Metrics) InFlight(w drey.Wire, delta int) {
	m.inFlight.WithLabelValues(w.String()).Add(float64(delta))
}
