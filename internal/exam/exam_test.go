package exam

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// TestAsks holds every question as it goes out, on both wires.
func TestAsks(t *testing.T) {
	for _, w := range []string{config.WireOpenAI, config.WireAnthropic} {
		t.Run(w, func(t *testing.T) {
			s := subject(func(p *config.Provider) {
				p.Wire = w
				p.ExtraBody = []config.BodyField{{Name: "options", Value: config.JSON(`{"temperature":0}`)}}
				p.AppendSystem = "Be brief."
			})
			// What has the most asked: a prompt that is cut, a stream that breaks, no
			// cache.
			_, asks := perform(t, s, listed, func(probe string, n int, a Ask) Answer {
				switch {
				case probe == Context && n == 0:
					return says("What word?")
				case probe == Context && n == 1:
					return says("KINGFISHER")
				case probe == Context:
					return says("What word?")
				case probe == Streaming && n < 2:
					return breaks(route.CutAnswer, "the stream ended before the answer did")
				}
				return good(probe, n, a)
			})
			var b bytes.Buffer
			for _, a := range asks {
				body, err := a.Body()
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "POST %s%s (%d bytes, within %s)\n%s\n\n", a.Base, a.Path(), len(body), a.Limit, indent(t, short(body)))
			}
			golden(t, "asks."+w+".golden", b.Bytes())
		})
	}
}

// judgement is one row of the table of findings.
type judgement struct {
	name    string
	change  func(*config.Provider)
	subject func(*Subject)
	listing *Listing
	by      answers
}

func always(a Answer) func(int, Ask) Answer { return func(int, Ask) Answer { return a } }

// inOrder answers the questions of a probe one after the other.
func inOrder(as ...Answer) func(int, Ask) Answer {
	return func(n int, _ Ask) Answer { return as[min(n, len(as)-1)] }
}

