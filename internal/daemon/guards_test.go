package daemon

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
)

// night is a home with a profile for attended work, at its defaults, and one
// for unattended nights.
func night(url string) string {
	return fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
providers:
  lab: {wire: openai, url: %q, class: local, model: fake-model, context_tokens: 2000}
profiles:
  default: {chain: [lab]}
  night:
    chain: [lab]
    tool_loop: {action: break}
    tool_cap: {action: break, limit: 60}
    context_budget: {action: trim}
`, url)
}

// looping is a session of chat that ends in so many equal calls.
func looping(calls int, stream bool) string {
	turns := []string{`{"role":"user","content":"do it"}`}
	for i := range calls {
		turns = append(turns,
			fmt.Sprintf(`{"role":"assistant","content":null,"tool_calls":[{"id":"t%d","type":"function","function":{"name":"Bash","arguments":"{\"command\":\"make\"}"}}]}`, i),
			fmt.Sprintf(`{"role":"tool","tool_call_id":"t%d","content":"make: nothing to be done"}`, i))
	}
	return fmt.Sprintf(`{"model":"any","stream":%v,"messages":[%s]}`, stream, strings.Join(turns, ","))
}

// TestGuardsAtTheDoors takes a loop through a whole daemon, attended and
// unattended, and looks at everything that tells of it.
func TestGuardsAtTheDoors(t *testing.T) {
	p := provider(t, fake.Always(fake.Text("well")))
	home := newHome(t, night(p.URL()))
	h := openAt(t, home)

	attended := h.do(http.MethodPost, "/v1/chat/completions", looping(51, false))
	if attended.status != 200 || !strings.Contains(attended.body, "well") {
		t.Errorf("by default a guard warns: %d %s", attended.status, attended.body)
	}
	if ev := h.event("tool-count-exceeded", 0); string(ev.RequestID) != attended.header.Get("X-Request-Id") || ev.ID != "default" || ev.Level != drey.Warn {
		t.Errorf("journaled %+v", ev)
	}
	h.event("tool-loop-detected", 0)

	whole := h.do(http.MethodPost, "/p/night/v1/chat/completions", looping(3, false))
	if whole.status != 400 || whole.header.Get("X-Should-Retry") != "false" || gjson.Get(whole.body, "detail.error").Str != "tool_loop_detected" {
		t.Errorf("%d %v %s", whole.status, whole.header, whole.body)
	}
	streamed := h.do(http.MethodPost, "/p/night/v1/chat/completions", looping(3, true))
	if streamed.status != 200 || !strings.HasPrefix(streamed.body, `data: {"error":{`) || strings.Contains(streamed.body, "[DONE]") {
		t.Errorf("%d %s", streamed.status, streamed.body)
	}
	agent := h.do(http.MethodPost, "/p/night/v1/messages", `{"model":"any","max_tokens":9,"stream":true,"messages":`+messagesLooping(61)+`}`, "User-Agent", "claude-cli/2.0 (external, cli)")
	if agent.status != 400 || gjson.Get(agent.body, "detail.total_count").Int() != 61 || gjson.Get(agent.body, "request_id").Str != agent.header.Get("Request-Id") {
		t.Errorf("%d %s", agent.status, agent.body)
	}
	long := h.do(http.MethodPost, "/p/night/v1/chat/completions", `{"model":"any","max_tokens":100,"messages":[`+
		strings.Repeat(`{"role":"user","content":"`+strings.Repeat("word", 500)+`"},{"role":"assistant","content":"ok"},`, 4)+`{"role":"user","content":"go"}]}`)
	if long.status != 200 || long.header.Get("X-Drey-Context-Budget") != "trimmed" {
		t.Errorf("%d %v %s", long.status, long.header, long.body)
	}
	if n := len(p.Calls()); n != 2 {
		t.Errorf("%d requests reached the provider, want the attended one and the trimmed one", n)
	}

	for _, tt := range []struct {
		of   answer
		says []string
	}{
		{attended, []string{"answered request", "made 51 tool calls, and tool_cap of profile default allows 50; the request went on all the same"}},
		{whole, []string{"was refused by the guard tool_loop", "Bash was called with the same arguments 3 times in a row", "refused with status 400 before any provider was asked"}},
		{streamed, []string{"was refused by the guard tool_loop", "refused within the stream"}},
		{agent, []string{"was refused by the guard tool_cap", "tool_cap of profile night allows 60"}},
		{long, []string{"of lab's window", "was left out for lab"}},
	} {
		id := tt.of.header.Get("X-Request-Id")
		h.row(id)
		if err := h.d.store.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, part := range tt.says {
			eventually(t, "why says "+part, func() bool {
				w, err := h.control().WhyRequest(t.Context(), drey.RequestID(id))
				return err == nil && strings.Contains(w.Text, part)
			})
		}
	}
	want := []string{
		`drey_guard_total{action="break",guard="tool_cap"} 1`, `drey_guard_total{action="break",guard="tool_loop"} 2`,
		`drey_guard_total{action="trim",guard="context_budget"} 1`, `drey_guard_total{action="warn",guard="tool_cap"} 1`,
		`drey_guard_total{action="warn",guard="tool_loop"} 1`, `drey_requests_total{outcome="refused",profile="night",status="400",wire="chat"} 1`,
	}
	counted := func(h *house) bool {
		metrics := h.do(http.MethodGet, "/metrics", "").body
		return !slices.ContainsFunc(want, func(s string) bool { return !strings.Contains(metrics, s+"\n") })
	}
	eventually(t, "the guards are counted", func() bool { return counted(h) })

	// A reload lifts a guard without a restart.
	writeConfig(t, home, strings.Replace(night(p.URL()), "tool_loop: {action: break}", `tool_loop: {action: "off"}`, 1))
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := h.do(http.MethodPost, "/p/night/v1/chat/completions", looping(3, false)); a.status != 200 {
		t.Errorf("after a reload: %d %s", a.status, a.body)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	rows, _ := readLog(t, h.home.Audit())
	for name, n := range map[string]int{"tool-loop-detected": 3, "tool-count-exceeded": 2, "context-budget-warning": 1, "context-budget-trimmed": 1} {
		got := 0
		for _, row := range rows {
			if gjson.Get(row, "event").Str == name {
				got++
				if !gjson.Get(row, "seq").Exists() || !gjson.Get(row, "request_id").Exists() || !gjson.Get(row, "profile").Exists() {
					t.Errorf("the audit has %s", row)
				}
			}
		}
		if got != n {
			t.Errorf("the audit has %s %d times, want %d", name, got, n)
		}
	}
	rows, _ = readLog(t, h.home.Requests())
	if i := slices.IndexFunc(rows, func(r string) bool { return gjson.Get(r, "id").Str == whole.header.Get("X-Request-Id") }); i < 0 ||
		gjson.Get(rows[i], "guards").Raw != `[{"guard":"tool_loop","action":"break"}]` {
		t.Errorf("the rows are %s", rows)
	}

	h = openAt(t, home) // the sums go on
	eventually(t, "the guards are still counted", func() bool { return counted(h) })
	if evs := h.events(store.Query{Event: "tool-*"}); len(evs) != 5 {
		t.Errorf("%d events of guards are journaled", len(evs))
	}
}

// messagesLooping are the messages of a session of Anthropic's wire with so
// many calls, all different.
func messagesLooping(calls int) string {
	turns := []string{`{"role":"user","content":"do it"}`}
	for i := range calls {
		turns = append(turns,
			fmt.Sprintf(`{"role":"assistant","content":[{"type":"tool_use","id":"t%d","name":"Read","input":{"line":%d}}]}`, i, i),
			fmt.Sprintf(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t%d","content":"x"}]}`, i))
	}
	return "[" + strings.Join(turns, ",") + "]"
}

