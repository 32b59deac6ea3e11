package config

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

func seconds(n int) drey.Duration { return drey.Duration(n) * drey.Duration(time.Second) }

// The keys of the healing contract in testdata/whole.yaml.
func TestParseHealing(t *testing.T) {
	f := whole(t)
	top := Health{
		Threshold: 4, PanicWait: seconds(20), Ramp: seconds(60),
		Probe: Probe{Initial: seconds(10), Max: seconds(120), Jitter: 0.1, Timeout: seconds(20), Depth: "liveness", Paid: true},
	}
	for _, tt := range []struct {
		what      string
		want, got any
	}{
		{"health", top, f.Health},
		{"health of a provider that says nothing", top, f.HealthOf("llama")},
		{"health of nobody", top, f.HealthOf("absent")},
		{"health of a provider that says all", Health{
			Threshold: 5,
			Probe:     Probe{Initial: seconds(5), Max: seconds(60), Jitter: 0.25, Timeout: seconds(5), Depth: "models", Paid: true},
		}, f.HealthOf("local")},
		{"health of a provider that says one thing", top.With(&HealthOverrides{Probe: &ProbeOverrides{Max: new(seconds(600))}}), f.HealthOf("cloud.1")},
		{"continuous_probe", ContinuousProbe{Mode: "active", Interval: seconds(300), Timeout: seconds(5), Paid: true}, f.ContinuousProbe},
		{"process_groups", []ProcessGroup{{Name: "gpu0", Resident: 2, SwapWait: seconds(10), MinResident: seconds(30), Settle: seconds(5)}}, f.ProcessGroups},
		{"limits", Limits{Concurrency: 2, Queue: 4, QueueWait: seconds(60)}, f.Provider("local").Limits},
		{"health_action", []string{"demote", "exclude"}, []string{f.Profile("coding").HealthAction, f.Profile("plain").HealthAction}},
		{"adaptive", []bool{true, false}, []bool{f.Profile("coding").Adaptive, f.Profile("plain").Adaptive}},
		{"process", &Process{
			Command: []string{"llama-server", "--port", "${PORT}", "-m", "/models/${MODEL}.gguf"},
			Env:     []Header{{"LLAMA_ARG_N_PARALLEL", Text{Literal: "2"}}, {"HF_TOKEN", Text{Secret: Secret{Env: "HF_TOKEN"}}}},
			Cwd:     "/home/me/llama", Port: 8080, Start: "eager",
			Ready: ProcessReady{Path: "/ready", Interval: seconds(1) / 10, Timeout: seconds(60)},
			TTL:   seconds(900), Stop: ProcessStop{Grace: seconds(3)},
			Backoff: Backoff{First: seconds(2), Max: seconds(120), Cap: 3, Within: seconds(300), Reset: seconds(1200)},
			Queue:   8, QueueWait: seconds(120), Group: "gpu0", VRAMMB: 9000,
		}, f.Provider("llama").Process},
	} {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, d)
		}
	}
}

func TestRestartCommands(t *testing.T) {
	f := whole(t)
	local, cloud := f.Provider("local").RestartCommand, f.Provider("cloud.1")
	if words, err := local.Words(); err != nil || !slices.Equal(words, []string{"systemctl", "--user", "restart", "ollama server"}) {
		t.Errorf("a list: %q, %v", words, err)
	}
	if got := local.String(); got != "systemctl --user restart ollama server" {
		t.Errorf("a list is shown as %q", got)
	}
	if got := cloud.RestartCommand.String(); got != "docker restart 'my server' && sleep 1" || !cloud.RestartShell {
		t.Errorf("a line is shown as %q", got)
	}
	if !f.Provider("play").RestartCommand.IsZero() || local.IsZero() || cloud.RestartCommand.IsZero() {
		t.Error("IsZero does not tell")
	}
	p := mustParse(t, `
providers: {a: {url: http://127.0.0.1:1, restart_command: "systemctl restart 'my server'"}}
profiles: {default: {chain: [a]}}
`).Provider("a")
	if words, err := p.RestartCommand.Words(); err != nil || !slices.Equal(words, []string{"systemctl", "restart", "my server"}) {
		t.Errorf("a line: %q, %v", words, err)
	}
}

// A process has the contract's defaults as soon as its command is there.
func TestProcessDefaults(t *testing.T) {
	p := mustParse(t, `
providers: {a: {url: http://127.0.0.1:1, process: {command: [a]}}}
profiles: {default: {chain: [a]}}
`).Provider("a").Process
	want := &Process{
		Command: []string{"a"}, Start: "lazy",
		Ready:   ProcessReady{Path: "/health", Interval: seconds(1) / 4, Timeout: seconds(300)},
		Stop:    ProcessStop{Grace: seconds(10)},
		Backoff: Backoff{First: seconds(1), Max: seconds(300), Cap: 5, Within: seconds(600), Reset: seconds(600)},
		Queue:   32, QueueWait: seconds(300),
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
}
