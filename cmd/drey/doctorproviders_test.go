package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/exam"
	"github.com/dreyhq/drey/internal/fake"
)

// ward is a home with one provider, a Model with habits behind a socket.
type ward struct {
	t      *testing.T
	file   string
	config map[string]any
}

func newWard(t *testing.T, m fake.Model, provider map[string]any) *ward {
	t.Helper()
	models := m.Names
	if models == nil {
		models = []string{"squirrel"}
	}
	server, err := fake.New(fake.Options{Script: m.Script(), Models: models}).Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	base := map[string]any{"wire": "openai", "url": server.URL(), "model": "squirrel"}
	maps.Copy(base, provider)
	dir := t.TempDir()
	t.Setenv("DREY_HOME", filepath.Join(dir, "home"))
	w := &ward{t: t, file: filepath.Join(dir, "drey.yaml"), config: map[string]any{
		"version":   1,
		"providers": map[string]any{"nest": base},
		"profiles":  map[string]any{"default": map[string]any{"chain": []any{"nest"}}},
	}}
	w.write()
	return w
}

func (w *ward) write() {
	w.t.Helper()
	data, err := yaml.Marshal(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.file, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// doctor runs the command and returns its report of the provider and its exit
// code.
func (w *ward) doctor(args ...string) (reportJSON, int) {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"doctor", "--json", "--provider", "nest", "--config", w.file}, args...)
	code := run(w.t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	var out doctorJSON
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil || len(out.Providers) != 1 {
		w.t.Fatalf("exit %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
	return out.Providers[0], code
}

// paste merges a patch into the configuration, as its user would.
func (w *ward) paste(patch string) {
	w.t.Helper()
	var p map[string]any
	if err := yaml.Unmarshal([]byte(patch), &p); err != nil {
		w.t.Fatalf("the patch is no YAML: %v\n%s", err, patch)
	}
	merge(w.config, p)
	w.write()
	data, err := os.ReadFile(w.file)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err = config.Parse(w.file, data, config.Options{Env: os.LookupEnv}); err != nil {
		w.t.Fatalf("the patched file is refused: %v\n%s", err, data)
	}
}

// merge lays b over a: maps key by key, all else whole.
func merge(a, b map[string]any) {
	for k, v := range b {
		if under, ok := a[k].(map[string]any); ok {
			if over, ok := v.(map[string]any); ok {
				merge(under, over)
				continue
			}
		}
		a[k] = v
	}
}

// TestCtrlCEndsDoctor at once, and without a word: whoever pressed it knows.
func TestCtrlCEndsDoctor(t *testing.T) {
	server, err := fake.Listen(fake.Always(fake.Silent()))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	w := newWard(t, able(), map[string]any{"url": server.URL()})
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"doctor", "--provider", "nest", "--config", w.file}, strings.NewReader(""), &stdout, &stderr)
	}()
	if _, err := server.WaitCalls(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := <-code; got != exitFailed || stdout.Len()+stderr.Len() > 0 {
		t.Errorf("exit %d, stdout %q, stderr %q", got, stdout.String(), stderr.String())
	}
}

// TestManagedProcess: a provider that drey keeps is asked where the daemon has
// put it; without a daemon nobody can be asked, and that is no fault.
func TestManagedProcess(t *testing.T) {
	w := newWard(t, able(), map[string]any{"url": "http://127.0.0.1:1", "process": map[string]any{"command": []any{"true"}}})
	r, code := w.doctor()
	if f := finding(t, r, exam.Reachability); f.Verdict != exam.Skip || code != exitOK || !strings.Contains(f.Text, "process") {
		t.Errorf("exit %d: %+v", code, f)
	}
}

func finding(t *testing.T, r reportJSON, probe string) findingJSON {
	t.Helper()
	for _, f := range r.Findings {
		if f.Probe == probe {
			return f
		}
	}
	t.Fatalf("no finding of %s in %+v", probe, r.Findings)
	return findingJSON{}
}

// able is a model without faults, for which nothing is to be tuned.
func able() fake.Model {
	return fake.Model{Reasons: true, Sees: true, Keeps: true}
}

// TestPatchesMend is what doctor promises: each fault is found, and the lines
// that it prints, pasted, mend it.
func TestPatchesMend(t *testing.T) {
	with := func(change func(*fake.Model)) fake.Model {
		m := able()
		change(&m)
		return m
	}
	broken := func(b fake.Behaviour) fake.Behaviour { return b.CutAfter(3, fake.Clean) }
	tests := []struct {
		name     string
		model    fake.Model
		provider map[string]any
		probe    string
		verdict  exam.Verdict
		code     int
		patch    string // what it must hold
		after    exam.Verdict
	}{
		{name: "a short context that num_ctx widens", model: with(func(m *fake.Model) { m.Window, m.HeedsNumCtx = 2048, true }),
			probe: exam.Context, verdict: exam.NeedsTuning, code: exitAttention, patch: "num_ctx: 32768", after: exam.OK},
		{name: "a short context that nothing widens", model: with(func(m *fake.Model) { m.Window = 2048 }),
			provider: map[string]any{"extra_body": map[string]any{"options": map[string]any{"num_ctx": 32768}}},
			probe:    exam.Context, verdict: exam.NeedsTuning, code: exitAttention, patch: "context_tokens: 2048", after: exam.Unsupported},
		{name: "no tools", model: with(func(m *fake.Model) { m.Tools = fake.IgnoresTools }),
			probe: exam.Tools, verdict: exam.Unsupported, code: exitAttention, patch: "tools: false", after: exam.Unsupported},
		{name: "tools are refused", model: with(func(m *fake.Model) { m.Tools = fake.RefusesTools }),
			probe: exam.Tools, verdict: exam.Unsupported, code: exitAttention, patch: "tools: false", after: exam.Unsupported},
		{name: "tools that the configuration denies", model: able(), provider: map[string]any{"capabilities": map[string]any{"tools": false}},
			probe: exam.Tools, verdict: exam.NeedsTuning, code: exitAttention, patch: "tools: true", after: exam.OK},
		{name: "printed calls, and no repair", model: with(func(m *fake.Model) { m.Tools = fake.PrintsTools }), provider: map[string]any{"wire": "anthropic"},
			probe: exam.Tools, verdict: exam.NeedsTuning, code: exitAttention, patch: "repair: true", after: exam.OK},
		{name: "reasoning in a field", model: with(func(m *fake.Model) { m.Thoughts = "Hm, hm." }),
			probe: exam.Reasoning, verdict: exam.NeedsTuning, code: exitAttention, patch: "reasoning: drop", after: exam.OK},
		{name: "think spans", model: with(func(m *fake.Model) { m.Prefix = "<think>Hm.</think>" }),
			probe: exam.Reasoning, verdict: exam.NeedsTuning, code: exitAttention, patch: "filters: [strip_thinking]", after: exam.OK},
		{name: "stop markers", model: with(func(m *fake.Model) { m.Suffix = "<|im_end|>" }),
			probe: exam.Reasoning, verdict: exam.NeedsTuning, code: exitAttention, patch: "filters: [strip_stop_markers]", after: exam.OK},
		{name: "a broken stream", model: with(func(m *fake.Model) { m.Stream = broken }),
			probe: exam.Streaming, verdict: exam.NeedsTuning, code: exitAttention, patch: "drop_fields: [stream_options, stream]", after: exam.Unsupported},
		{name: "a stream that breaks where usage is asked for", model: with(func(m *fake.Model) { m.Stream, m.OnlyUsage = broken, true }),
			probe: exam.Streaming, verdict: exam.NeedsTuning, code: exitAttention, patch: "drop_fields: [stream_options]", after: exam.OK},
		{name: "a stream without its end mark", model: with(func(m *fake.Model) { m.Stream = fake.Behaviour.NoEndMark }), provider: map[string]any{"wire": "anthropic"},
			probe: exam.Streaming, verdict: exam.NeedsTuning, code: exitAttention, patch: "drop_fields: [stream]", after: exam.Unsupported},
		{name: "an answer cut after some characters", model: with(func(m *fake.Model) { m.MaxChars, m.HeedsNumPredict = 20, true }),
			probe: exam.Streaming, verdict: exam.NeedsTuning, code: exitAttention, patch: "num_predict: -1", after: exam.OK},
		{name: "an answer cut whatever is asked", model: with(func(m *fake.Model) { m.MaxChars = 20 }),
			provider: map[string]any{"extra_body": map[string]any{"options": map[string]any{"num_predict": -1}}},
			probe:    exam.Streaming, verdict: exam.NeedsTuning, code: exitAttention, patch: "max_output_tokens: ", after: exam.Unsupported},
		{name: "a bad key", model: with(func(m *fake.Model) { m.Key = "the-good-key" }), provider: map[string]any{"key": "env:STALE_KEY"},
			probe: exam.Auth, verdict: exam.AuthFail, code: exitFailed, patch: "key: env:NEST_API_KEY", after: exam.OK},
		{name: "a key that is not named", model: with(func(m *fake.Model) { m.Key = "the-good-key" }), provider: map[string]any{"wire": "anthropic"},
			probe: exam.Auth, verdict: exam.AuthFail, code: exitFailed, patch: "key: env:NEST_API_KEY", after: exam.OK},
		{name: "a key that is not set", model: with(func(m *fake.Model) { m.Key = "the-good-key" }), provider: map[string]any{"key": "env:NOBODYS_KEY"},
			probe: exam.Auth, verdict: exam.AuthFail, code: exitFailed, patch: "key: env:NEST_API_KEY", after: exam.OK},
		{name: "a wrong model name", model: with(func(m *fake.Model) { m.Names = []string{"embedder", "squirrel:8b", "hedgehog:7b"} }),
			probe: exam.Model, verdict: exam.NeedsTuning, code: exitAttention, patch: "model: squirrel:8b", after: exam.OK},
		{name: "no prompts are kept", model: with(func(m *fake.Model) { m.Keeps = false }), provider: map[string]any{"class": "free"},
			probe: exam.Cache, verdict: exam.Unsupported, code: exitAttention, patch: "cache: false", after: exam.Unsupported},
		{name: "prompts are kept where they are marked", model: with(func(m *fake.Model) { m.Marked = true }), provider: map[string]any{"class": "free"},
			probe: exam.Cache, verdict: exam.NeedsTuning, code: exitAttention, patch: "cache: true", after: exam.OK},
		{name: "no thinking", model: with(func(m *fake.Model) { m.Reasons = false }),
			probe: exam.Thinking, verdict: exam.Unsupported, code: exitAttention, patch: "thinking: false", after: exam.Unsupported},
		{name: "no vision", model: with(func(m *fake.Model) { m.Sees = false }),
			probe: exam.Vision, verdict: exam.Unsupported, code: exitAttention, patch: "vision: false", after: exam.Unsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("STALE_KEY", "a-bad-key-of-yesterday")
			t.Setenv("NEST_API_KEY", "the-good-key")
			w := newWard(t, tt.model, tt.provider)
			before, code := w.doctor()
			f := finding(t, before, tt.probe)
			if f.Verdict != tt.verdict || !strings.Contains(f.Patch, tt.patch) || code != tt.code {
				t.Fatalf("exit %d; want %s with %q and exit %d, got %+v", code, tt.verdict, tt.patch, tt.code, f)
			}
			if !strings.Contains(before.Patch, tt.patch) {
				t.Errorf("the patch of the whole lacks %q:\n%s", tt.patch, before.Patch)
			}
			w.paste(before.Patch)
			after, code := w.doctor()
			f = finding(t, after, tt.probe)
			if f.Verdict != tt.after || f.Patch != "" || f.Verdict == exam.Unsupported && !f.Stated {
				t.Errorf("with the patch: want %s and no more patch, got %+v", tt.after, f)
			}
			if code != exitOK {
				t.Errorf("with the patch doctor exits with %d: %+v", code, after)
			}
			for _, secret := range []string{"a-bad-key-of-yesterday", "the-good-key"} {
				if text, _ := json.Marshal([]reportJSON{before, after}); bytes.Contains(text, []byte(secret)) {
					t.Errorf("a secret is told: %s", text)
				}
			}
		})
	}
}
