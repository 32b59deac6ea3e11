package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/store"
)

// dormouse is a lifecycle that only tells.
type dormouse struct {
	sleeping
	now api.Lifecycle
}

// sleeping lends a dormouse what it is not asked; a call is a fault of the test.
type sleeping interface{ Lifecycle }

func (d dormouse) Lifecycle(context.Context) (api.Lifecycle, error) { return d.now, nil }

func TestWhyDaemon(t *testing.T) {
	now := time.Now()
	since := now.Add(-40 * time.Minute)
	view := api.Lifecycle{
		State: "SLEEP", Since: drey.FormatTime(since), LastActivity: drey.FormatTime(since.Add(-30 * time.Minute)),
		MayHibernate: &api.MayHibernate{Because: []string{"it listens by itself"}}, Next: &api.Next{Event: "sleep_cycle", At: drey.FormatTime(now.Add(23 * time.Hour))},
	}
	sleeps := drey.Event{At: since, Name: "state_transition", Machine: "lifecycle", From: "DROWSY", To: "SLEEP", Trigger: "idle_30min"}
	l := newLab(t, func(c *Config) { c.Lifecycle = dormouse{now: view} }, nil)
	l.journal.Submit(func(store.Commit, error) {}, store.Append{Events: []drey.Event{
		{At: since, Name: "config-loaded", Machine: "daemon"}, sleeps,
	}})
	r := l.ask("GET", api.Prefix+"/why/daemon", "")
	text := gjson.Get(r.body, "text").Str
	for _, want := range []string{
		"The daemon has been in SLEEP for 40m", ": nobody has worked for 1h10m", "It does not hibernate now: it listens by itself.",
		"it begins its sleep cycle in 2", "fell asleep: nobody had worked for lifecycle.sleep_after",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if got := gjson.Get(r.body, "steps.#.seq").Raw; r.StatusCode != 200 || got != "[2]" || gjson.Get(r.body, "subject").Str != "daemon" {
		t.Errorf("%d: the steps stand on %s\n%s", r.StatusCode, got, r.body)
	}

	// Where none runs the story is that of the files.
	view.MayHibernate, view.Next, view.Quarantine = nil, nil, &api.Quarantine{Reason: "sleep step 4 (verify) failed 3x"}
	w, err := WhyDaemon(view, false, []drey.Event{sleeps}, now)
	if err != nil || !strings.Contains(w.Summary, "No daemon runs. A start goes on in SLEEP. The sleep cycle is in quarantine: sleep step 4 (verify) failed 3x.") || len(w.Steps) != 1 {
		t.Errorf("%+v, %v", w, err)
	}
	view.Since = "yesterday"
	if _, err := WhyDaemon(view, false, nil, now); err == nil {
		t.Error("a time that is none went by")
	}
}
