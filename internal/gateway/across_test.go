package gateway

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// answers of a whole and a streamed kind, per provider's wire.
var served = map[drey.Wire]map[bool]string{
	drey.WireAnthropic: {
		false: `{"id":"msg_1","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`,
		true: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"real\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n" +
			"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"hi\"}}\n\n" +
			"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
	},
	drey.WireChat: {
		false: `{"id":"c","model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`,
		true:  "data: {\"id\":\"c\",\"model\":\"real\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
	},
}

// spoken is a provider that answers as served says.
func spoken(w drey.Wire, stream bool) (scripted, *server) {
	s := &server{status: 200, kind: "application/json", body: served[w][stream]}
	if stream {
		s.kind = "text/event-stream"
	}
	return scripted{id: "a", wire: w, change: func(p *Provider) { p.Transport = s }}, s
}

// The model told is the one that served, on every way through.
func TestTheModelToldIsTheOneThatServed(t *testing.T) {
	paths := map[drey.Wire]string{drey.WireAnthropic: "message.model", drey.WireChat: "model", drey.WireResponses: "response.model"}
	for _, caller := range callers {
		for _, provider := range bothWires {
			for _, stream := range []bool{false, true} {
				t.Run(name(caller, provider, form(stream)), func(t *testing.T) {
					p, _ := spoken(provider, stream)
					a := newLab(t, nil, p).ask(t.Context(), caller, prompt(caller, stream))
					path, body := "model", a.body
					if stream {
						_, body, _ = strings.Cut(a.body, "data: ")
						body, _, _ = strings.Cut(body, "\n")
						path = paths[caller]
					}
					if got := gjson.Get(body, path).Str; got != "real" {
						t.Errorf("the caller reads %q of\n%s", got, a.body)
					}
				})
			}
		}
	}
}

// A caller that wants one call at a time gets the first that was printed, on
// every way through.
func TestOnePrintedCallAtATime(t *testing.T) {
	wish := map[drey.Wire][2]string{
		drey.WireAnthropic: {"tool_choice", `{"type":"auto","disable_parallel_tool_use":true}`},
		drey.WireChat:      {"parallel_tool_calls", "false"},
		drey.WireResponses: {"parallel_tool_calls", "false"},
	}
	second := strings.Replace(printedCall, `"ls"`, `"pwd"`, 1)
	if second == printedCall {
		t.Fatal("both calls are the same")
	}
	for _, p := range pairings {
		for _, stream := range []bool{false, true} {
			t.Run(name(p, form(stream)), func(t *testing.T) {
				l := newLab(t, nil, p.saying(stream, Mending{Repair: true}, printedCall, "\n", second))
				a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, stream, wish[p.caller][0], wish[p.caller][1]))
				if got, want := tell(a.read(t, p.caller)), `"" Bash{"command": "ls"} tools`; got != want {
					t.Errorf("%s, want %s\n%s", got, want, a.body)
				}
				if calls, _ := l.last().mendedRow(); calls != 1 {
					t.Errorf("the row tells of %d calls", calls)
				}
			})
		}
	}
}

// A finish reason that nobody knows is a normal end to the caller, and noted.
func TestAnUnknownFinishReasonIsNoted(t *testing.T) {
	for _, caller := range callers {
		for _, provider := range bothWires {
			if caller == provider {
				continue // it reaches the caller as it came
			}
			for _, stream := range []bool{false, true} {
				t.Run(name(caller, provider, form(stream)), func(t *testing.T) {
					p, s := spoken(provider, stream)
					s.body = strings.NewReplacer(`"end_turn"`, `"because"`, `"stop"`, `"because"`).Replace(s.body)
					l := newLab(t, nil, p)
					a := l.ask(t.Context(), caller, prompt(caller, stream))
					if r := a.read(t, caller); r.Stop != wire.StopEnd {
						t.Errorf("the caller reads %s in\n%s", r.Stop, a.body)
					}
					if got := l.last().events("finish-reason-unknown"); len(got) != 1 || got[0] != "a because" {
						t.Errorf("noted: %q", got)
					}
				})
			}
		}
	}
}

