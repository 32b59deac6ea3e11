package daemon

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/store"
)

// TestEndsUpkeep: memory is given back once, when nothing of upkeep is left to
// do for now.
func TestEndsUpkeep(t *testing.T) {
	for _, c := range []struct {
		name string
		line lifecycle.Line
		want bool
	}{
		{"a cycle is complete", lifecycle.Line{Event: lifecycle.EventCycleCompleted}, true},
		{"a step failed", lifecycle.Line{Event: lifecycle.EventStepCompleted, Fields: []drey.Field{drey.F("error", "no space")}}, true},
		{"a step is done, and the next one begins", lifecycle.Line{Event: lifecycle.EventStepCompleted}, false},
		{"somebody came", lifecycle.Line{Event: lifecycle.EventCycleDeferred}, false},
		{"a state was entered", lifecycle.Line{Event: lifecycle.EventTransition}, false},
	} {
		if got := endsUpkeep(c.line); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestEventsGoByAge: whatever a gateway journals for people goes with its age.
// What no retention reaches, a busy one piles up for ever.
func TestEventsGoByAge(t *testing.T) {
	key := func(o *Options) { o.Env = environment(map[string]string{"AGENT": "key-of-an-agent-0815"}) }
	limited := provider(t, fake.Always(fake.RateLimited()))
	crowded := provider(t, fake.Always(fake.OutOfMemory()))
	good := provider(t, fake.Always(fake.Text("well")))
	h := open(t, fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
keys: [{name: agent, secret: "env:AGENT"}]
providers:
  limited: {wire: openai, url: %q, class: local, model: m}
  crowded: {wire: openai, url: %q, class: local, model: m}
  good: {wire: openai, url: %q, class: local, model: m}
default_profile: auto
auto_router: {default: default, rules: [{id: broken, when: 'tools[3] == "x"', profile: default}]}
profiles: {default: {chain: [limited, crowded, good]}}
`, limited.URL(), crowded.URL(), good.URL()), key)
	h.chat("hi") // without a key
	if a := h.do(http.MethodPost, "/v1/chat/completions", looping(51, false), "X-Api-Key", "key-of-an-agent-0815"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, name := range []string{
		"key-refused", "auto-router-error", "tool-loop-detected", "tool-count-exceeded", "provider-parked",
		"memory-pressure-detected", "fallback-occurred",
	} {
		h.event(name, 0)
	}
	if _, err := h.control().ExcludeProvider(t.Context(), "good", api.Exclude{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.control().RestoreProvider(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	h.event("self-healing-restore", 0)

	pruned, err := h.d.store.Prune(t.Context(), store.Retention{Before: time.Now().Add(time.Hour), Logs: logMachines}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The two that are parked have a state, and what came after it is theirs.
	states, err := h.d.store.Snapshots(t.Context(), "provider")
	if err != nil {
		t.Fatal(err)
	}
	var theirs int64
	for _, st := range states {
		theirs += int64(len(st.Tail))
	}
	if pruned.Kept > theirs {
		t.Errorf("%d rows are kept, and states need %d", pruned.Kept, theirs)
	}
}
