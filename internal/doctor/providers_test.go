package doctor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/exam"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/upstream"
)

// able is a model with which nothing is wrong.
var able = fake.Model{Reasons: true, Sees: true, Keeps: true}

// patient is a provider that a script plays inside the process.
func patient(t *testing.T, name drey.ProviderID, o fake.Options, change func(*config.Provider)) (Patient, *fake.Upstream) {
	t.Helper()
	if o.Models == nil {
		o.Models = []string{"squirrel"}
	}
	up := fake.New(o)
	t.Cleanup(up.Close)
	p := config.NewProvider(name, "http://"+string(name)+".local/v1", config.WireOpenAI)
	p.Model = "squirrel"
	if change != nil {
		change(&p)
	}
	return Patient{
		Subject: exam.Subject{Config: &p},
		Way:     upstream.Config{ID: name, Wire: p.DreyWire(), Price: p.Class, URL: p.URL, Model: p.Model, Transport: up},
	}, up
}

// find returns what a probe found.
func find(t *testing.T, r Report, probe string) exam.Finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f exam.Finding) bool { return f.Probe == probe })
	if i < 0 {
		t.Fatalf("no finding of %s in %+v", probe, r.Findings)
	}
	return r.Findings[i]
}

func examined(t *testing.T, r Round) []Report {
	t.Helper()
	reports, err := Visit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

// TestTime: what only the time of an answer tells.
func TestTime(t *testing.T) {
	held := func(b fake.Behaviour) fake.Behaviour { return b.TTFT(2 * time.Second) }
	steady := func(b fake.Behaviour) fake.Behaviour { return b.TTFT(2 * time.Second).Gap(30 * time.Millisecond) }
	tests := []struct {
		name    string
		model   fake.Model
		change  func(*config.Provider)
		verdict exam.Verdict
		patch   string
	}{
		{"frames that come apart are a stream", fake.Model{Stream: steady}, nil, exam.OK, ""},
		{"frames that come at once are none", fake.Model{Stream: held}, nil, exam.NeedsTuning, "first_token: \"15m\""},
		{"unless there is time for them", fake.Model{Stream: held}, func(p *config.Provider) { p.Timeouts.FirstToken = config.Say(drey.Duration(15 * time.Minute)) }, exam.Unsupported, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, up := patient(t, "nest", fake.Options{Script: tt.model.Script()}, tt.change)
				defer up.Close()
				f := find(t, examined(t, Round{Patients: []Patient{p}})[0], exam.Streaming)
				if f.Verdict != tt.verdict || !strings.Contains(f.Patch.YAML("nest"), tt.patch) {
					t.Errorf("got %+v", f)
				}
			})
		})
	}
}

// TestCacheByTime: a server that reads a prompt quicker the second time keeps
// it, whatever it tells.
func TestCacheByTime(t *testing.T) {
	for _, tt := range []struct {
		name    string
		again   time.Duration
		verdict exam.Verdict
	}{
		{"quicker", 400 * time.Millisecond, exam.OK},
		{"as slow", 3 * time.Second, exam.Unsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play := able
				play.Keeps = false
				script := play.Script()
				asked := 0
				p, up := patient(t, "nest", fake.Options{Script: func(n int, r fake.Request) fake.Behaviour {
					b := script(n, r)
					if strings.Contains(r.Text, "How many kinds of trees") {
						if asked++; asked == 1 {
							return b.TTFT(3 * time.Second)
						}
						return b.TTFT(tt.again)
					}
					return b
				}}, nil)
				defer up.Close()
				if f := find(t, examined(t, Round{Patients: []Patient{p}})[0], exam.Cache); f.Verdict != tt.verdict {
					t.Errorf("got %+v", f)
				}
			})
		})
	}
}

// TestSilenceEnds: a provider that takes every question and answers none does
// not hold anybody for ever.
func TestSilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, up := patient(t, "nest", fake.Options{Script: fake.Always(fake.Silent())}, nil)
		defer up.Close()
		start := time.Now()
		f := find(t, examined(t, Round{Patients: []Patient{p}})[0], exam.Reachability)
		if f.Verdict != exam.Unreachable || time.Since(start) > 5*time.Minute {
			t.Errorf("after %s: %+v", time.Since(start), f)
		}
	})
}