// Under an anthropic-version without sampling fields none is added, neither by
// the configuration nor in translation; the caller's own stay.
func TestNoSamplingFieldIsAddedUnderALaterVersion(t *testing.T) {
	const own = `{"model":"x","max_tokens":5,"top_k":3,"messages":[{"role":"user","content":"hi"}]}`
	const chat = `{"model":"x","max_tokens":5,"top_p":0.5,"messages":[{"role":"user","content":"hi"}]}`
	for _, c := range []struct {
		name                string
		wire                drey.Wire
		body                string
		caller, configured  string
		temperature, others string
	}{
		{"the older version", drey.WireAnthropic, own, "2023-06-01", "", "0.7", "3"},
		{"none", drey.WireAnthropic, own, "", "", "0.7", "3"},
		{"the later version", drey.WireAnthropic, own, "2026-10-21", "", "", "3"},
		{"one after it", drey.WireAnthropic, own, "2027-01-01", "", "", "3"},
		{"the configuration decides", drey.WireAnthropic, own, "2026-10-21", "2023-06-01", "0.7", "3"},
		{"translated, older", drey.WireChat, chat, "", "", "0.7", "0.5"},
		{"translated, later", drey.WireChat, chat, "", "2026-10-21", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := spoken(drey.WireAnthropic, false)
			change := p.change
			p.change = func(p *Provider) {
				change(p)
				p.Extra = []wire.ExtraField{{Key: "temperature", Value: []byte("0.7")}, {Key: "service_tier", Value: []byte(`"auto"`)}}
				if c.configured != "" {
					p.Headers = map[string]string{"anthropic-version": c.configured}
				}
			}
			newLab(t, nil, p).ask(t.Context(), c.wire, c.body, func(r *Request) {
				if c.caller != "" {
					r.Header.Set("Anthropic-Version", c.caller)
				}
			})
			sent := s.calls[0].body
			others := gjson.Get(sent, "top_k").Raw + gjson.Get(sent, "top_p").Raw
			if got := gjson.Get(sent, "temperature").Raw; got != c.temperature || others != c.others || gjson.Get(sent, "service_tier").Str != "auto" {
				t.Errorf("the provider got %s", sent)
			}
		})
	}
}

// Agents of newer models speak to them as the system within the conversation.
// The templates of local models refuse that: on their wire such a turn becomes
// the user's, in place and byte for byte otherwise. A paid provider gets it as
// it came.
func TestOddRolesOnTheSameWire(t *testing.T) {
	const (
		messages = `{ "model":"model-of-a","max_tokens":5,"messages":[{"role":"user","content":"a"},{"content":"plan \u00e9" , "role" : "system"},{"role":"assistant","content":"b"},{"role":"of_tomorrow","content":"c"}]}`
		chat     = `{ "model":"model-of-a","messages":[{"role":"developer","content":"s"},{"role":"system","content":"t"},{"role":"user","content":"a"},{"role":"developer","content":"b"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","tool_call_id":"c","content":"c"},{"role":"system","content":"d"}]}`
		leading  = `{ "model":"model-of-a","messages":[{"role":"system","content":"t"},{"role":"user","content":"a"}]}`
	)
	for _, c := range []struct {
		name       string
		wire       drey.Wire
		price      drey.Price
		body, want string
	}{
		{"anthropic, local", drey.WireAnthropic, drey.Local, messages, strings.NewReplacer(`"system"`, `"user"`, `"of_tomorrow"`, `"user"`).Replace(messages)},
		{"anthropic, free", drey.WireAnthropic, drey.Free, messages, strings.NewReplacer(`"system"`, `"user"`, `"of_tomorrow"`, `"user"`).Replace(messages)},
		{"anthropic, paid", drey.WireAnthropic, drey.Paid, messages, messages},
		{"chat, local", drey.WireChat, drey.Local, chat, strings.NewReplacer(`{"role":"developer","content":"b"}`, `{"role":"user","content":"b"}`, `{"role":"system","content":"d"}`, `{"role":"user","content":"d"}`).Replace(chat)},
		{"chat, paid", drey.WireChat, drey.Paid, chat, chat},
		{"what leads stays", drey.WireChat, drey.Local, leading, leading},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := spoken(c.wire, false)
			change := p.change
			p.change = func(p *Provider) { change(p); p.Price = c.price }
			newLab(t, nil, p).ask(t.Context(), c.wire, c.body)
			if s.calls[0].body != c.want {
				t.Errorf("the provider got\n%s, want\n%s", s.calls[0].body, c.want)
			}
		})
	}
}
