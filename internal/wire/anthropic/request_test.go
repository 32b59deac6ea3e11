package anthropic_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"
)

func TestDecodeRequestRefuses(t *testing.T) {
	const rest = `,"max_tokens":5,"messages":[{"role":"user","content":"x"}]}`
	for _, tt := range []struct{ in, field, msg string }{
		{`[]`, "", "send one JSON object"},
		{`{"a":`, "", "no JSON"},
		{`{"max_tokens":5}`, "messages", "is missing"},
		{`{"messages":[{"role":"user","content":"x"}]}`, "max_tokens", "is missing"},
		{`{"max_tokens":0,"messages":[{"role":"user","content":"x"}]}`, "max_tokens", "1 or more"},
		{`{"max_tokens":1.5,"messages":[{"role":"user","content":"x"}]}`, "max_tokens", "whole number"},
		{`{"max_tokens":"5","messages":[]}`, "max_tokens", "is a string; send a whole number"},
		{`{"max_tokens":5,"messages":[]}`, "messages", "is empty"},
		{`{"max_tokens":5,"messages":"hi"}`, "messages", "is a string; send a list"},
		{`{"max_tokens":5,"messages":[{"role":"user","content":"x"},7]}`, "messages[1]", "is a number"},
		{`{"max_tokens":5,"messages":[{"content":"x"}]}`, "messages[0].role", "is missing"},
		{`{"max_tokens":5,"messages":[{"role":"user"}]}`, "messages[0].content", "is missing"},
		{`{"max_tokens":5,"messages":[{"role":"user","content":{}}]}`, "messages[0].content", "is an object"},
		{`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":5}]}]}`, "messages[0].content[0].text", "is a number; send a string"},
		{`{"max_tokens":5,"messages":[{"role":"user","content":[{"text":"x"}]}]}`, "messages[0].content[0].type", "is missing"},
		{`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","content":[3]}]}]}`, "messages[0].content[0].content[0]", "is a number"},
		{`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}`, "messages[0].content[0].tool_use_id", "is missing"},
		{`{"model":7` + rest, "model", "is a number"},
		{`{"system":7` + rest, "system", "a string or a list"},
		{`{"tools":{}` + rest, "tools", "is an object"},
		{`{"tools":[{"name":"a"},{}]` + rest, "tools[1].name", "is missing"},
		{`{"tools":[{"name":"a","input_schema":[]}]` + rest, "tools[0].input_schema", "is a list"},
		{`{"tool_choice":"auto"` + rest, "tool_choice", "is a string"},
		{`{"tool_choice":{"type":"maybe"}` + rest, "tool_choice.type", "must be"},
		{`{"tool_choice":{"type":"tool"}` + rest, "tool_choice.name", "is missing"},
		{`{"temperature":"hot"` + rest, "temperature", "send a number"},
		{`{"stop_sequences":["a",1]` + rest, "stop_sequences[1]", "send a string"},
		{`{"stream":1` + rest, "stream", "true or false"},
		{`{"thinking":{"type":"deep"}` + rest, "thinking.type", "must be"},
		{`{"thinking":{"type":"enabled","budget_tokens":"x"}` + rest, "thinking.budget_tokens", "whole number"},
		{`{"output_config":{"format":{"type":"xml"}}` + rest, "output_config.format.type", "must be"},
		{`{"output_format":{"type":"json_schema"}` + rest, "output_format.schema", "is missing"},
	} {
		_, err := codec.DecodeRequest([]byte(tt.in))
		e, ok := err.(*wire.BodyError)
		if !ok || e.Field != tt.field || !strings.Contains(e.Msg, tt.msg) {
			t.Errorf("%s: %v, want %s: … %s …", tt.in, err, tt.field, tt.msg)
		}
	}
}

func text(s string) wire.Block { return wire.Block{Kind: wire.Text, Text: s} }

func use(id, name, input string) wire.Block {
	return wire.Block{Kind: wire.ToolUse, ID: id, Name: name, Input: json.RawMessage(input)}
}

func result(id string, bs ...wire.Block) wire.Block {
	return wire.Block{Kind: wire.ToolResult, ID: id, Content: bs}
}

func user(bs ...wire.Block) wire.Message { return wire.Message{Role: wire.User, Blocks: bs} }

func assistant(bs ...wire.Block) wire.Message {
	return wire.Message{Role: wire.Assistant, Blocks: bs}
}

