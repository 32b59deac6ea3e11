package healing

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// locked is the lock of a home that a test has to itself.
type locked struct{}

func (locked) Held() bool { return true }

func openStore(t *testing.T, path string) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Lock: locked{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A daemon is killed while a provider is out: the next one keeps it out, probes
// it and takes it back. The journal tells both lives as one story.
func TestAKillDoesNotForget(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "drey.db")
	before := openStore(t, path)
	soon := func(_ *Config, s *Settings) { s.Providers[0].Probe.Initial = time.Second }
	killed := newLab(t, nil, soon, func(c *Config, _ *Settings) { c.Journal = before })
	killed.breakDown()
	eventually(t, "the exclusion is durable", func() bool { return slices.Contains(killed.names(), "self-healing-exclude") })

	after := openStore(t, path) // from here on the first one writes nothing any more
	l := newLab(t, nil, soon, func(c *Config, _ *Settings) { c.Journal = after })
	l.up.Outage(fake.ServerError())
	if v := l.view(); v.State != health.Excluded || v.ConsecutiveFailures != 6 {
		t.Fatalf("%+v", v.View)
	}
	eventually(t, "a probe fails", func() bool { return slices.Contains(l.names(), "self-healing-recovery-probe") })
	l.up.Restore()
	eventually(t, "it is restored", func() bool { return slices.Contains(l.names(), "self-healing-restore") })

	page, err := after.Query(t.Context(), store.Query{Machine: "provider", ID: "local"})
	if err != nil {
		t.Fatal(err)
	}
	var story []string
	for _, ev := range page.Events {
		if story = append(story, ev.Name); len(story) > 1 && ev.Cause >= ev.Seq {
			t.Errorf("%s is caused by what came later", ev.Name)
		}
	}
	if want := []string{
		"backend-health-changed", "backend-health-changed", "self-healing-exclude",
		"self-healing-recovery-probe", "self-healing-restore", "backend-health-changed", "self-healing-recovery-probe",
	}; !slices.Equal(story, want) {
		t.Errorf("%v\nwant %v", story, want)
	}
}

// Every metric of the contract is there, and counts.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	if unknown := m.Restore(map[string]float64{
		"drey_provider_exclusions_total" + sep + "local" + sep + "consecutive": 2, "drey_provider_exclusions_total" + sep + "local": 1,
	}); len(unknown) != 1 {
		t.Errorf("unknown %v", unknown)
	}
	l := newLab(t, nil, child(nil, "plain"), func(c *Config, s *Settings) {
		c.Metrics = m
		plain := settings(nil).Providers[0]
		plain.ID = "plain"
		s.Providers = append(s.Providers, plain)
		s.Profiles[0].Chain = append(s.Profiles[0].Chain, "plain")
	})
	p, err := l.leave(waits)
	if err != nil {
		t.Fatal(err)
	}
	l.Ended(p, health.Ending{Class: drey.Cancel})
	for range 6 {
		p, err := l.leave(to("plain"))
		if err != nil {
			t.Fatal(err)
		}
		l.Ended(p, broken)
	}
	if p, err = l.leave(to("plain"), func(d *health.Departure) { d.For = health.AskPanic }); err != nil {
		t.Fatal(err)
	}
	l.Ended(p, well)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.Metric {
			got[f.GetName()] += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"drey_provider_state": 2, "drey_provider_phase": 2, "drey_provider_exclusions_total": 3, "drey_provider_restores_total": 1,
		"drey_recovery_probes_total": 1, "drey_process_starts_total": 1, "drey_process_state": 1, "drey_process_load_seconds": 1,
		"drey_chain_panic_total": 1, "drey_provider_ramp_limit": 1, "drey_provider_queue_wait_seconds": 1, "drey_provider_in_flight": 0,
		"drey_provider_queued": 0, "drey_provider_consecutive_failures": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
}
