package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/wire"
)

const printedCall = `<tool_call>{"name": "bash", "arguments": {"command": "ls"}}</tool_call>`

// A tool call that comes as text reaches every caller as a call, wherever the
// provider's text is cut.
func TestPrintedCallsBecomeCalls(t *testing.T) {
	const text = "I look.\n" + printedCall + "\nDone."
	const want = `"I look. Done." Bash{"command": "ls"} tools`
	for _, p := range pairings {
		for _, stream := range []bool{true, false} {
			t.Run(name(p, form(stream)), func(t *testing.T) {
				t.Parallel()
				for cut := range text {
					l := newLab(t, nil, p.saying(stream, Mending{Repair: true}, text[:cut], text[cut:]))
					a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, stream))
					if got := tell(a.read(t, p.caller)); got != want {
						t.Fatalf("cut at %d: %s, want %s\n%s", cut, got, want, a.body)
					}
					rec := l.last()
					if d := cmp.Diff([]string{"a tag Bash"}, rec.events("tool-call-repaired")); d != "" || rec.Stop != wire.StopTools || rec.row().Repaired != 1 {
						t.Fatalf("cut at %d: the row says %+v: %s", cut, rec.row(), d)
					}
					checkNumbers(t, p.caller, a)
					if !stream {
						break // it comes in one piece whatever its cut
					}
				}
			})
		}
	}
}

// checkNumbers holds a Responses stream to its numbers: without gaps, and each
// item begun and ended once, under one id.
func checkNumbers(t *testing.T, w drey.Wire, a answer) {
	t.Helper()
	if w != drey.WireResponses || !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		return
	}
	n, done := 0, []string{}
	open := ""
	for _, line := range strings.Split(a.body, "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		ev := gjson.Parse(data)
		if got := int(ev.Get("sequence_number").Int()); got != n {
			t.Fatalf("event %d has the number %d:\n%s", n, got, a.body)
		}
		n++
		if i := ev.Get("output_index"); i.Exists() && int(i.Int()) != len(done) {
			t.Fatalf("an event of item %d, when %d are done:\n%s", i.Int(), len(done), a.body)
		}
		switch ev.Get("type").Str {
		case "response.output_item.added":
			if open != "" {
				t.Fatalf("an item within %s:\n%s", open, a.body)
			}
			open = ev.Get("item.id").Str
		case "response.output_item.done":
			if id := ev.Get("item.id").Str; id != open {
				t.Fatalf("%s ends within %s:\n%s", id, open, a.body)
			}
			done, open = append(done, open), ""
		case "response.completed":
			var told []string
			for _, id := range ev.Get("response.output.#.id").Array() {
				told = append(told, id.Str)
			}
			if want := done; open != "" || len(told) > 0 && !strings.HasPrefix(told[0], "ws_") && told[0] != want[0] && len(told) != len(want) {
				t.Fatalf("at the end there are %v of %v, open %q:\n%s", told, want, open, a.body)
			}
		default:
			if id := ev.Get("item_id"); id.Exists() && id.Str != open {
				t.Fatalf("an event of %s within %s:\n%s", id.Str, open, a.body)
			}
		}
	}
}

// Where nothing may be mended, or there is nothing to mend, a caller of the
// provider's own wire gets every byte as it came.
func TestUntouchedAnswersKeepTheirBytes(t *testing.T) {
	on := Mending{Repair: true}
	for _, c := range []struct {
		name string
		m    Mending
		text string
		more []string // fields of the request
		none bool     // it declares no tools
	}{
		{name: "off", text: printedCall},
		{name: "no tools", m: on, text: printedCall, none: true},
		{name: "no calls wanted", m: on, text: printedCall, more: []string{"tool_choice", `"none"`}},
		{name: "several answers", m: Mending{Repair: true, Filters: []string{"strip_thinking"}}, text: printedCall, more: []string{"n", "2"}},
		{name: "a call of nobody's", m: on, text: strings.Replace(printedCall, "bash", "format", 1)},
		{name: "nothing to filter", m: Mending{Repair: true, Filters: []string{"strip_thinking", "strip_stop_markers"}}, text: "1 < 2, and <b>that</b> is <all"},
		{name: "a span that the text speaks of", m: Mending{Reasoning: ReasoningDrop}, text: "The tag is <think>."},
	} {
		for _, p := range pairings {
			if p.caller != p.provider {
				continue
			}
			for _, stream := range []bool{true, false} {
				t.Run(name(c.name, p, form(stream)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { // both answers are of the same second
						more := c.more
						if more != nil && more[0] == "tool_choice" && p.caller == drey.WireAnthropic {
							more = []string{"tool_choice", `{"type":"none"}`}
						}
						if more != nil && more[0] == "n" && p.caller != drey.WireChat {
							t.Skip("only chat has it")
						}
						body := toolPrompt(p.caller, stream, more...)
						if c.none {
							body = prompt(p.caller, stream)
						}
						pieces := strings.SplitAfter(c.text, " ")
						plain := newLab(t, nil, p.saying(stream, Mending{}, pieces...)).ask(t.Context(), p.caller, body)
						l := newLab(t, nil, p.saying(stream, c.m, pieces...))
						if d := cmp.Diff(plain.body, l.ask(t.Context(), p.caller, body).body); d != "" {
							t.Errorf("(-as it came +got):\n%s", d)
						}
						if rec := l.last(); rec.Mended != nil || len(rec.events("capability-degraded")) > 0 {
							t.Errorf("told of %+v", rec.Mended)
						}
					})
				})
			}
		}
	}
}

