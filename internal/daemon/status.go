package daemon

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/server"
)

// Status tells the daemon in one look.
func (d *Daemon) Status(ctx context.Context) (api.Status, error) {
	d.catchUp(ctx)
	gen := d.conf.Load()
	head, err := d.store.Head(ctx)
	if err != nil {
		return api.Status{}, err
	}
	s := api.Status{
		Version: d.opts.Version, PID: os.Getpid(), State: lifecycle.State(d.state.Load()).String(),
		StartedAt: drey.FormatTime(d.started), UptimeS: int64(time.Since(d.started).Seconds()),
		Listen: []string{d.tcp.Addr().String()}, Socket: d.unix.Addr().String(),
		Home: d.home.Root(), Config: gen.source, AllowPaid: gen.settings.AllowPaid, DefaultProfile: d.gateway.DefaultProfile(),
		Journal: api.Journal{Store: d.storeName(), Head: head, Epoch: d.store.Epoch()},
	}
	for _, p := range d.gateway.Profiles() {
		s.Profiles = append(s.Profiles, api.Profile{ID: p.ID, Chain: p.Chain, Ready: p.Ready})
	}
	s.Providers = server.ProvidersOf(d.gateway.Providers(), d.healer(), time.Now())
	for _, b := range server.BudgetsOf(d.cashier.View(time.Now())).Budgets {
		if b.LimitUSD != nil {
			s.Budgets = append(s.Budgets, b)
		}
	}
	total, outcomes := d.metrics.Requests()
	s.Requests = api.Traffic{
		InFlight: d.server.InFlight(), Total: total, Outcomes: outcomes, Dropped: d.dropped(),
	}
	return s, nil
}

// Config tells the configuration in force, without the values of secrets.
func (d *Daemon) Config(context.Context) (api.Config, error) {
	gen := d.conf.Load()
	return api.Config{Source: gen.source, LoadedAt: drey.FormatTime(gen.at), Settings: effective(gen.file)}, nil
}

// dropped counts rows that were not written down since the start, wherever
// they were lost.
func (d *Daemon) dropped() uint64 {
	n := d.ledger.Dropped() + d.store.Dropped()
	for _, l := range d.logs() {
		n += l.Dropped()
	}
	return n
}

// machineDaemon is whose events those of the process are.
const machineDaemon = "daemon"

// emit journals an event of the daemon's own.
func (d *Daemon) emit(level drey.Level, name string, fields ...drey.Field) {
	d.bus.Emit(drey.Event{At: time.Now(), Name: name, Level: level, Machine: machineDaemon, Fields: fields})
}

// collector tells Prometheus what is known without counting.
type collector struct{ d *Daemon }

var (
	descBuild   = prometheus.NewDesc("drey_build_info", "Which drey this is; always 1.", []string{"version", "go"}, nil)
	descDropped = prometheus.NewDesc("drey_log_dropped_total", "Rows of requests and decisions that were not written down since the start.", nil, nil)
	descReady   = prometheus.NewDesc("drey_profile_ready", "Whether some provider of a profile may be tried.", []string{"profile"}, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descBuild, descDropped, descReady, descCycleAge, descWorkless} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBuild, 1, c.d.opts.Version, runtime.Version())
	ch <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue, float64(c.d.dropped()))
	r := c.d.owner.Status().Record
	gauge(descWorkless, float64(r.WorklessWakes))
	if r.LastCycle != nil {
		gauge(descCycleAge, max(0, time.Since(r.LastCycle.CompletedAt).Seconds()))
	}
	for _, p := range c.d.gateway.Profiles() {
		ready := 0.0
		if p.Ready {
			ready = 1
		}
		gauge(descReady, ready, string(p.ID))
	}
}