func judgements() []judgement {
	counted := func(change func(*Answer)) Answer {
		a := good(Streaming, 0, Ask{})
		change(&a)
		return a
	}
	cut := breaks(route.CutAnswer, "the stream ended before the answer did")
	noUsage := counted(func(a *Answer) { a.Response.Usage = wire.Usage{} })
	timed := func(first, second time.Duration) func(int, Ask) Answer {
		return func(n int, _ Ask) Answer {
			return Answer{Streamed: true, First: []time.Duration{first, second}[n%2], Response: says("1").Response}
		}
	}
	local := func(p *config.Provider) {}
	options := func(s string) func(*config.Provider) {
		return func(p *config.Provider) { p.ExtraBody = []config.BodyField{{Name: "options", Value: config.JSON(s)}} }
	}
	return []judgement{
		{name: "nothing is wrong", by: good},
		{name: "nothing is wrong, over the other wire", change: func(p *config.Provider) { p.Wire = config.WireAnthropic }, by: good},

		{name: "nobody listens", listing: &Listing{Failure: breaks(route.Refused, "connection refused").Failure}, by: good},
		{name: "the process is not there", change: func(p *config.Provider) { p.Process = &config.Process{} }, listing: &Listing{Failure: breaks(route.Refused, "connection refused").Failure}, by: good},
		{name: "the name is unknown", listing: &Listing{Failure: breaks(route.NameLookup, "no such host").Failure}, by: good},
		{name: "https where there is http", change: func(p *config.Provider) { p.URL = "https://nest.example/v1" },
			listing: &Listing{Failure: breaks(route.Handshake, "http: server gave HTTP response to HTTPS client").Failure}, by: good},
		{name: "a certificate that nobody knows", listing: &Listing{Failure: breaks(route.Handshake, "x509: certificate signed by unknown authority").Failure}, by: good},
		{name: "silence", by: but(Model, always(breaks(route.FirstTokenTimeout, "no content within 4m")))},
		{name: "the server fails", by: but(Model, always(fails(500, `{"error":{"message":"boom"}}`)))},
		{name: "too many requests", by: but(Model, always(fails(429, `{"error":{"message":"slow down"}}`)))},
		{name: "the model is loading", by: but(Model, always(fails(503, `{"error":{"message":"Loading model"}}`)))},
		{name: "a path too short", listing: &Listing{Failure: fails(404, "404 page not found").Failure}, change: func(p *config.Provider) { p.URL = "http://127.0.0.1:8080/llm" },
			by: but(Model, func(_ int, a Ask) Answer {
				if a.Base == "http://127.0.0.1:8080/llm/v1" {
					return says("hello")
				}
				return fails(404, "404 page not found")
			})},
		{name: "the vendor's usual path", listing: &Listing{Failure: fails(404, "").Failure}, subject: func(s *Subject) { s.URLHint = "https://api.nest.example/openai/v1" },
			by: but(Model, inOrder(fails(404, "404 page not found"), fails(401, `{"error":{"message":"no key"}}`)))},
		{name: "the other wire", by: but(Model, func(_ int, a Ask) Answer {
			if a.Wire == drey.WireAnthropic {
				return says("hello")
			}
			return fails(404, "404 page not found")
		})},
		{name: "a page for people", listing: &Listing{}, by: but(Model, always(breaks(route.MalformedAnswer, "a page")))},

		{name: "no credential is named", by: but(Model, always(fails(401, `{"error":{"message":"key?"}}`)))},
		{name: "a credential is refused", change: func(p *config.Provider) { p.Key.Secret.Env = "OLD_KEY" }, subject: func(s *Subject) { s.KeyHint = "env:OPENAI_API_KEY" },
			by: but(Model, always(fails(401, `{"error":{"message":"key?"}}`)))},
		{name: "no credit", by: but(Model, always(fails(402, `{"error":{"message":"pay first"}}`)))},
		{name: "the name of the model is wrong", change: func(p *config.Provider) { p.Model = "squirel" }, listing: &Listing{Models: []string{"hedgehog", "squirrel", "squirrel-large"}},
			by: but(Model, always(fails(404, `{"error":{"message":"model 'squirel' not found"}}`)))},
		{name: "the name of the model is wrong, by a 400", listing: &Listing{Models: []string{"hedgehog"}},
			by: but(Model, always(fails(400, `{"error":{"message":"The model 'squirrel' does not exist"}}`)))},
		{name: "the model is missing and nobody lists others", listing: &Listing{}, by: but(Model, always(fails(404, `{"error":{"message":"model 'squirrel' not found"}}`)))},
		{name: "no model is named", change: func(p *config.Provider) { p.Model = "" }, listing: &Listing{Models: []string{"nomic-embed-text", "squirrel"}}, by: good},
		{name: "the list does not have it, and it answers", listing: &Listing{Models: []string{"default"}}, by: good},
		{name: "another name for max_tokens", by: but(Model, always(fails(400, `{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}`)))},
		{name: "an extra field is refused", change: options(`{}`), by: but(Model, always(fails(400, `{"error":{"message":"Unrecognized request argument: options"}}`)))},

		{name: "context: cut, and num_ctx helps", change: local, by: but(Context, inOrder(says("?"), says("kingfisher."), says("KINGFISHER")))},
		{name: "context: cut, and num_ctx does not help", change: local, by: but(Context, inOrder(says("?"), says("kingfisher."), says("?")))},
		{name: "context: cut by a remote server", change: func(p *config.Provider) { p.Class = drey.Free }, by: but(Context, inOrder(says("?"), says("KINGFISHER")))},
		{name: "context: it tells how little it has read", change: func(p *config.Provider) { p.Class = drey.Free }, by: but(Context, func(int, Ask) Answer {
			a := says("?")
			a.Response.Usage.Input = 2047
			return a
		})},
		{name: "context: too weak to tell", by: but(Context, func(int, Ask) Answer {
			a := says("I am a squirrel.")
			a.Response.Usage = wire.Usage{}
			return a
		})},
		{name: "context: refused, with a number", by: but(Context, always(fails(400, `{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5800.","code":"context_length_exceeded"}}`)))},
		{name: "context: refused by llama.cpp", listing: &Listing{Models: []string{"squirrel"}, Listed: true, ContextTokens: 4096}, by: but(Context, always(fails(400, `{"error":{"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error"}}`)))},
		{name: "context: small, as the configuration says", change: func(p *config.Provider) { p.ContextTokens = 4096 }, by: good},
		{name: "context: smaller than the configuration says", change: func(p *config.Provider) { p.ContextTokens = 6000; p.Class = drey.Free }, by: but(Context, inOrder(says("?"), says("KINGFISHER")))},
		{name: "context: the reasoning knows it", by: but(Context, always(Answer{Response: &wire.Response{Stop: wire.StopLength, Blocks: []wire.Block{{Kind: wire.Reasoning, Text: "It was KINGFISHER, so"}}}}))},

		{name: "tools: none", by: but(Tools, always(says("acorn")))},
		{name: "tools: none, as the configuration says", change: func(p *config.Provider) { p.Capabilities.Tools = config.Say(false) }, by: but(Tools, always(says("acorn")))},
		{name: "tools: denied, and there", change: func(p *config.Provider) { p.Capabilities.Tools = config.Say(false) }, by: good},
		{name: "tools: refused", by: but(Tools, always(fails(400, `{"error":{"message":"squirrel does not support tools"}}`)))},
		{name: "tools: printed, and mended", by: but(Tools, always(says("```json\n{\"name\":\"echo\",\"arguments\":{\"text\":\"acorn\"}}\n```")))},
		{name: "tools: printed, and not mended", change: func(p *config.Provider) { p.Wire = config.WireAnthropic }, by: but(Tools, always(says("<tool_call>{\"name\":\"echo\",\"arguments\":{\"text\":\"acorn\"}}</tool_call>")))},
		{name: "tools: one at a time, and not by force", by: but(Tools, func(n int, a Ask) Answer {
			ans := good(Tools, n, a)
			ans.Response.Blocks = ans.Response.Blocks[:1]
			if n == 2 {
				return says("Good morning!")
			}
			return ans
		})},

		{name: "streaming: broken, whole answers are not", by: but(Streaming, inOrder(cut, cut, counted(func(a *Answer) { a.Streamed = false })))},
		{name: "streaming: broken by the wish for usage", by: but(Streaming, inOrder(fails(400, `{"error":{"message":"unknown field stream_options"}}`), noUsage))},
		{name: "streaming: broken, over the other wire", change: func(p *config.Provider) { p.Wire = config.WireAnthropic; p.DropFields = []string{"metadata"} }, by: but(Streaming, inOrder(cut, says("1 2 3")))},
		{name: "streaming: broken whatever is left out", by: but(Streaming, always(cut))},
		{name: "streaming: not streamed, as the configuration says", change: func(p *config.Provider) { p.DropFields = []string{"stream_options", "stream"} }, by: but(Streaming, always(says("1 2 3 4")))},
		{name: "streaming: all at once", by: but(Streaming, always(counted(func(a *Answer) { a.First, a.Spread = 3*time.Second, time.Millisecond })))},
		{name: "streaming: all at once, and there is time", change: func(p *config.Provider) { p.Timeouts.FirstToken = config.Say(drey.Duration(20 * time.Minute)) },
			by: but(Streaming, always(counted(func(a *Answer) { a.First, a.Spread = 3*time.Second, time.Millisecond })))},
		{name: "streaming: no usage", by: but(Streaming, always(noUsage))},
		{name: "streaming: no usage, since nobody asked", change: func(p *config.Provider) { p.DropFields = []string{"seed", "stream_options"} }, by: but(Streaming, inOrder(noUsage, good(Streaming, 0, Ask{})))},
		{name: "streaming: cut short, and num_predict helps", by: but(Streaming, inOrder(cutAfter(20), good(Streaming, 0, Ask{})))},
		{name: "streaming: cut short whatever is asked", by: but(Streaming, always(cutAfter(20)))},
		{name: "streaming: cut short, since max_tokens is dropped", change: func(p *config.Provider) { p.DropFields = []string{"max_tokens"} }, by: but(Streaming, always(cutAfter(20)))},
		{name: "streaming: cut short, as the configuration says", change: func(p *config.Provider) { p.MaxOutputTokens = 16; p.Class = drey.Free }, by: but(Streaming, always(cutAfter(20)))},

		{name: "reasoning: in a field", by: but(Reasoning, always(Answer{Response: &wire.Response{Blocks: []wire.Block{{Kind: wire.Reasoning, Text: "6 and 7"}, {Kind: wire.Text, Text: "42"}}}}))},
		{name: "reasoning: in a field, and dropped", change: func(p *config.Provider) { p.Reasoning = "drop" }, by: but(Reasoning, always(Answer{Response: &wire.Response{Blocks: []wire.Block{{Kind: wire.Reasoning, Text: "6 and 7"}}}}))},
		{name: "reasoning: spans, markers and tokens", change: func(p *config.Provider) { p.Filters = []string{"repair_byte_fallback"} }, by: but(Reasoning, always(says("<think>6 times 7</think>42<0xE3><0x81><0x82><|im_end|>")))},
		{name: "reasoning: a span in an earlier answer", by: but(Streaming, always(counted(func(a *Answer) { a.Response.Blocks[0].Text = "<think>hm</think>" + a.Response.Blocks[0].Text })))},

		{name: "cache: told by time", by: but(Cache, timed(2*time.Second, 200*time.Millisecond))},
		{name: "cache: not told", by: but(Cache, timed(100*time.Millisecond, 90*time.Millisecond))},
		{name: "cache: none by time", by: but(Cache, timed(2*time.Second, 1900*time.Millisecond))},
		{name: "cache: with marks", change: func(p *config.Provider) { p.Class = drey.Free }, by: but(Cache, func(n int, _ Ask) Answer {
			a := says("1")
			if n == 3 {
				a.Response.Usage.CacheRead = 2900
			}
			return a
		})},
		{name: "cache: voided by changing lines", change: func(p *config.Provider) { p.StripChangingLines = "off" }, by: good},
		{name: "cache: denied", change: func(p *config.Provider) { p.Capabilities.Cache = config.Say(false) }, by: good},

		{name: "thinking: refused; vision: blind", by: func(probe string, n int, a Ask) Answer {
			switch probe {
			case Thinking:
				return fails(400, `{"error":{"message":"thinking is not supported"}}`)
			case Vision:
				return says("It is rendered in blue.")
			}
			return good(probe, n, a)
		}},
		{name: "it goes away in the middle", by: but(Tools, always(breaks(route.Reset, "connection reset by peer")))},
		{name: "it is silent twice", by: func(probe string, n int, a Ask) Answer {
			if probe == Tools || probe == Streaming {
				return breaks(route.FirstTokenTimeout, "no content within 4m")
			}
			return good(probe, n, a)
		}},
		{name: "it asks for a pause in the middle", by: but(Streaming, always(fails(429, `{"error":{"message":"slow down"}}`)))},
	}
}