// TestEncodeRequest writes requests as another wire's decoder gives them. The
// comment of each golden file says which bugs it guards.
func TestEncodeRequest(t *testing.T) {
	yes := true
	mark := json.RawMessage(`{"type":"ephemeral"}`)
	marked := func(s string) wire.Block { return wire.Block{Text: s, Cache: mark} }
	for name, tt := range map[string]struct {
		r  wire.Request
		to wire.Target
	}{
		"tools": {wire.Request{
			Model: "asked", System: []wire.Block{text("x-anthropic-billing-header: v=1\nLead."), text(" "), text("More.")},
			Tools: []wire.Tool{
				{Name: "Bash", Description: "Runs.", Schema: json.RawMessage(`{"properties":{"c":{}}}`), Strict: &yes},
				{Name: "None"}, {Type: "web_search", Name: "w"}, {Type: "custom", Name: "Patch"},
			},
			Choice: wire.Choice{Mode: wire.ChoiceTool, Name: "w"}, OneCall: true,
			Temperature: json.RawMessage("1.7"), TopP: json.RawMessage("0.90"), TopK: json.RawMessage("5"), Stop: []string{" ", "END"}, User: "u",
			Messages: []wire.Message{
				user(text("run both")),
				assistant(text("ok"), use("call|1", "Bash", `{"c": 1.0}`), use("c2", "Bash", "")),
				user(result("call|1", text("one"))),
				user(result("c2", text("two"), wire.Block{Kind: wire.Image, MediaType: "image/png", Data: "iVBO"})),
				{Role: wire.System, Blocks: []wire.Block{text("Reminder.")}},
				user(text("and on")),
				assistant(use("c2", "Bash", `ls -l`)),
				user(wire.Block{Kind: wire.ToolResult, ID: "c2", IsError: true, Content: []wire.Block{text("bad")}}),
			},
		}, wire.Target{Model: "claude-x", StripLines: true, AppendSystem: "End.", MaxOutputTokens: 8192, Stream: true}},
		"odd_history": {wire.Request{Messages: []wire.Message{
			assistant(text("I begin."), wire.Block{Kind: wire.Reasoning, Text: "hm", Signature: "foreign"}),
			assistant(wire.Block{Kind: wire.Redacted, Text: "foreign"}, use("a", "Bash", `{}`)),
			user(text("never mind"), result("gone", text("late"))),
			assistant(text("ok"), use("b", "Read", `{}`), use("d", "Read", `{}`)),
			user(result("a", text("too late")), result("d")),
			assistant(text("   ")), user(text("")), user(wire.Block{Kind: wire.Document, Title: "a.pdf", Data: "JVBE", MediaType: "application/pdf"}, wire.Block{Kind: wire.Document, Text: "words"}),
			assistant(text("Once upon \n")),
		}}, wire.Target{Model: "m"}},
		"last_call_open": {wire.Request{Messages: []wire.Message{user(text("go")), assistant(use("a", "Bash", `{}`))}}, wire.Target{Model: "m"}},
		"only_system":    {wire.Request{System: []wire.Block{text("Do this.")}, Messages: []wire.Message{user(text(""))}}, wire.Target{Model: "m"}},
		"thinking": {wire.Request{MaxTokens: 4000, Thinking: wire.Thinking{Effort: "medium"}, Temperature: json.RawMessage("0.2"),
			Messages: []wire.Message{user(text("think"))}}, wire.Target{Model: "m"}},
		"thinking_in_a_tool_loop": {wire.Request{MaxTokens: 40000, Thinking: wire.Thinking{Effort: "high"}, Temperature: json.RawMessage("0.2"),
			Messages: []wire.Message{user(text("think")), assistant(use("a", "Bash", "{}")), user(result("a", text("1")))}}, wire.Target{Model: "m"}},
		"schema_as_tool": {wire.Request{Format: &wire.Format{Type: "json_schema", Schema: json.RawMessage(`{"type":"object"}`)}, Thinking: wire.Thinking{Effort: "low"},
			Messages: []wire.Message{user(text("x"))}}, wire.Target{Model: "m"}},
		"schema_beside_tools": {wire.Request{Format: &wire.Format{Type: "json_schema", Schema: json.RawMessage(`{"type":"object"}`)}, Tools: []wire.Tool{{Name: "json"}},
			Messages: []wire.Message{user(text("x"))}}, wire.Target{Model: "m"}},
		"schema_native": {wire.Request{Format: &wire.Format{Type: "json_schema", Schema: json.RawMessage(`{"type":"object"}`)},
			Messages: []wire.Message{user(text("x"))}}, wire.Target{Model: "m", JSONSchema: true}},
		"json_object": {wire.Request{Format: &wire.Format{Type: "json_object"}, Messages: []wire.Message{user(text("x"))}}, wire.Target{Model: "m"}},
		"cache": {wire.Request{System: []wire.Block{marked("a"), marked("b")}, Tools: []wire.Tool{{Name: "T", Cache: mark}},
			Messages: []wire.Message{user(marked("c")), assistant(marked("d")), user(text("e"), marked("f"))}}, wire.Target{Model: "m", Cache: true}},
		"extra": {wire.Request{Messages: []wire.Message{user(text("x"))}, Temperature: json.RawMessage("0.1")},
			wire.Target{Model: "m", Drop: []string{"temperature"}, Extra: []wire.ExtraField{{Key: "max_tokens", Value: []byte("1")}, {Key: "num_ctx", Value: []byte("9")}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := codec.EncodeRequest(&tt.r, tt.to)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "encode", name+".txtar")
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatalf("%v; write the file with a comment that says what it guards, then run with -update", err)
			}
			if len(bytes.TrimSpace(a.Comment)) == 0 {
				t.Error("the file does not say which bugs it guards")
			}
			g := golden{t: t, a: a}
			rest := *got
			rest.Body = nil
			other, _ := json.Marshal(rest)
			g.want("body.json", indent(got.Body))
			g.want("beside.json", string(other))
			if *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			checkShape(t, got.Body)
		})
	}
	if _, err := codec.EncodeRequest(&wire.Request{}, wire.Target{}); err == nil {
		t.Error("a request without anything in it is sent")
	}
}