// A provider that makes its calls properly is not searched.
func TestProperCallsAreLeftAlone(t *testing.T) {
	for _, p := range pairings {
		if p.provider == drey.WireResponses {
			continue
		}
		l := newLab(t, nil, p.answering(true, Mending{Repair: true}, fake.CallTool(`{"command":"pwd"}`)))
		a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, true))
		if got := tell(a.read(t, p.caller)); got != `"" Bash{"command":"pwd"} tools` || l.last().Mended != nil {
			t.Errorf("%s: %s %+v", p, got, l.last().Mended)
		}
	}
}

// What leaks out of a template is taken out, wherever the text is cut.
func TestLeaksAreFiltered(t *testing.T) {
	const text = "<think>Let me see.</think>Hello <b>you</b><|im_end|>"
	m := Mending{Repair: true, Filters: []string{"strip_thinking", "strip_stop_markers"}}
	for _, p := range pairings {
		for _, stream := range []bool{true, false} {
			t.Run(name(p, form(stream)), func(t *testing.T) {
				t.Parallel()
				for cut := range text {
					l := newLab(t, nil, p.saying(stream, m, text[:cut], text[cut:]))
					a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, stream))
					if got := tell(a.read(t, p.caller)); got != `"Hello <b>you</b>" end` {
						t.Fatalf("cut at %d: %s\n%s", cut, got, a.body)
					}
					checkNumbers(t, p.caller, a)
					// Across wires reasoning goes first, and leaves the filter nothing.
					want := []string{"a strip_thinking", "a strip_stop_markers"}
					if p.caller != p.provider {
						want = want[1:]
					}
					if d := cmp.Diff(want, l.last().events("output-filter-applied")); d != "" {
						t.Fatal(d)
					}
					if !stream {
						break
					}
				}
			})
		}
	}
}

// An answer that is empty once it is mended is empty: the next provider is
// asked. One whose only text became a call is not.
func TestEmptyIsWhatTheCallerWouldGet(t *testing.T) {
	for _, p := range pairings {
		for _, stream := range []bool{true, false} {
			for _, m := range []Mending{{Filters: []string{"strip_thinking"}}, {Reasoning: ReasoningDrop}} {
				l := newLab(t, nil, p.saying(stream, m, "<thi", "nk>Hm, ", "let me</thi", "nk>\n"), scripted{id: "b", wire: near(p.caller), script: fake.Always(fake.Text("here"))})
				a := l.ask(t.Context(), p.caller, prompt(p.caller, stream))
				if got := tell(a.read(t, p.caller)); got != `"here" end` || l.last().Provider != "b" {
					t.Errorf("%s %s: %s of %s\n%s", p, form(stream), got, l.last().Provider, a.body)
				}
			}
			l := newLab(t, nil, p.saying(stream, Mending{Repair: true}, printedCall), scripted{id: "b", wire: near(p.caller)})
			a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, stream))
			if got := tell(a.read(t, p.caller)); got != `"" Bash{"command": "ls"} tools` || l.last().Provider != "a" {
				t.Errorf("%s %s: %s of %s\n%s", p, form(stream), got, l.last().Provider, a.body)
			}
		}
	}
}