func cutAfter(n int) Answer {
	a := says(strings.Repeat("1", n))
	a.Response.Stop, a.Streamed, a.Frames = wire.StopLength, true, 5
	return a
}

// TestFindings prints what is made of each case. Read it for surprises.
func TestFindings(t *testing.T) {
	var b bytes.Buffer
	for _, j := range judgements() {
		s := subject(j.change)
		if j.subject != nil {
			j.subject(&s)
		}
		l := listed
		if j.listing != nil {
			l = *j.listing
		}
		e, asks := perform(t, s, l, j.by)
		fmt.Fprintf(&b, "======== %s (%d questions)\n", j.name, len(asks))
		for _, f := range e.Findings() {
			if f.Verdict == OK && j.name != "nothing is wrong" && !strings.HasPrefix(j.name, f.Probe+":") {
				continue // told by the first case
			}
			is := ""
			if f.Stated {
				is = " (stated)"
			}
			fmt.Fprintf(&b, "%s  %s%s: %s\n", f.Verdict, f.Probe, is, f.Text)
		}
		b.WriteString(Join(e.Findings()).YAML("nest"))
	}
	golden(t, "findings.golden", b.Bytes())
}

// TestEveryProbeHasOneFinding: whatever comes, the findings are those of all
// probes in order.
func TestEveryProbeHasOneFinding(t *testing.T) {
	for _, j := range judgements() {
		e, _ := perform(t, subject(j.change), listed, j.by)
		checkFindings(t, e)
	}
}