var idForm = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// fataler is what tests, fuzz targets and rapid have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// finished returns where the last turn but one begins in an encoded body. What
// stands before it is over; behind it, a call may still wait for its result.
func finished(body []byte) int {
	s, at, last := scan.New(body), 0, 0
	for key := range s.Fields() {
		if string(key) != "messages" {
			continue
		}
		for range s.Items() {
			from, _ := s.Span()
			at, last = last, from
		}
	}
	return at
}

// checkShape holds what the API refuses.
func checkShape(t fataler, body []byte) {
	t.Helper()
	type block struct {
		Type, Text, ID string
		ToolUseID      string `json:"tool_use_id"`
		Input          json.RawMessage
	}
	var r struct {
		MaxTokens int `json:"max_tokens"`
		Messages  []struct {
			Role    string
			Content json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if len(r.Messages) == 0 || r.MaxTokens < 1 || bytes.Count(body, []byte(`"cache_control"`)) > 4 {
		t.Fatalf("no messages, no max_tokens or too many marks in %s", body)
	}
	seen := map[string]bool{}
	var open []string
	for i, m := range r.Messages {
		if want := []string{"user", "assistant"}[i%2]; m.Role != want {
			t.Fatalf("turn %d is the %s's in %s", i, m.Role, body)
		}
		blocks := []block{{Type: "text"}}
		if json.Unmarshal(m.Content, &blocks[0].Text) != nil {
			if err := json.Unmarshal(m.Content, &blocks); err != nil || len(blocks) == 0 {
				t.Fatalf("turn %d has content %s", i, m.Content)
			}
		}
		var calls []string
		for _, b := range blocks {
			switch b.Type {
			case "text":
				if strings.TrimSpace(b.Text) == "" {
					t.Fatalf("turn %d has a blank text in %s", i, body)
				}
				fallthrough
			default:
				if m.Role == "user" && len(open) > 0 {
					t.Fatalf("turn %d speaks before the results of %q in %s", i, open, body)
				}
			case "tool_use":
				if !idForm.MatchString(b.ID) || seen[b.ID] || len(b.Input) == 0 || b.Input[0] != '{' {
					t.Fatalf("bad or double call %+v in %s", b, body)
				}
				seen[b.ID] = true
				calls = append(calls, b.ID)
			case "tool_result":
				at := -1
				for j, id := range open {
					if id == b.ToolUseID {
						at = j
					}
				}
				if at < 0 {
					t.Fatalf("result of nothing %q in %s", b.ToolUseID, body)
				}
				open = append(open[:at:at], open[at+1:]...)
			}
		}
		if len(open) > 0 {
			t.Fatalf("turn %d leaves %q without results in %s", i, open, body)
		}
		open = calls
	}
	if len(open) > 0 {
		t.Fatalf("calls %q without results in %s", open, body)
	}
}

func drawMessages(t *rapid.T) []wire.Message {
	id := rapid.SampledFrom([]string{"a", "b", "call_0", "", "id with spaces", strings.Repeat("x", 65)})
	word := rapid.SampledFrom([]string{"", " ", "hi", "ho\n", "é"})
	block := rapid.Custom(func(t *rapid.T) wire.Block {
		b := wire.Block{
			Kind: rapid.SampledFrom([]wire.BlockKind{wire.Text, wire.Image, wire.Document, wire.ToolUse, wire.ToolUse, wire.ToolResult, wire.ToolResult, wire.Reasoning, wire.Redacted}).Draw(t, "kind"),
			Text: word.Draw(t, "text"),
		}
		switch b.Kind {
		case wire.Image, wire.Document:
			b.Data = rapid.SampledFrom([]string{"", "AAAA"}).Draw(t, "data")
		case wire.ToolUse:
			b.ID, b.Name, b.Input = id.Draw(t, "id"), "T", json.RawMessage(rapid.SampledFrom([]string{"", "{}", "[1]", "{", `{"a":1.0}`}).Draw(t, "input"))
		case wire.ToolResult:
			b.ID = id.Draw(t, "id")
			b.Content = []wire.Block{text(word.Draw(t, "content"))}
		case wire.Reasoning:
			b.Signature = rapid.SampledFrom([]string{"", "sig", "drey1.x"}).Draw(t, "signature")
		}
		if rapid.IntRange(0, 5).Draw(t, "mark") == 0 {
			b.Cache = json.RawMessage(`{"type":"ephemeral"}`)
		}
		return b
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wire.Message {
		return wire.Message{
			Role:   rapid.SampledFrom([]wire.Role{wire.User, wire.Assistant, wire.Assistant, wire.System}).Draw(t, "role"),
			Blocks: rapid.SliceOfN(block, 0, 4).Draw(t, "blocks"),
		}
	}), 1, 8).Draw(t, "messages")
}

// TestAnyHistoryIsMadeValid throws histories at the encoder that no client
// should send and some do.
func TestAnyHistoryIsMadeValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := wire.Request{From: rapid.SampledFrom([]drey.Wire{drey.WireChat, drey.WireAnthropic}).Draw(t, "from"), Messages: drawMessages(t)}
		to := wire.Target{Cache: rapid.Bool().Draw(t, "cache"), Documents: rapid.Bool().Draw(t, "documents")}
		got, err := codec.EncodeRequest(&r, to)
		if err != nil {
			return // nothing to send
		}
		checkShape(t, got.Body)
	})
}