// TestStallEnds: nor does one that begins each answer and does not end it.
func TestStallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := able
		m.Stream = func(b fake.Behaviour) fake.Behaviour { return b.StallAfter(3) }
		p, up := patient(t, "nest", fake.Options{Script: m.Script()}, nil)
		defer up.Close()
		start := time.Now()
		rep := examined(t, Round{Patients: []Patient{p}})[0]
		if f := find(t, rep, exam.Streaming); f.Verdict != exam.NeedsTuning || time.Since(start) > 10*time.Minute {
			t.Errorf("after %s: %+v", time.Since(start), f)
		}
	})
}

// TestCancelEnds: whoever interrupts it does not wait for the provider.
func TestCancelEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, up := patient(t, "silent", fake.Options{Script: fake.Always(fake.Silent())}, nil)
		defer up.Close()
		quick, up2 := patient(t, "quick", fake.Options{Script: able.Script()}, nil)
		defer up2.Close()
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		time.AfterFunc(10*time.Second, cancel)
		var told []drey.ProviderID
		reports, err := Visit(ctx, Round{Patients: []Patient{quick, silent}, Tell: func(r Report) { told = append(told, r.Provider) }})
		if !errors.Is(err, context.Canceled) || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if len(reports) != 1 || !slices.Equal(told, []drey.ProviderID{"quick"}) {
			t.Errorf("reports %v, told %v", reports, told)
		}
	})
}

// TestOrder: providers of different hosts are asked beside each other, those of
// one host one after the other, and all are told in the order of the file.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var patients []Patient
		slow := func(d time.Duration) fake.Options {
			script := able.Script()
			return fake.Options{Script: func(n int, r fake.Request) fake.Behaviour { return script(n, r).Delay(d) }}
		}
		for i, d := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second} {
			p, up := patient(t, drey.ProviderID([]string{"a", "b", "c"}[i]), slow(d), nil)
			defer up.Close()
			patients = append(patients, p)
		}
		start := time.Now()
		var told []drey.ProviderID
		examined(t, Round{Patients: patients, Tell: func(r Report) { told = append(told, r.Provider) }})
		side := time.Since(start)
		if !slices.Equal(told, []drey.ProviderID{"a", "b", "c"}) {
			t.Errorf("told in the order %v", told)
		}
		questions := 11
		if want := time.Duration(questions) * 3 * time.Second; side != want {
			t.Errorf("side by side it took %s, want that of the slowest, %s", side, want)
		}
	})
	near := func(name drey.ProviderID, url string) Patient {
		p := config.NewProvider(name, url, config.WireOpenAI)
		return Patient{Subject: exam.Subject{Config: &p}, Way: upstream.Config{URL: url}}
	}
	got := byHost([]Patient{near("a", "http://127.0.0.1:1/v1"), near("b", "http://far.example/v1"), near("c", "http://127.0.0.1:2/v1")})
	if len(got) != 2 || !slices.Equal(got[0], []int{0, 2}) {
		t.Errorf("queues %v", got)
	}
}

