package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
)

// fieldOf returns a field of an event as JSON; nil if it has none of that name.
func fieldOf(ev drey.Event, key string) json.RawMessage {
	for _, f := range ev.Fields {
		if f.Key == key {
			raw, _ := json.Marshal(f.Value)
			return raw
		}
	}
	return nil
}

// healthEvents are a provider's journaled events, with what tells two of a name
// apart.
func (h *house) healthEvents(id string) (names []string, last map[string]drey.Event) {
	last = map[string]drey.Event{}
	for _, ev := range h.events(store.Query{Machine: "provider", ID: id}) {
		last[ev.Name] = ev
		switch ev.Name {
		case "backend-health-changed":
			names = append(names, fmt.Sprintf("%s -> %s", ev.From, ev.To))
		case "self-healing-restart", "self-healing-recovery-probe":
			names = append(names, fmt.Sprintf("%s(%s)", ev.Name, fieldOf(ev, "success")))
		default:
			names = append(names, ev.Name)
		}
	}
	return names, last
}

// A provider dies under the load of 32 clients of both wires, streaming and
// not, that never stop asking: none of them sees an error; it is taken out,
// restarted, probed, and has its traffic again within one interval of its
// return; and the journal tells it in the order of the healing contract §11.
func TestABreakdownUnderLoad(t *testing.T) {
	t.Parallel() // it waits more than it works
	first, second := provider(t, fake.Always(fake.Text("from first"))), provider(t, fake.Always(fake.Text("from second")))
	h := open(t, strings.Replace(chainOfTwo(first.URL(), second.URL(), "logs: {level: error}"),
		"class: local, model: fake-model}\n  second", "class: local, model: fake-model, restart_command: \"true\", restart_settle: 100ms}\n  second", 1))

	const clients = 32
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	var wg sync.WaitGroup
	var asked, served, back atomic.Int64 // served by the first; back: so, and when, in ns, it was first so after its return
	var returned atomic.Bool
	for i := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				path, body := "/v1/chat/completions", chatBody("hi", i%4 == 0)
				if i%2 == 1 {
					path, body = "/v1/messages", fmt.Sprintf(`{"model":"m","max_tokens":9,"stream":%v,"messages":[{"role":"user","content":"hi"}]}`, i%4 == 1)
				}
				a, err := h.try("POST", path, body)
				if err != nil || a.status != 200 || strings.Contains(a.body, `"error"`) {
					t.Errorf("a client saw %v %d %s", err, a.status, a.body)
					return
				}
				asked.Add(1)
				if a.header.Get("X-Drey-Provider") == "first" {
					served.Add(1)
					if returned.Load() {
						back.CompareAndSwap(0, time.Now().UnixNano())
					}
				}
			}
		})
	}
	eventually(t, "the first has its traffic", func() bool { return served.Load() > 3*clients })
	first.Outage(fake.Reset())
	h.event("self-healing-exclude", 0)
	eventually(t, "it was looked at while it was down", func() bool {
		names, _ := h.healthEvents("first")
		return len(slices.DeleteFunc(names, func(s string) bool { return s != "self-healing-recovery-probe(false)" })) >= 2
	})
	_, last := h.healthEvents("first")
	var interval float64
	if err := json.Unmarshal(fieldOf(last["self-healing-recovery-probe"], "next_interval_s"), &interval); err != nil || interval <= 0 {
		t.Fatalf("the last probe names no interval: %v", last["self-healing-recovery-probe"])
	}
	if err := first.Restore(); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	returned.Store(true)
	eventually(t, "it has its traffic again", func() bool { return back.Load() > 0 })
	took := time.Unix(0, back.Load()).Sub(at)
	if most := time.Duration(interval*float64(time.Second)) + 5*time.Second; took > most { // five for a busy machine
		t.Errorf("it had traffic %v after its return; the interval is %v s", took, interval)
	}
	h.event("provider-ramp-ended", 0)
	enough()
	wg.Wait()
	t.Logf("%d answers, none of them an error; back in traffic %v after the return", asked.Load(), took)

	names, _ := h.healthEvents("first")
	// Answers that were under way when it died may end well among the first
	// failures: then it begins anew.
	for i := slices.Index(names, "DEGRADED -> HEALTHY"); i > 0; i = slices.Index(names, "DEGRADED -> HEALTHY") {
		names = slices.Delete(names, i-1, i+1)
	}
	isProbe := func(s string) bool { return s == "self-healing-recovery-probe(false)" }
	if probes := slices.IndexFunc(names, isProbe); probes >= 0 {
		names = slices.Insert(slices.DeleteFunc(names, isProbe), probes, "self-healing-recovery-probe(false) × n")
	}
	// Where they go on ending well among the failures, it is out for the share of
	// its failures before it has failed six times in a row.
	down, out := []string{"HEALTHY -> DEGRADED", "DEGRADED -> UNHEALTHY"}, "excluded after 6 failures in a row"
	if string(fieldOf(last["self-healing-exclude"], "reason")) == `"ratio"` {
		out = "excluded because at least half of its latest answers failed"
		if slices.Contains(names, "HEALTHY -> UNHEALTHY") {
			down = []string{"HEALTHY -> UNHEALTHY"}
		}
	}
	want := append(down, "self-healing-exclude", "self-healing-restart(true)",
		"self-healing-recovery-probe(false) × n",
		"self-healing-restore", "UNHEALTHY -> HEALTHY", "self-healing-recovery-probe(true)", "provider-ramp-ended")
	if !slices.Equal(names, want) {
		t.Errorf("the story is\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	if names, _ := h.healthEvents("second"); len(names) > 0 {
		t.Errorf("the second had trouble: %v", names)
	}

	w, err := h.control().WhyProvider(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	parts := []string{
		"first is HEALTHY; it was last out for", out,
		"restart command ran in", "; again in ", "back in traffic after", "brought back fully",
	}
	if len(down) == 2 {
		parts = append(parts, "degraded after 3 failures in a row (transport")
	}
	for _, part := range parts {
		if !strings.Contains(w.Text, part) {
			t.Errorf("why does not say %q:\n%s", part, w.Text)
		}
	}
}
