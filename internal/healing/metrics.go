package healing

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// Metrics are what the Keeper tells Prometheus. Totals are counted from the
// events themselves, so that they and the journal cannot disagree, and go on
// over restarts (Restore, Config.Counters). Label values come from the configuration
// and the contract alone.
type Metrics struct {
	keeper atomic.Pointer[Keeper]

	mu    sync.Mutex
	sums  map[string]float64 // by series: name and label values, joined by sep
	delta map[string]float64 // since the last takeDelta

	probe prometheus.ObserverVec
	queue prometheus.Observer
	load  prometheus.Observer
}

// sep joins a series' name and its label values: the unit separator, which no
// name contains and every store can hold.
const sep = "\x1f"

// counter is a total's description and its labels.
type counter struct {
	desc   *prometheus.Desc
	labels int
}

func newCounter(name, help string, labels ...string) counter {
	return counter{prometheus.NewDesc(name, help, labels, nil), len(labels)}
}

// counters are the totals by name.
var counters = map[string]counter{
	"drey_provider_exclusions_total":       newCounter("drey_provider_exclusions_total", "Exclusions of a provider.", "provider", "reason"),
	"drey_provider_restores_total":         newCounter("drey_provider_restores_total", "Returns of a provider.", "provider", "reason"),
	"drey_provider_excluded_seconds_total": newCounter("drey_provider_excluded_seconds_total", "How long a provider was out, over the exclusions that have ended.", "provider"),
	"drey_provider_restarts_total":         newCounter("drey_provider_restarts_total", "Restarts of a provider's backend.", "provider", "outcome"),
	"drey_recovery_probes_total":           newCounter("drey_recovery_probes_total", "Probes and trials of providers that were out.", "provider", "depth", "outcome"),
	"drey_provider_late_results_total":     newCounter("drey_provider_late_results_total", "Results of attempts that came too late to count."),
	"drey_process_starts_total":            newCounter("drey_process_starts_total", "Starts of managed processes.", "provider"),
	"drey_process_exits_total":             newCounter("drey_process_exits_total", "Ends of managed processes.", "provider", "reason"),
	"drey_chain_panic_total":               newCounter("drey_chain_panic_total", "Requests that tried an excluded provider because nothing else was left.", "profile"),
}

var gauges = struct{ state, phase, failures, inFlight, queued, ramp, process *prometheus.Desc }{
	prometheus.NewDesc("drey_provider_state", "1 for the state that a provider is in.", []string{"provider", "state"}, nil),
	prometheus.NewDesc("drey_provider_phase", "1 for the phase that a provider is in.", []string{"provider", "phase"}, nil),
	prometheus.NewDesc("drey_provider_consecutive_failures", "Counted failures of a provider since its last success.", []string{"provider"}, nil),
	prometheus.NewDesc("drey_provider_in_flight", "Answers under way at a provider.", []string{"provider"}, nil),
	prometheus.NewDesc("drey_provider_queued", "Requests that wait for a place at a provider, or for its process.", []string{"provider"}, nil),
	prometheus.NewDesc("drey_provider_ramp_limit", "Answers that a restored provider gives at once; 0 = it does not ramp.", []string{"provider"}, nil),
	prometheus.NewDesc("drey_process_state", "1 for the state that a managed process is in.", []string{"provider", "state"}, nil),
}

var (
	states     = []health.State{health.Healthy, health.Degraded, health.Unhealthy, health.Excluded}
	phases     = []health.Phase{health.NoPhase, health.Draining, health.Restarting, health.Probing, health.Ramping}
	procStates = []health.ProcState{health.Stopped, health.Starting, health.Ready, health.Stopping, health.Settling, health.Backoff, health.CrashLoop}
)

// NewMetrics returns the Keeper's metrics, registered. They show gauges once a
// Keeper has been made with them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := newMetrics()
	reg.MustRegister(m, m.probe.(prometheus.Collector), m.queue.(prometheus.Collector), m.load.(prometheus.Collector))
	return m
}

func newMetrics() *Metrics {
	return &Metrics{
		sums: map[string]float64{}, delta: map[string]float64{},
		probe: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "drey_probe_latency_seconds", Help: "How long probes take.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"provider"}),
		queue: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drey_provider_queue_wait_seconds", Help: "How long requests waited for a place or a process before they left.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		load: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drey_process_load_seconds", Help: "From a process's start until it was ready.",
			Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		}),
	}
}

func (m *Metrics) watch(k *Keeper) { m.keeper.Store(k) }

