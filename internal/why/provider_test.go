package why

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

var update = flag.Bool("update", false, "rewrite testdata")

// stage plays a provider's life with the real machine, so that a story cannot
// drift away from the events that are really written.
type stage struct {
	t        *testing.T
	now      time.Time
	p        health.Policy
	m        health.Machine
	seq      drey.Seq
	n        uint64
	events   []drey.Event
	failures []Failure
	looping  bool // its process is in a crash loop now
}

func newStage(t *testing.T) *stage {
	return &stage{t: t, now: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), p: health.DefaultPolicy("local", "main")}
}

// step hands the machine an event and journals what it emits. It returns the
// other effects.
func (s *stage) step(ev health.Event) []health.Effect {
	var rest []health.Effect
	var effects []health.Effect
	s.m, effects = health.Step(s.m, ev, s.p)
	for _, e := range effects {
		if emit, ok := e.(health.Emit); ok {
			s.journal(emit.Event)
		} else {
			rest = append(rest, e)
		}
	}
	return rest
}

func (s *stage) journal(ev drey.Event) {
	s.seq++
	ev.Seq = s.seq
	if ev.At.IsZero() {
		ev.At = s.now
	}
	s.events = append(s.events, ev)
}

// process journals an event of the provider's process.
func (s *stage) process(name string, fields ...drey.Field) {
	s.journal(drey.Event{Name: name, Machine: "process", ID: "local", Fields: append([]drey.Field{drey.F("provider", "local")}, fields...)})
}

func (s *stage) after(d time.Duration) *stage { s.now = s.now.Add(d); return s }

func (s *stage) meta(request drey.RequestID) health.Meta {
	return health.Meta{At: s.now, RequestID: request, Profile: "main"}
}

func (s *stage) request(n uint64) drey.RequestID { return drey.RequestID(fmt.Sprintf("req_%024d", n)) }

// begin starts an attempt; ask is how it asked, or nil.
func (s *stage) begin(ask *health.Ask) health.Token {
	s.n++
	tok := health.Token{Provider: "local", Epoch: s.m.Epoch, N: s.n}
	if ask != nil {
		s.step(health.AttemptAsked{Meta: s.meta(s.request(s.n)), Token: tok, For: *ask})
	} else {
		s.step(health.AttemptStarted{Meta: s.meta(s.request(s.n)), Token: tok})
	}
	return tok
}

func (s *stage) end(tok health.Token, class drey.Class, status int, text string) {
	f := Failure{At: s.now, RequestID: s.request(tok.N), Class: class, Status: status, Text: text}
	s.failures = append(s.failures, f)
	s.step(health.AttemptEnded{Meta: s.meta(s.request(tok.N)), Token: tok, Counted: f.counts(), Class: class, Error: text})
}

func (s *stage) fail(class drey.Class, status int, text string) {
	tok := s.begin(nil)
	s.after(time.Second).end(tok, class, status, text)
}

func (s *stage) refuse(times int) {
	for range times {
		s.fail(drey.Transport, 0, "connection refused")
	}
}

func (s *stage) ok(ask *health.Ask) {
	tok := s.begin(ask)
	s.after(500 * time.Millisecond)
	s.step(health.AttemptEnded{Meta: s.meta(s.request(tok.N)), Token: tok, OK: true, Latency: 500 * time.Millisecond})
}

// panic gives the provider a request because nothing else is left.
func (s *stage) panic(end func(health.Token)) {
	ask := health.AskPanic
	tok := s.begin(&ask)
	s.journal(drey.Event{Name: "chain-panic-trial", Machine: "profile", ID: "main", RequestID: s.request(tok.N),
		Fields: []drey.Field{drey.F("profile", "main"), drey.F("provider", "local")}})
	s.after(300 * time.Millisecond)
	end(tok)
}

// tick goes to when the machine wants it.
func (s *stage) tick() []health.Effect {
	s.t.Helper()
	for _, at := range []time.Time{s.m.NextProbeAt, s.m.Deadline, s.m.RampUntil, s.m.Until, s.m.ParkedUntil} {
		if at.After(s.now) {
			s.now = at
			return s.step(health.Tick{Meta: s.meta("")})
		}
	}
	s.t.Fatal("the machine waits for nothing")
	return nil
}