// The vendors' SDKs take a refusal for what it is: a typed error, in the stream
// and without it, and no answer.
func TestSDKsSeeAGuardsRefusal(t *testing.T) {
	p := provider(t, nil)
	h := open(t, strings.Replace(night(p.URL()), "default: {chain: [lab]}", "default: {chain: [lab], tool_cap: {limit: 1, action: break}}", 1))
	calls := func(n int) (m []anthropic.MessageParam) {
		m = userMessage("do it")
		for i := range n {
			id := fmt.Sprintf("t%d", i)
			m = append(m, anthropic.NewAssistantMessage(anthropic.NewToolUseBlock(id, map[string]int{"line": i}, "Read")),
				anthropic.NewUserMessage(anthropic.NewToolResultBlock(id, "x", false)))
		}
		return m
	}(2)
	params := anthropic.MessageNewParams{Model: "any", MaxTokens: 100, Messages: calls}
	_, err := h.anthropicClient().Messages.New(t.Context(), params)
	if e := anthropicError(t, err); e.status != 400 || e.kind != "invalid_request_error" || !e.noRetry || !strings.Contains(e.message, "2 tool calls exceed the limit of 1") {
		t.Errorf("Anthropic's SDK says %+v", e)
	}
	as := h.anthropicClient().Messages.NewStreaming(t.Context(), params)
	defer as.Close()
	for as.Next() {
		t.Errorf("before the error came %s", as.Current().RawJSON())
	}
	if e := anthropicError(t, as.Err()); e.kind != "invalid_request_error" || !strings.Contains(e.message, `"tool_count":{"total_count":2,"max_allowed":1,"profile":"default"}`) {
		t.Errorf("Anthropic's SDK says %+v", e)
	}
	// An SDK that would try again does not.
	before := p.Requests()
	_, err = h.anthropicClient(anthropicoption.WithMaxRetries(5)).Messages.New(t.Context(), params)
	if e := anthropicError(t, err); e.status != 400 || len(p.Requests()) != len(before) {
		t.Errorf("%+v", e)
	}

	chat := helloChat
	for i := range 2 {
		id := fmt.Sprintf("t%d", i)
		chat.Messages = append(chat.Messages, openai.ChatCompletionMessageParamUnion{OfAssistant: &openai.ChatCompletionAssistantMessageParam{
			ToolCalls: []openai.ChatCompletionMessageToolCallUnionParam{{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
				ID: id, Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: "Read", Arguments: fmt.Sprint(i)},
			}}},
		}}, openai.ToolMessage("x", id))
	}
	_, err = h.openaiClient().Chat.Completions.New(t.Context(), chat)
	if e := openaiError(t, err); e.status != 400 || e.kind != "tool_count_exceeded" || !e.noRetry {
		t.Errorf("OpenAI's SDK says %+v", e)
	}
	cs := h.openaiClient().Chat.Completions.NewStreaming(t.Context(), chat)
	defer cs.Close()
	for cs.Next() {
		t.Errorf("before the error came %s", cs.Current().RawJSON())
	}
	if cs.Err() == nil || !strings.Contains(cs.Err().Error(), "tool_count") {
		t.Errorf("OpenAI's SDK says %v", cs.Err())
	}

	var items []responses.ResponseInputItemUnionParam
	for i := range 2 {
		id := fmt.Sprintf("t%d", i)
		out := responses.ResponseInputItemParamOfFunctionCallOutput("x")
		out.OfFunctionCallOutput.CallID = openai.String(id)
		items = append(items, responses.ResponseInputItemParamOfFunctionCall(fmt.Sprint(i), id, "Read"), out)
	}
	ask := responses.ResponseNewParams{Model: "any", Input: input(items...)}
	_, err = h.openaiClient().Responses.New(t.Context(), ask)
	if e := openaiError(t, err); e.status != 400 || e.kind != "tool_count_exceeded" {
		t.Errorf("OpenAI's SDK says %+v", e)
	}
	rs := h.openaiClient().Responses.NewStreaming(t.Context(), ask)
	defer rs.Close()
	failed := false
	for rs.Next() {
		ev := rs.Current()
		failed = ev.Type == "response.failed" && string(ev.Response.Error.Code) == "tool_count_exceeded"
	}
	if !failed || rs.Err() != nil {
		t.Errorf("OpenAI's SDK read no failure, and %v", rs.Err())
	}
}