// TestEqualPrefixes says that a conversation that grows gives bytes that grow:
// the turns that are over stay as they were.
func TestEqualPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawMessages(t)
		n := rapid.IntRange(1, len(all)).Draw(t, "prefix")
		long, err := codec.EncodeRequest(&wire.Request{Messages: all}, wire.Target{Cache: true})
		if err != nil {
			return
		}
		short, err := codec.EncodeRequest(&wire.Request{Messages: all[:n]}, wire.Target{Cache: true})
		if err != nil {
			return
		}
		head := short.Body[:finished(short.Body)]
		if !bytes.HasPrefix(long.Body, head) {
			t.Fatalf("%s\nis no prefix of\n%s", head, long.Body)
		}
		again, _ := codec.EncodeRequest(&wire.Request{Messages: all}, wire.Target{Cache: true})
		if d := cmp.Diff(long, again); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzRequest says that a request that was decoded and encoded stays the same
// from then on.
func FuzzRequest(f *testing.F) {
	a, err := txtar.ParseFile("testdata/request_agent.txtar")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.Files[0].Data)
	f.Add(prompt(500))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := codec.DecodeRequest(body)
		if err != nil {
			return
		}
		to := wire.Target{Cache: true, Documents: true, JSONSchema: true}
		once, err := codec.EncodeRequest(r, to)
		if err != nil {
			return
		}
		checkShape(t, once.Body)
		r1, err := codec.DecodeRequest(once.Body)
		if err != nil {
			t.Fatalf("%v in %s", err, once.Body)
		}
		twice, err := codec.EncodeRequest(r1, to)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Body, twice.Body) {
			t.Fatalf("first  %s\nsecond %s", once.Body, twice.Body)
		}
		r2, err := codec.DecodeRequest(twice.Body)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r1, r2); d != "" {
			t.Fatal(d)
		}
	})
}