// probe lets a probe become due and end.
func (s *stage) probe(ok bool, text string) {
	s.t.Helper()
	for _, e := range s.tick() {
		if start, is := e.(health.StartProbe); is {
			s.after(40 * time.Millisecond)
			s.step(health.ProbeEnded{Meta: s.meta(""), N: start.N, OK: ok, Class: drey.Transport, Depth: start.Depth, Latency: 40 * time.Millisecond, Error: text})
			return
		}
	}
	s.t.Fatal("no probe was started")
}

// standing is the view that the daemon would give.
func (s *stage) standing() Standing {
	v := s.m.View()
	process := ""
	if s.looping {
		process = health.CrashLoop.String()
	}
	return Standing{
		Process: process,
		State:   v.State.String(), Phase: v.Phase.String(), By: v.By.String(), ConsecutiveFailures: v.ConsecutiveFailures,
		InFlight: v.InFlight, Since: v.ExcludedAt, Until: v.Until, NextProbeAt: v.NextProbeAt, Trial: v.Trial == health.TrialOpen,
		RampLimit: v.RampLimit, ParkedUntil: v.ParkedUntil, ParkedReason: v.ParkedReason.String(),
	}
}

func (s *stage) facts() ProviderFacts {
	return ProviderFacts{ID: "local", Now: s.now, Standing: s.standing(), Events: s.events, Failures: s.failures}
}