// TestFarFaults: what only a server on the way can do wrong.
func TestFarFaults(t *testing.T) {
	script := able.Script()
	here := func(base string, else_ fake.Behaviour) fake.Script {
		return func(n int, r fake.Request) fake.Behaviour {
			if strings.HasPrefix(r.Path, base) {
				return script(n, r)
			}
			return else_
		}
	}
	tests := []struct {
		name    string
		script  fake.Script
		change  func(*config.Provider)
		probe   string
		verdict exam.Verdict
		patch   string
	}{
		{"a page for people", fake.Always(fake.HTML()), nil, exam.Reachability, exam.Unreachable, ""},
		{"a forgotten /v1", here("/llm/v1/", fake.NotFound()), func(p *config.Provider) { p.URL = "http://nest.local/llm" }, exam.Reachability, exam.NeedsTuning, "url: http://nest.local/llm/v1"},
		{"the other wire", func(n int, r fake.Request) fake.Behaviour {
			if r.Kind == fake.Messages {
				return script(n, r)
			}
			return fake.NotFound()
		}, nil, exam.Reachability, exam.NeedsTuning, "wire: anthropic"},
		{"out of memory", fake.Always(fake.OutOfMemory()), nil, exam.Reachability, exam.Unreachable, ""},
		{"overloaded", fake.Always(fake.Overloaded()), nil, exam.Model, exam.Skip, ""},
		{"no credit", fake.Always(fake.Quota()), nil, exam.Auth, exam.AuthFail, ""},
		{"forbidden", fake.Always(fake.Forbidden()), nil, exam.Auth, exam.AuthFail, "key: env:NEST_API_KEY"},
		{"an error within a stream", fake.Model{Stream: func(b fake.Behaviour) fake.Behaviour { return b.ErrorAfter(2, "api_error", "boom") }}.Script(), nil, exam.Streaming, exam.NeedsTuning, "drop_fields: [stream_options, stream]"},
		{"a broken frame", fake.Model{Stream: func(b fake.Behaviour) fake.Behaviour { return b.MalformedAfter(2) }}.Script(), nil, exam.Streaming, exam.NeedsTuning, "drop_fields: [stream_options, stream]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, up := patient(t, "nest", fake.Options{Script: tt.script}, tt.change)
				defer up.Close()
				f := find(t, examined(t, Round{Patients: []Patient{p}})[0], tt.probe)
				if f.Verdict != tt.verdict || !strings.Contains(f.Patch.YAML("nest"), tt.patch) || tt.patch == "" && f.Patch != nil {
					t.Errorf("got %+v", f)
				}
			})
		})
	}
}

// TestHeadersGoAlong: what the configuration adds to every request is added
// here too, and the credential is.
func TestHeadersGoAlong(t *testing.T) {
	p, up := patient(t, "nest", fake.Options{Script: able.Script()}, nil)
	p.Way.Key, p.Way.Headers = "the-key", map[string]string{"X-Team": "oak"}
	examined(t, Round{Patients: []Patient{p}})
	for _, r := range up.Calls() {
		if r.Header.Get("Authorization") != "Bearer the-key" || r.Header.Get("X-Team") != "oak" {
			t.Errorf("%s went out with %v", r.Path, http.Header(r.Header))
		}
	}
}

// TestProgress names each provider and probe that is asked.
func TestProgress(t *testing.T) {
	p, _ := patient(t, "nest", fake.Options{Script: able.Script()}, nil)
	var heard []string
	examined(t, Round{Patients: []Patient{p}, Progress: func(id drey.ProviderID, probe string) { heard = append(heard, string(id)+" "+probe) }})
	want := []string{"nest reachability", "nest model", "nest context", "nest tools", "nest streaming", "nest reasoning", "nest cache", "nest thinking", "nest vision"}
	if got := slices.Compact(heard); !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
}

// TestWorstOfAReport: what a report comes to.
func TestWorstOfAReport(t *testing.T) {
	for _, tt := range []struct {
		found []exam.Finding
		want  Verdict
	}{
		{nil, Pass},
		{[]exam.Finding{{Verdict: exam.OK}, {Verdict: exam.Skip}, {Verdict: exam.Unsupported, Stated: true}}, Pass},
		{[]exam.Finding{{Verdict: exam.Unsupported}, {Verdict: exam.OK}}, Warn},
		{[]exam.Finding{{Verdict: exam.NeedsTuning}, {Verdict: exam.OK}}, Warn},
		{[]exam.Finding{{Verdict: exam.NeedsTuning}, {Verdict: exam.AuthFail}}, Fail},
		{[]exam.Finding{{Verdict: exam.Unreachable}}, Fail},
	} {
		if got := (Report{Findings: tt.found}).Worst(); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.found, got, tt.want)
		}
	}
}