func checkFindings(t *testing.T, e *Exam) {
	t.Helper()
	var names []string
	for _, f := range e.Findings() {
		names = append(names, f.Probe)
		switch {
		case f.Text == "":
			t.Errorf("%s: no sentence: %+v", f.Probe, f)
		case f.Patch != nil && (f.Verdict == OK || f.Verdict == Skip || f.Stated):
			t.Errorf("%s: a patch for what needs none: %+v", f.Probe, f)
		case f.Stated && f.Verdict != Unsupported:
			t.Errorf("%s: stated, and %s", f.Probe, f.Verdict)
		case f.Verdict == Unsupported && !f.Stated && f.Patch == nil:
			t.Errorf("%s: unsupported, and the configuration cannot say so: %+v", f.Probe, f)
		}
	}
	if !slices.Equal(names, Probes) {
		t.Errorf("findings of %v, want %v", names, Probes)
	}
}

// FuzzExam answers at random.
func FuzzExam(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), false)
	f.Add([]byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, true)
	var all []judgement
	all = append(all, judgements()...)
	f.Fuzz(func(t *testing.T, dice []byte, other bool) {
		at := 0
		roll := func() int {
			if at++; at > len(dice) {
				return 0
			}
			return int(dice[at-1])
		}
		s := subject(all[roll()%len(all)].change)
		if other {
			s.Config.Wire = config.WireAnthropic
		}
		e, asks := perform(t, s, listed, func(probe string, n int, a Ask) Answer {
			if _, err := a.Body(); err != nil {
				t.Fatalf("%s: %v", probe, err)
			}
			return all[roll()%len(all)].by(probe, n%2, a)
		})
		checkFindings(t, e)
		if e.Spent().Requests != len(asks) {
			t.Errorf("%d questions, and %d are told", len(asks), e.Spent().Requests)
		}
	})
}