// Owns reports whether a saved series is one of these metrics.
func (m *Metrics) Owns(series string) bool {
	name, _, _ := strings.Cut(series, sep)
	_, ok := counters[name]
	return ok
}

// Restore puts saved sums under what has been counted so far, and returns the
// names of those that no counter knows.
func (m *Metrics) Restore(saved map[string]float64) (unknown []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for series, v := range saved {
		parts := strings.Split(series, sep)
		if c, ok := counters[parts[0]]; !ok || len(parts)-1 != c.labels || !(v >= 0) {
			unknown = append(unknown, parts[0])
			continue
		}
		m.sums[series] += v
	}
	return unknown
}

// takeDelta returns what was counted since the last call, for the store.
func (m *Metrics) takeDelta() map[string]float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.delta) == 0 {
		return nil
	}
	d := m.delta
	m.delta = map[string]float64{}
	return d
}

func (m *Metrics) add(n float64, name string, labels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	series := strings.Join(append([]string{name}, labels...), sep)
	m.sums[series] += n
	m.delta[series] += n
}

func (m *Metrics) late() { m.add(1, "drey_provider_late_results_total") }

func (m *Metrics) panicked(p drey.ProfileID) { m.add(1, "drey_chain_panic_total", string(p)) }

func (m *Metrics) waited(d time.Duration) { m.queue.Observe(d.Seconds()) }

func (m *Metrics) probed(id drey.ProviderID, r ProbeResult) {
	m.probe.WithLabelValues(string(id)).Observe(r.Latency.Seconds())
}

// observe counts an event.
func (m *Metrics) observe(ev drey.Event) {
	field := func(key string) (v any) {
		for _, f := range ev.Fields {
			if f.Key == key {
				return f.Value
			}
		}
		return nil
	}
	text := func(key string) string { s, _ := field(key).(string); return s }
	outcome := func() string {
		if ok, _ := field("success").(bool); ok {
			return "ok"
		}
		return "failed"
	}
	switch ev.Name {
	case "self-healing-exclude":
		m.add(1, "drey_provider_exclusions_total", ev.ID, text("reason"))
	case "self-healing-restore":
		m.add(1, "drey_provider_restores_total", ev.ID, text("reason"))
		if s, ok := field("excluded_duration_s").(float64); ok && s > 0 {
			m.add(s, "drey_provider_excluded_seconds_total", ev.ID)
		}
	case "self-healing-restart":
		m.add(1, "drey_provider_restarts_total", ev.ID, outcome())
	case "self-healing-recovery-probe":
		m.add(1, "drey_recovery_probes_total", ev.ID, text("depth"), outcome())
	case "process-started":
		m.add(1, "drey_process_starts_total", ev.ID)
	case "process-ready":
		if ms, ok := field("load_ms").(int64); ok {
			m.load.Observe(float64(ms) / 1000)
		}
	case "process-exited":
		reason := "exit"
		if oom, _ := field("oom").(bool); oom {
			reason = "oom"
		} else if text("signal") != "" {
			reason = "signal"
		}
		m.add(1, "drey_process_exits_total", ev.ID, reason)
	case "process-unloaded":
		m.add(1, "drey_process_exits_total", ev.ID, text("reason"))
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range counters {
		ch <- c.desc
	}
	for _, d := range []*prometheus.Desc{gauges.state, gauges.phase, gauges.failures, gauges.inFlight, gauges.queued, gauges.ramp, gauges.process} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	for series, v := range m.sums {
		parts := strings.Split(series, sep)
		ch <- prometheus.MustNewConstMetric(counters[parts[0]].desc, prometheus.CounterValue, v, parts[1:]...)
	}
	m.mu.Unlock()
	k := m.keeper.Load()
	if k == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := func(on bool) float64 {
		if on {
			return 1
		}
		return 0
	}
	for _, v := range k.Views() {
		id := string(v.ID)
		for _, s := range states {
			gauge(gauges.state, flag(v.State == s), id, s.String())
		}
		for _, p := range phases {
			gauge(gauges.phase, flag(v.Phase == p), id, p.String())
		}
		gauge(gauges.failures, float64(v.ConsecutiveFailures), id)
		gauge(gauges.inFlight, float64(v.InFlight), id)
		gauge(gauges.queued, float64(v.Queued), id)
		gauge(gauges.ramp, float64(v.RampLimit), id)
		if v.Process != nil {
			for _, s := range procStates {
				gauge(gauges.process, flag(v.Process.State == s), id, s.String())
			}
		}
	}
}