// Reasoning goes to whom it is for.
func TestReasoning(t *testing.T) {
	const kept, gone = `thinks "hm" "Hello" end`, `"Hello" end`
	for _, p := range pairings {
		if p.provider == drey.WireResponses {
			continue
		}
		for _, c := range []struct {
			mode  Reasoning
			asked bool
			want  string
		}{
			{ReasoningAuto, false, map[bool]string{true: kept, false: gone}[p.caller == p.provider]},
			{ReasoningAuto, true, kept},
			{ReasoningDrop, false, gone},
			{ReasoningDrop, true, gone},
			{ReasoningShow, false, kept},
			{ReasoningShow, true, kept},
		} {
			for _, span := range []bool{false, true} {
				for _, stream := range []bool{true, false} {
					t.Run(name(p, fmt.Sprint("mode", c.mode), "asked", c.asked, "span", span, form(stream)), func(t *testing.T) {
						b, want := fake.Text("Hello").Thinking("hm"), c.want
						if span {
							b = fake.Pieces("\n", "<think>h", "m</th", "ink>\n\n", "Hello")
							if c.mode == ReasoningAuto && p.caller == p.provider {
								want = `"<think>hm</think> Hello" end`
							}
						}
						body := prompt(p.caller, stream)
						if c.asked {
							more := map[drey.Wire]string{
								drey.WireAnthropic: `"thinking":{"type":"enabled","budget_tokens":50},`, drey.WireChat: `"reasoning_effort":"low",`, drey.WireResponses: `"reasoning":{"effort":"low","summary":"auto"},`,
							}
							body = "{" + more[p.caller] + body[1:]
						}
						l := newLab(t, nil, p.answering(stream, Mending{Reasoning: c.mode}, b))
						a := l.ask(t.Context(), p.caller, body)
						if got := tell(a.read(t, p.caller)); got != want {
							t.Errorf("%s, want %s\n%s", got, want, a.body)
						}
						if n := len(l.last().events("capability-degraded")); (n == 1) != (want == gone) || n > 1 {
							t.Errorf("told %d times that reasoning was left out", n)
						}
					})
				}
			}
		}
	}
}

// Text that is held back is no silence: the provider has its time, and the
// caller its pings.
func TestHeldTextIsNoStall(t *testing.T) {
	for _, p := range pairings {
		if p.provider == drey.WireResponses {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			pieces := strings.SplitAfter("I look.\n"+strings.Replace(printedCall, "ls", "echo a b c d e f", 1), " ")
			s := p.answering(true, Mending{Repair: true}, fake.Pieces(pieces...).Gap(40*time.Second))
			l := newLab(t, nil, s)
			a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, true))
			if got := tell(a.read(t, p.caller)); got != `"I look." Bash{"command": "echo a b c d e f"} tools` {
				t.Errorf("%s: %s\n%s", p, got, a.body)
			}
			_, after, _ := strings.Cut(a.body, "I ")
			if n := strings.Count(after, "ping"); n < 20 {
				t.Errorf("%s: %d pings while the text was held back", p, n)
			}
		})
		// What is dropped is no silence either.
		synctest.Test(t, func(t *testing.T) {
			pieces := strings.SplitAfter("<think>one two three four five six</think>Hello", " ")
			l := newLab(t, nil, p.answering(true, Mending{Reasoning: ReasoningDrop}, fake.Pieces(pieces...).Gap(40*time.Second)))
			a := l.ask(t.Context(), p.caller, prompt(p.caller, true))
			if got := tell(a.read(t, p.caller)); got != `"Hello" end` {
				t.Errorf("%s: %s\n%s", p, got, a.body)
			}
		})
	}
}

// An answer that breaks off while a call is held back is told to be broken, and
// nobody runs half a command.
func TestBrokenWhileHeld(t *testing.T) {
	for _, p := range pairings {
		if p.provider == drey.WireResponses {
			continue
		}
		for _, n := range []int{2, 4, 6} {
			b := fake.Pieces(strings.SplitAfter("Look: \n"+printedCall, "e")...).CutAfter(n, fake.RST)
			l := newLab(t, nil, p.answering(true, Mending{Repair: true}, b))
			a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, true))
			if _, complete := a.text(p.caller); complete || a.errorType() == "" || strings.Contains(a.body, "tool_use") || strings.Contains(a.body, "function_call") {
				t.Errorf("%s, cut after %d:\n%s", p, n, a.body)
			}
		}
	}
}

// The metrics count by provider and shape, and by filter.
func TestMendedIsCounted(t *testing.T) {
	m := NewMetrics(discard{})
	l := newLab(t, nil, pairings[1].saying(true, Mending{Repair: true, Filters: []string{"strip_stop_markers"}}, printedCall, "\n<|end|>"))
	l.ask(t.Context(), drey.WireAnthropic, toolPrompt(drey.WireAnthropic, true))
	m.observe(l.last())
	delta := m.takeDelta()
	for _, series := range []string{"drey_repairs_total" + sep + "a" + sep + "tag", "drey_filters_total" + sep + "strip_stop_markers"} {
		if delta[series] != 1 {
			t.Errorf("%s = %v in %v", series, delta[series], delta)
		}
	}
	row := l.last().row()
	if row.Repaired != 1 || !cmp.Equal(row.Filters, []string{"strip_stop_markers"}) {
		t.Errorf("the row: %+v", row)
	}
}

// A generation whose filters are unknown is not built.
func TestUnknownFilter(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat})
	s := l.gen.Load().Settings
	s.Providers[0].Filters = []string{"strip_everything"}
	if err := l.Reload(s); err == nil || !strings.Contains(err.Error(), "strip_everything") {
		t.Error(err)
	}
}