// stories are lives of a provider, each with its transcript in testdata.
var stories = map[string]func(*stage){
	"well": func(s *stage) { s.ok(nil) },
	"a-few-failures": func(s *stage) {
		s.refuse(2)
	},
	"degraded-and-well": func(s *stage) {
		s.refuse(3)
		s.after(time.Second).ok(nil)
	},
	"breakdown": func(s *stage) { // as the contract tells it
		s.p.Command = "systemctl restart ollama"
		s.refuse(6)
		s.after(1200 * time.Millisecond)
		s.step(health.RestartEnded{Meta: s.meta(""), N: 1, OK: true, Duration: 1200 * time.Millisecond})
		s.probe(false, "connection refused")
		s.probe(false, "connection refused")
		s.probe(true, "")
		for range 3 {
			s.ok(nil)
		}
	},
	"mixed-classes": func(s *stage) {
		s.fail(drey.Server, 500, "CUDA error: an illegal memory access was encountered.")
		s.fail(drey.Caller, 400, "your own fault")
		s.fail(drey.Silence, 0, "no first token within 2m0s")
		s.refuse(3)
		s.fail(drey.Server, 502, "bad gateway")
		s.after(12 * time.Second)
	},
	"restart-fails": func(s *stage) {
		s.p.Command = "docker restart ollama"
		s.refuse(6)
		s.after(400 * time.Millisecond)
		s.step(health.RestartEnded{Meta: s.meta(""), N: 1, Error: "Cannot connect to the Docker daemon", Duration: 400 * time.Millisecond})
		s.after(10 * time.Second)
	},
	"fooled-probe": func(s *stage) {
		s.refuse(6)
		s.probe(true, "")
		s.fail(drey.BadOutput, 200, "the answer was cut")
		s.probe(true, "")
		s.ok(nil)
	},
	"paid-trial": func(s *stage) {
		s.p.NoProbe = true
		s.refuse(6)
		s.tick()
		trial := health.AskTrial
		tok := s.begin(&trial)
		s.after(300*time.Millisecond).end(tok, drey.Server, 503, "overloaded")
		s.tick()
		s.after(20 * time.Second).ok(&trial)
	},
	"waits-for-a-trial": func(s *stage) {
		s.p.NoProbe = true
		s.refuse(6)
		s.tick()
	},
	"operator": func(s *stage) {
		s.step(health.OperatorExclude{Meta: s.meta(""), Reason: "new driver"})
		s.after(5 * time.Minute)
		s.step(health.OperatorRestore{Meta: s.meta(""), Reason: "driver is in"})
		s.after(time.Hour)
		s.step(health.OperatorExclude{Meta: s.meta(""), For: 10 * time.Minute})
		s.after(3 * time.Minute)
	},
	"operator-keeps-it-out": func(s *stage) { // what was out by its health already
		s.refuse(6)
		s.after(time.Second)
		s.step(health.OperatorExclude{Meta: s.meta(""), Reason: "it burns"})
	},
	"operator-for-is-over": func(s *stage) {
		s.p.Ramp = 0
		s.step(health.OperatorExclude{Meta: s.meta(""), For: 10 * time.Minute})
		s.tick()
	},
	"drain": func(s *stage) {
		s.begin(nil)
		s.begin(nil)
		s.step(health.OperatorDrain{Meta: s.meta(""), Timeout: time.Minute, Reason: "moving house"})
		s.after(10*time.Second).end(health.Token{Provider: "local", N: 1}, drey.Cancel, 0, "")
		s.tick()
		s.end(health.Token{Provider: "local", N: 2}, drey.Cancel, 0, "")
	},
	"operator-restart": func(s *stage) {
		s.p.Command = "systemctl restart ollama"
		s.step(health.OperatorRestart{Meta: s.meta(""), Reason: "it feels slow"})
		s.after(3 * time.Second)
		s.step(health.RestartEnded{Meta: s.meta(""), N: 1, OK: true, Duration: 3 * time.Second})
		s.probe(true, "")
	},
	"operator-probe": func(s *stage) {
		s.refuse(6)
		s.after(4 * time.Second)
		s.step(health.OperatorProbe{Meta: s.meta(""), OK: true, Latency: 35 * time.Millisecond})
	},
	"process-exits": func(s *stage) {
		s.p.Command, s.p.Managed = "llama-server --port 8080", true
		s.step(health.Loaded{Meta: s.meta("")})
		s.process("process-started", drey.F("pid", 4242), drey.F("port", 8080))
		s.after(3*time.Second).process("process-ready", drey.F("pid", 4242), drey.F("load_ms", 3000))
		s.step(health.ProcessReady{Meta: s.meta("")})
		s.after(time.Minute).process("process-exited", drey.F("pid", 4242), drey.F("exit_code", 0), drey.F("signal", "SIGSEGV"), drey.F("oom", true), drey.F("uptime_s", 57.0))
		s.step(health.ProcessExited{Meta: s.meta("")})
		s.after(time.Second).process("process-started", drey.F("pid", 4243), drey.F("port", 8080))
		s.after(3*time.Second).process("process-ready", drey.F("pid", 4243), drey.F("load_ms", 3000))
		s.step(health.ProcessReady{Meta: s.meta("")})
		for _, e := range s.step(health.Tick{Meta: s.meta("")}) {
			if start, ok := e.(health.StartProbe); ok {
				s.step(health.ProbeEnded{Meta: s.meta(""), N: start.N, OK: true, Latency: 90 * time.Millisecond})
			}
		}
	},
	"crash-loop": func(s *stage) { crashLoops(s) },
	"demoted": func(s *stage) {
		s.p.Excluders, s.p.Demote = nil, true
		s.refuse(6)
		s.probe(false, "connection refused")
		s.probe(true, "")
	},
	"flapping": func(s *stage) {
		for range 5 {
			s.ok(nil)
			s.refuse(1)
		}
		for range 3 {
			s.ok(nil)
			s.refuse(2)
		}
	},
	"parked": func(s *stage) {
		tok := s.begin(nil)
		s.step(health.AttemptEnded{Meta: s.meta(s.request(tok.N)), Token: tok, Class: drey.RateLimit, Park: health.ParkRateLimit, RetryAfter: 20 * time.Second})
		s.tick()
		tok = s.begin(nil)
		s.step(health.AttemptEnded{Meta: s.meta(s.request(tok.N)), Token: tok, Class: drey.Auth, Park: health.ParkAuth})
		s.after(5 * time.Second)
	},
	"policy": func(s *stage) {
		s.refuse(6)
		s.after(time.Second)
		s.p.Excluders = nil
		s.step(health.PolicyChanged{Meta: s.meta("")})
	},
	"another-profile": func(s *stage) {
		s.p.Ramp = 0
		s.refuse(6)
		s.after(time.Second).ok(nil)
	},
	"restarts-capped": func(s *stage) {
		s.p.Command, s.p.RestartSettle, s.p.Ramp = "restart-it", 0, 0
		for i := range uint64(6) {
			s.refuse(6)
			s.step(health.RestartEnded{Meta: s.meta(""), N: i + 1, OK: true, Duration: time.Second})
			s.probe(true, "")
		}
	},
	"ratio": func(s *stage) { // never six in a row, and half of them
		for range 5 {
			s.ok(nil)
			s.refuse(1)
		}
		s.after(4 * time.Second)
	},
	"consecutive-and-waiting": func(s *stage) {
		s.refuse(6)
		s.after(10 * time.Second)
	},
	"restart-under-way": func(s *stage) {
		s.p.Command = "systemctl restart ollama"
		s.refuse(6)
		s.after(4 * time.Second)
	},
	"drains-before-restart": func(s *stage) {
		s.p.Command = "systemctl restart ollama"
		s.begin(nil)
		s.begin(nil)
		s.refuse(6)
		s.after(4 * time.Second)
	},
	"in-a-crash-loop": func(s *stage) {
		crashLoops(s)
		s.looping = true
	},
	"panic-trial": func(s *stage) { // nothing else is left: the first fails, the second brings it back
		s.refuse(6)
		s.panic(func(tok health.Token) { s.end(tok, drey.Transport, 0, "connection refused") })
		s.after(8 * time.Second).panic(func(tok health.Token) {
			s.step(health.AttemptEnded{Meta: s.meta(s.request(tok.N)), Token: tok, OK: true, Latency: 300 * time.Millisecond})
		})
	},
	"unknown-events": func(s *stage) {
		s.journal(drey.Event{Name: "provider-blessed", Machine: "provider", ID: "local", Fields: []drey.Field{drey.F("provider", "local"), drey.F("by", "a  newer\ndaemon"), drey.F("n", 3)}})
		s.journal(drey.Event{Name: "self-healing-exclude", Machine: "provider", ID: "other"})
		s.journal(health.DroppedEvent(s.now, "local", "broken"))
	},
}

