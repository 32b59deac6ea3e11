package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// stops is the row "stop" of the contract's table: what each caller reads, whole
// and streamed, of what each provider said. With a call it is the call, whatever
// the provider said, except after length.
var stops = []struct {
	from                       drey.Wire
	said                       string
	call                       bool
	anthropic, chat, responses string
}{
	{drey.WireAnthropic, "end_turn", false, "", "stop", "completed"},
	{drey.WireAnthropic, "max_tokens", false, "", "length", "incomplete max_output_tokens"},
	{drey.WireAnthropic, "model_context_window_exceeded", false, "", "length", "incomplete max_output_tokens"},
	{drey.WireAnthropic, "model_context_window_exceeded", true, "", "length", "incomplete max_output_tokens"},
	{drey.WireAnthropic, "tool_use", true, "", "tool_calls", "completed"},
	{drey.WireAnthropic, "tool_use", false, "", "stop", "completed"},
	{drey.WireAnthropic, "stop_sequence", false, "", "stop", "completed"},
	{drey.WireAnthropic, "refusal", false, "", "content_filter", "incomplete content_filter"},
	{drey.WireAnthropic, "pause_turn", false, "", "stop", "completed"},
	{drey.WireAnthropic, "pause_turn", true, "", "tool_calls", "completed"},
	{drey.WireAnthropic, "because", false, "", "stop", "completed"},
	{drey.WireAnthropic, "because", true, "", "tool_calls", "completed"},
	{drey.WireChat, "stop", false, "end_turn", "", "completed"},
	{drey.WireChat, "stop", true, "tool_use", "", "completed"},
	{drey.WireChat, "length", false, "max_tokens", "", "incomplete max_output_tokens"},
	{drey.WireChat, "length", true, "max_tokens", "", "incomplete max_output_tokens"},
	{drey.WireChat, "tool_calls", true, "tool_use", "", "completed"},
	{drey.WireChat, "tool_calls", false, "end_turn", "", "completed"},
	{drey.WireChat, "content_filter", false, "refusal", "", "incomplete content_filter"},
	{drey.WireChat, "because", false, "end_turn", "", "completed"},
	{drey.WireChat, "because", true, "tool_use", "", "completed"},
}

func TestStops(t *testing.T) {
	for _, tt := range stops {
		for caller, want := range map[drey.Wire]string{drey.WireAnthropic: tt.anthropic, drey.WireChat: tt.chat, drey.WireResponses: tt.responses} {
			if caller == tt.from {
				continue
			}
			t.Run(fmt.Sprintf("%v %s %v to %v", tt.from, tt.said, tt.call, caller), func(t *testing.T) {
				p, c := codecs[tt.from], codecs[caller]
				whole, stream := stopped(t, tt.from, tt.said, tt.call)
				r, err := p.DecodeResponse(whole)
				if err != nil {
					t.Fatal(err)
				}
				body, err := c.EncodeResponse(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := stopIn(caller, string(body)); got != want {
					t.Errorf("whole: %q, want %q", got, want)
				}
				out, sig := drain(t, wire.Translate(p.NewDecoder(), c.NewEncoder(wire.EncoderOptions{}), wire.Back{}), stream)
				got := ""
				for _, line := range strings.Split(string(out), "\n") {
					if data, ok := strings.CutPrefix(line, "data: "); ok && data != "[DONE]" && got == "" {
						got = stopIn(caller, data)
					}
				}
				if got != want || sig.Err != nil {
					t.Errorf("streamed: %q, want %q (%v)", got, want, sig.Err)
				}
			})
		}
	}
}

// stopped is an answer of a provider that says why it ended, whole and streamed.
func stopped(t *testing.T, w drey.Wire, why string, call bool) (whole, stream []byte) {
	t.Helper()
	r := &wire.Response{ID: "x", Model: "m", Blocks: []wire.Block{{Text: "a"}}, Stop: wire.StopLength}
	if call {
		r.Blocks = append(r.Blocks, wire.Block{Kind: wire.ToolUse, ID: "c", Name: "ls", Input: []byte("{}")})
	}
	body, err := codecs[w].EncodeResponse(r)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.NewReplacer(`"stop_reason":"max_tokens"`, `"stop_reason":"`+why+`"`, `"finish_reason":"length"`, `"finish_reason":"`+why+`"`)
	return []byte(said.Replace(string(body))), []byte(said.Replace(string(told(w, r))))
}

// stopIn is why an answer ended, as a caller reads it in a body or an event; ""
// if that does not tell.
func stopIn(w drey.Wire, data string) string {
	switch w {
	case drey.WireAnthropic:
		return gjson.Get(data, "stop_reason").Str + gjson.Get(data, "delta.stop_reason").Str
	case drey.WireChat:
		return gjson.Get(data, "choices.0.finish_reason").Str
	}
	if strings.HasPrefix(gjson.Get(data, "type").Str, "response.") {
		data = gjson.Get(data, "response").Raw
	}
	status := gjson.Get(data, "status").Str
	if status == "in_progress" {
		return ""
	}
	return strings.TrimSpace(status + " " + gjson.Get(data, "incomplete_details.reason").Str)
}