// TestForgo: whom doctor does not ask, and why.
func TestForgo(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Subject)
		paid   bool
		forgo  bool
		auth   Verdict
	}{
		{"a local one is asked", func(*Subject) {}, false, false, ""},
		{"a paid one is not", func(s *Subject) { s.Config.Class = drey.Paid }, false, true, Skip},
		{"with --paid it is", func(s *Subject) { s.Config.Class = drey.Paid }, true, false, ""},
		{"that of the caller's key is not", func(s *Subject) { s.Config.Key.Caller = true }, true, true, Skip},
		{"one without its key fails", func(s *Subject) { s.Missing, s.Config.Key.Secret.Env = true, "GONE" }, false, true, AuthFail},
		{"a stand-in is not", func(s *Subject) { s.StandIn = true }, true, true, Skip},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := subject(nil)
			tt.change(&s)
			found, forgo := Forgo(s, tt.paid)
			if forgo != tt.forgo {
				t.Fatalf("forgone: %v, want %v", forgo, tt.forgo)
			}
			if forgo && (len(found) != len(Probes) || found[1].Probe != Auth || found[1].Verdict != tt.auth) {
				t.Errorf("findings %+v", found)
			}
		})
	}
}

// TestSpent: what was used up is what the answers told.
func TestSpent(t *testing.T) {
	e, asks := perform(t, subject(nil), listed, func(string, int, Ask) Answer {
		return Answer{Response: &wire.Response{Blocks: []wire.Block{{Kind: wire.Text, Text: "no"}}, Usage: wire.Usage{Input: 5, CacheRead: 2, Output: 3}}}
	})
	want := Spent{Requests: len(asks), Input: 7 * len(asks), Output: 3 * len(asks)}
	if got := e.Spent(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