// crashLoops lets a process end until it is given up.
func crashLoops(s *stage) {
	s.p.Command, s.p.Managed = "llama-server", true
	s.process("process-exited", drey.F("pid", 0), drey.F("exit_code", -1), drey.F("signal", ""), drey.F("oom", false), drey.F("uptime_s", 0.0))
	s.step(health.ProcessExited{Meta: s.meta("")})
	s.after(31*time.Second).process("process-crash-loop", drey.F("pid", 0), drey.F("exits", 5))
	s.step(health.ProcessLooped{Meta: s.meta(""), Error: "crash loop"})
	s.process("process-unloaded", drey.F("pid", 1), drey.F("idle_s", 900.0), drey.F("reason", "idle"))
}

func TestProviderStories(t *testing.T) {
	for name, play := range stories {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			play(s)
			got := Provider(s.facts()).Text(nil)
			golden(t, "provider-"+name+".txt", got)

			// As read back from the journal it is the same story.
			facts := s.facts()
			facts.Events = reread(t, facts.Events)
			if d := cmp.Diff(got, Provider(facts).Text(nil)); d != "" {
				t.Errorf("live and from the journal (-live +journal):\n%s", d)
			}
			// Without telemetry it has less to say and stands all the same.
			facts.Failures = nil
			if steps := Provider(facts).Steps; len(steps) != len(Provider(s.facts()).Steps) {
				t.Errorf("without telemetry the story has %d steps", len(steps))
			}
		})
	}
}

func reread(t *testing.T, events []drey.Event) []drey.Event {
	t.Helper()
	out := make([]drey.Event, len(events))
	for i, ev := range events {
		b, err := json.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		writeFile(t, path, []byte(got))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got); -update rewrites it:\n%s", name, d)
	}
}
