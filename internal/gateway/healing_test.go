package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
)

// A provider dies under the load of 32 clients and comes back: no client
// notices, its story is told once and in order, and it has its traffic again
// within the interval of its probes.
func TestABreakdownUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil,
			scripted{id: "local", wire: drey.WireChat, script: fake.Always(fake.Text("local says hello").TTFT(20 * time.Millisecond))},
			scripted{id: "second", wire: drey.WireAnthropic, script: hello("second says hello")})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var served atomic.Int32
		for i := range 32 {
			wg.Go(func() {
				w := bothWires[i%2]
				for n := 0; ctx.Err() == nil; n++ {
					a := l.ask(t.Context(), w, prompt(w, n%3 > 0), func(r *Request) { r.ID = drey.RequestID(fmt.Sprintf("req_%02d_%d", i, n)) })
					if text, complete := a.text(w); a.status != 200 || !complete || !strings.HasSuffix(text, "says hello") {
						t.Errorf("a client got %d %s", a.status, a.body)
					}
					served.Add(1)
					// Few timers: the race detector bears so many in one bubble.
					sleep(ctx, 4*time.Second+time.Duration(30*i)*time.Millisecond)
				}
			})
		}
		sleep(ctx, 5*time.Second)
		l.fakes["local"].Outage(fake.Refused())
		sleep(ctx, 20*time.Second)
		if v := l.view("local"); v.State != health.Excluded {
			t.Errorf("it is not out: %+v", v.View)
		}
		during := len(l.fakes["local"].Requests())
		sleep(ctx, 50*time.Second) // the probe after 30 s fails
		if n := len(l.fakes["local"].Requests()) - during; n != 1 {
			t.Errorf("%d requests at a provider that is out, want one probe", n)
		}
		l.fakes["local"].Restore()
		sleep(ctx, time.Minute)
		back := len(l.fakes["local"].Calls())
		sleep(ctx, 10*time.Second)
		if n := len(l.fakes["local"].Calls()); n == back || l.view("local").State != health.Healthy {
			t.Errorf("it is not back: %d calls, %+v", n-back, l.view("local").View)
		}
		stop()
		wg.Wait()
		story := []string{}
		for _, name := range l.emitted() {
			if name != "fallback-occurred" {
				story = append(story, name)
			}
		}
		if want := []string{
			"backend-health-changed", "backend-health-changed", "self-healing-exclude",
			"self-healing-recovery-probe",                                                   // after 30 s
			"self-healing-restore", "backend-health-changed", "self-healing-recovery-probe", // 60 s later
			"provider-ramp-ended",
		}; !slices.Equal(story, want) {
			t.Errorf("the story is %v\nwant %v", story, want)
		}
		if v := l.view("local"); v.InFlight != 0 || v.Queued != 0 {
			t.Errorf("left behind: %+v", v.View)
		}
	})
}

// A first byte is no success: who always dies in the middle is out at the sixth
// answer.
func TestAProviderThatAlwaysDiesMidway(t *testing.T) {
	for _, w := range bothWires {
		l := newLab(t, nil,
			scripted{id: "local", wire: w, script: fake.Always(fake.Text("it begins and then it dies").CutAfter(5, fake.RST))},
			scripted{id: "second", wire: w, script: hello("fine")})
		for range 6 {
			if a := l.ask(t.Context(), w, prompt(w, true)); a.errorType() == "" && !a.aborted {
				t.Errorf("a cut answer that looks whole: %s", a.body)
			}
		}
		a := l.ask(t.Context(), w, prompt(w, true))
		if text, complete := a.text(w); text != "fine" || !complete || l.view("local").State != health.Excluded {
			t.Errorf("%q %v %+v", text, complete, l.view("local").View)
		}
	}
}

func TestAUsersMistakesNeverExclude(t *testing.T) {
	l := newLab(t, nil, scripted{id: "local", wire: drey.WireChat, script: fake.Always(fake.ContentFilter())})
	for range 50 {
		if a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)); a.status != 400 {
			t.Fatalf("%d", a.status)
		}
	}
	if v := l.view("local"); v.State != health.Healthy || v.ConsecutiveFailures != 0 {
		t.Errorf("%+v", v.View)
	}
}

// Clients that go away, at any moment, are nobody's failure.
func TestCancelsNeverExclude(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, scripted{id: "local", wire: drey.WireChat, script: func(n int, _ fake.Request) fake.Behaviour {
			return []fake.Behaviour{
				fake.Silent(), fake.Text("a b c d").TTFT(time.Minute), fake.Text("a b c d").Gap(time.Minute), fake.Text("a b").Delay(time.Minute),
			}[n%4]
		}})
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for n := range 20 {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(time.Duration(1+n)*time.Second, cancel)
					l.ask(ctx, drey.WireChat, prompt(drey.WireChat, n%2 == 0))
					cancel()
				}
			})
		}
		wg.Wait()
		v := l.view("local")
		if v.State != health.Healthy || v.ConsecutiveFailures != 0 || len(v.Failures) != 0 || v.InFlight != 0 || v.Attempts != 64*20 {
			t.Errorf("%+v", v)
		}
	})
}

