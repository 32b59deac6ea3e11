package gateway

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
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
