package orchestrator

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey/internal/operation"
)

// Metrics are what Operations tell Prometheus (§11). No id is ever a label.
type Metrics struct {
	of atomic.Pointer[Operations] // for the gauges; nil = they are not shown yet

	moves map[move]prometheus.Counter // those of transitions that have been asked for; the owner's

	transitions, refusals, recoveries *prometheus.CounterVec
	evictions                         prometheus.Counter
	duration                          *prometheus.HistogramVec
	seconds, rows                     prometheus.Histogram
}

// move is a line of the counter of transitions.
type move struct {
	kind   operation.Kind
	action operation.Action
}

var (
	descOperations = prometheus.NewDesc("drey_operations", "Operations that are live or retained.", []string{"registry_kind", "kind", "status"}, nil)
	descWaits      = prometheus.NewDesc("drey_operation_waits", "Waits under way.", nil, nil)
	descWatches    = prometheus.NewDesc("drey_operation_watches", "Watches on live operations.", nil, nil)
	descPinned     = prometheus.NewDesc("drey_operation_pinned", "Operations whose record a wait needs.", nil, nil)
)

// NewMetrics returns the metrics of Operations, registered. They show gauges
// once Operations have been made with them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := newMetrics()
	reg.MustRegister(m, m.transitions, m.refusals, m.recoveries, m.evictions, m.duration, m.seconds, m.rows)
	return m
}

func newMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &Metrics{
		moves:       map[move]prometheus.Counter{},
		transitions: counter("drey_operation_transitions_total", "Transitions of operations.", "kind", "action"),
		refusals:    counter("drey_operation_refusals_total", "Calls that were refused.", "action", "code"),
		recoveries:  counter("drey_operation_recovered_total", "Operations that a restart has found live.", "kind", "from", "to"),
		evictions:   prometheus.NewCounter(prometheus.CounterOpts{Name: "drey_operation_evictions_total", Help: "Ended operations that left their registry for the archive."}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "drey_operation_duration_seconds", Help: "From registration to the ending.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drey_operation_commit_seconds", Help: "From a decision to its publication.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		rows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drey_operation_commit_rows", Help: "Rows in the transactions of the store that carried a decision.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
	}
}

func (m *Metrics) watch(o *Operations) { m.of.Store(o) }

func (m *Metrics) moved(row *operation.Row) {
	kind := row.After.Kind.String()
	at := move{row.After.Kind, row.Action}
	count := m.moves[at]
	if count == nil {
		count = m.transitions.WithLabelValues(kind, row.Action.String())
		m.moves[at] = count
	}
	count.Inc()
	if row.After.Status.Ended() {
		seconds := float64(row.After.CompletedAtMS-row.After.CreatedAtMS) / 1000
		m.duration.WithLabelValues(kind, row.After.Status.String()).Observe(seconds)
	}
}

func (m *Metrics) refused(action operation.Action, err error) {
	if e, ok := errors.AsType[*operation.Error](err); ok {
		m.refusals.WithLabelValues(action.String(), e.Code.String()).Inc()
	}
}

func (m *Metrics) committed(took time.Duration, t *ticket) {
	if t.err == nil && len(t.events) > 0 {
		m.seconds.Observe(took.Seconds())
		m.rows.Observe(float64(t.commit.Rows))
	}
}

func (m *Metrics) evicted(n int) { m.evictions.Add(float64(n)) }

func (m *Metrics) recovered(kind operation.Kind, from operation.Status, row *operation.Row) {
	to := from
	if row != nil {
		to = row.After.Status
	}
	m.recoveries.WithLabelValues(kind.String(), from.String(), to.String()).Inc()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOperations, descWaits, descWatches, descPinned} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	o := m.of.Load()
	if o == nil {
		return
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for p, n := range o.census {
		gauge(descOperations, n, p.registry, p.kind, p.status)
	}
	gauge(descWaits, o.waits)
	gauge(descWatches, o.watches)
	gauge(descPinned, o.pinned)
}
