package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// sleepMetrics count what the lifecycle does (the lifecycle contract §9).
type sleepMetrics struct {
	state       *prometheus.GaugeVec
	transitions *prometheus.CounterVec
	wake        prometheus.Histogram
	step        *prometheus.HistogramVec
}

func newSleepMetrics(r prometheus.Registerer) *sleepMetrics {
	m := &sleepMetrics{
		state:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "drey_lifecycle_state", Help: "1 for the state that the daemon is in, 0 for the others."}, []string{"state"}),
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "drey_lifecycle_transitions_total", Help: "Moves of the lifecycle, by what caused them."}, []string{"from", "to", "trigger"}),
		wake: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drey_lifecycle_wake_seconds", Help: "From the first activity to WAKE on disk.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
		step: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "drey_lifecycle_step_seconds", Help: "How long the steps of the sleep cycle took.", Buckets: []float64{.01, .1, .5, 1, 5, 30, 60, 300, 600, 1800},
		}, []string{"step"}),
	}
	r.MustRegister(m.state, m.transitions, m.wake, m.step)
	return m
}

func (m *sleepMetrics) moved(now lifecycle.State) {
	for s := lifecycle.Wake; s <= lifecycle.Hibernation; s++ {
		v := 0.0
		if s == now {
			v = 1
		}
		m.state.WithLabelValues(s.String()).Set(v)
	}
}

func (m *sleepMetrics) transition(from, to lifecycle.State, trigger string) {
	if trigger != "" {
		m.transitions.WithLabelValues(from.String(), to.String(), trigger).Inc()
	}
}

func (m *sleepMetrics) woke(took time.Duration) { m.wake.Observe(took.Seconds()) }

func (m *sleepMetrics) stepTook(step string, took time.Duration) {
	m.step.WithLabelValues(step).Observe(took.Seconds())
}

var (
	descCycleAge = prometheus.NewDesc("drey_lifecycle_cycle_age_seconds", "Since the last complete sleep cycle; absent before the first.", nil, nil)
	descWorkless = prometheus.NewDesc("drey_lifecycle_workless_wakes", "Wakes from hibernation in a row that brought no work.", nil, nil)
)