// All is out: one trial, the others wait for its verdict, and then hear the
// reasons in their own wire.
func TestNothingIsLeft(t *testing.T) {
	for _, good := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, nil, scripted{id: "local", wire: drey.WireChat, script: func(n int, _ fake.Request) fake.Behaviour {
				switch {
				case n <= 6:
					return fake.Reset()
				case good:
					return fake.Text("back").TTFT(3 * time.Second)
				default:
					return fake.ServerError().Delay(3 * time.Second)
				}
			}})
			for range 6 {
				l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false))
			}
			var wg sync.WaitGroup
			var ok, unavailable, failed atomic.Int32
			for i := range 8 {
				wg.Go(func() {
					w := bothWires[i%2]
					a := l.ask(t.Context(), w, prompt(w, false))
					switch a.status {
					case 200:
						ok.Add(1)
					case 503:
						unavailable.Add(1)
						if s := gjson.Get(a.body, "detail.skipped.0"); s.Get("provider").Str != "local" || s.Get("reason").Str != "excluded" || a.header.Get("Retry-After") == "" {
							t.Errorf("%v %s", a.header, a.body)
						}
						if want := map[drey.Wire]string{drey.WireAnthropic: "overloaded_error", drey.WireChat: "server_error"}[w]; a.errorType() != want {
							t.Errorf("%s reads %q", w, a.errorType())
						}
					default:
						failed.Add(1)
					}
				})
			}
			sleep(t.Context(), time.Second)
			if n := len(l.fakes["local"].Calls()); n != 7 {
				t.Errorf("%d trials at once", n-6)
			}
			wg.Wait()
			if good && ok.Load() != 8 || !good && (unavailable.Load() != 7 || failed.Load() != 1) {
				t.Errorf("good %v: %d ok, %d unavailable, %d failed", good, ok.Load(), unavailable.Load(), failed.Load())
			}
			if !slices.Contains(l.emitted(), "chain-panic-trial") || good == slices.Contains(l.emitted(), "chain-exhausted") {
				t.Errorf("%v", l.emitted())
			}
		})
	}
}

// A drain cuts what is left, and its caller is told in the stream.
func TestDrainTellsTheCaller(t *testing.T) {
	for _, w := range bothWires {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, nil, scripted{id: "local", wire: w, script: fake.Always(fake.Text("a b c d e f").Gap(50 * time.Second))},
				scripted{id: "second", wire: w, script: hello("never")})
			ended := make(chan answer)
			go func() { ended <- l.ask(t.Context(), w, prompt(w, true)) }()
			sleep(t.Context(), time.Minute)
			_, _, killed, err := l.keeper.Drain(t.Context(), "local", "", 10*time.Second)
			a := <-ended
			if _, complete := a.text(w); err != nil || killed != 1 || complete || a.errorType() == "" || !strings.Contains(a.body, "drained") {
				t.Errorf("killed %d, %v\n%s", killed, err, a.body)
			}
			if n := len(l.fakes["second"].Calls()); n != 0 {
				t.Error("it went on at another provider")
			}
		})
	}
}

// BenchmarkFailover is a refused connection to the answer of the next provider,
// over sockets. The metric is what the way to the second provider takes longer
// than the way to it alone.
func BenchmarkFailover(b *testing.B) {
	whole := `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, whole)
	}))
	defer srv.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	_ = closed.Close()
	s := Settings{DefaultProfile: "default", Keepalive: 10 * time.Second, Profiles: []Profile{{
		ID: "default", Chain: [][]drey.ProviderID{{"dead"}, {"alive"}}, Retry: route.DefaultPolicy(), Action: health.ActionWarn,
	}}}
	for id, url := range map[drey.ProviderID]string{"dead": "http://" + closed.Addr().String() + "/v1", "alive": srv.URL + "/v1"} {
		s.Providers = append(s.Providers, Provider{
			Config:  upstream.Config{ID: id, Wire: drey.WireChat, URL: url, Model: "m"},
			Connect: 3 * time.Second, Stall: time.Minute, Total: time.Hour,
		})
	}
	rec := &lastRecord{}
	g, err := New(Config{Recorder: rec, Healer: keep(b, nobody{}, s), Redact: func(s string) string { return s }, InFlight: func(drey.Wire, int) {}, Random: func() float64 { return 0.5 }}, s)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	var lost []time.Duration
	for b.Loop() {
		g.Generate(b.Context(), httptest.NewRecorder(), &Request{ID: "req_x", At: time.Now(), Wire: drey.WireChat, Body: []byte(prompt(drey.WireChat, false)), Header: http.Header{}})
		if rec.r.Provider != "alive" {
			b.Fatalf("%+v", rec.r)
		}
		lost = append(lost, rec.r.Total-rec.r.Attempts[1].Took)
	}
	slices.Sort(lost)
	b.ReportMetric(float64(lost[len(lost)*99/100].Microseconds()), "p99-µs-to-next")
}

type lastRecord struct{ r *Record }

func (l *lastRecord) Record(r *Record) { l.r = r }
func (l *lastRecord) Emit(drey.Event)  {}
