package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// TestEqualPrefixes holds that a conversation that grew gives bytes that grew:
// the provider's prefix cache lives of it.
func TestEqualPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t)
		cut := rapid.IntRange(1, len(r.Messages)).Draw(t, "cut")
		for cut > 1 && r.Messages[cut-1].Role == wire.Assistant {
			cut-- // agents ask when it is not the model's turn
		}
		short := *r
		short.Messages = r.Messages[:cut]
		to := wire.Target{Price: rapid.SampledFrom([]drey.Price{drey.Local, drey.Paid}).Draw(t, "price"), Documents: true, ReasoningHistory: true}
		for w, c := range codecs {
			a, err := c.EncodeRequest(&short, to)
			if err != nil {
				t.Fatal(err)
			}
			b, err := c.EncodeRequest(r, to)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := c.EncodeRequest(r, to)
			if !bytes.Equal(b.Body, again.Body) {
				t.Fatalf("%v: twice the same is not the same", w)
			}
			end := lastMessage(a.Body)
			if !bytes.HasPrefix(b.Body, a.Body[:end]) {
				t.Fatalf("%v:\n%s\nis no longer the beginning of\n%s", w, a.Body[:end], b.Body)
			}
		}
	})
}

// lastMessage returns where the last message's content can last grow: before
// the brackets that close it.
func lastMessage(body []byte) int {
	s := scan.New(body)
	end := 0
	for key := range s.Fields() {
		if k := string(key); k == "messages" || k == "input" {
			_, end = s.Span()
		}
	}
	return len(bytes.TrimRight(body[:end], `"}]`))
}

// drawRequest draws a conversation as agents hold it: a user, then turns of the
// model, with or without calls, each followed by a user's turn.
func drawRequest(t *rapid.T) *wire.Request {
	word := rapid.SampledFrom([]string{"a", "bc\n", "\"q\"", "é", "<x>"})
	r := &wire.Request{Model: "m", MaxTokens: 10, Tools: []wire.Tool{{Name: "ls"}}}
	if rapid.Bool().Draw(t, "system") {
		r.System = []wire.Block{{Text: word.Draw(t, "system text")}}
	}
	say := func(role wire.Role, bs ...wire.Block) {
		r.Messages = append(r.Messages, wire.Message{Role: role, Blocks: append(bs, wire.Block{Text: word.Draw(t, "text")})})
	}
	say(wire.User)
	id := 0
	for range rapid.IntRange(1, 5).Draw(t, "turns") {
		var calls, results []wire.Block
		for range rapid.IntRange(0, 3).Draw(t, "calls") {
			id++
			name := fmt.Sprintf("id%d", id%4) // ids come again, as weak models have it
			calls = append(calls, wire.Block{Kind: wire.ToolUse, ID: name, Name: "ls", Input: json.RawMessage(`{"n":1}`)})
			content := []wire.Block{{Text: word.Draw(t, "result")}}
			switch rapid.IntRange(0, 4).Draw(t, "result kind") {
			case 0:
				continue // no result
			case 1:
				content = append(content, wire.Block{Kind: wire.Image, MediaType: "image/png", Data: "AA"})
			case 2:
				name = "lost"
			}
			results = append(results, wire.Block{Kind: wire.ToolResult, ID: name, Content: content})
		}
		text := []wire.Block{{Text: word.Draw(t, "answer")}}
		if rapid.Bool().Draw(t, "thinks") {
			text = append([]wire.Block{{Kind: wire.Reasoning, Text: "hm"}}, text...)
		}
		r.Messages = append(r.Messages, wire.Message{Role: wire.Assistant, Blocks: append(text, calls...)})
		say(wire.User, results...)
	}
	return r
}

// TestPlayIsAssembled holds that a whole answer, played as a stream through any
// wire and assembled again, is the same answer.
func TestPlayIsAssembled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &wire.Response{ID: "x", Model: "m", Stop: wire.StopEnd, Usage: wire.Usage{Input: 3, CacheRead: 2, Output: 9}}
		if rapid.Bool().Draw(t, "thinks") {
			want.Blocks = append(want.Blocks, wire.Block{Kind: wire.Reasoning, Text: "hm"})
		}
		if rapid.Bool().Draw(t, "talks") {
			want.Blocks = append(want.Blocks, wire.Block{Text: rapid.SampledFrom([]string{"a", "b\n\"c\"", "é"}).Draw(t, "text")})
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "calls") {
			want.Stop = wire.StopTools
			want.Blocks = append(want.Blocks, wire.Block{Kind: wire.ToolUse, ID: fmt.Sprint("c", i), Name: "ls", Input: json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"a": "}"}`}).Draw(t, "input"))})
		}
		for w, c := range codecs {
			enc := c.NewEncoder(wire.EncoderOptions{Model: "m", ID: "x", WantUsage: true})
			var stream []byte
			for _, ev := range wire.Play(nil, want) {
				stream = enc.Encode(stream, ev)
			}
			var got *wire.Response
			relay := wire.Assemble(c.NewDecoder(), wire.Back{}, func(r *wire.Response) ([]byte, error) { got = r; return nil, nil })
			reader := sse.NewReader(bytes.NewReader(stream), 0)
			for {
				ev, err := reader.Next()
				if err != nil {
					break
				}
				if _, s := relay.Frame(nil, ev); s.Err != nil {
					t.Fatalf("%v: %v", w, s.Err)
				}
			}
			relay.Close(nil)
			if got == nil {
				t.Fatalf("%v: no answer from\n%s", w, stream)
			}
			for i := range got.Blocks {
				if strings.HasPrefix(got.Blocks[i].Signature, wire.OwnSignature) {
					got.Blocks[i].Signature = ""
				}
			}
			if g, w2 := fmt.Sprintf("%+v", got.Blocks), fmt.Sprintf("%+v", want.Blocks); g != w2 || got.Stop != want.Stop || got.Usage != want.Usage {
				t.Fatalf("%v: %s %v %+v\nwant %s %v %+v", w, g, got.Stop, got.Usage, w2, want.Stop, want.Usage)
			}
		}
	})
}

// FuzzCrossings holds what must be true of any request that one wire takes: on
// the other it is JSON, and what came over once comes over again unchanged.
func FuzzCrossings(f *testing.F) {
	f.Add([]byte(`{"model":"m","max_tokens":5,"system":"s","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"},{"type":"image","source":{"type":"url","url":"u"}}]},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{"a":1}}]}],"tools":[{"name":"n","input_schema":{}}]}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"system","content":"s"},{"role":"assistant","content":null,"tool_calls":[{"id":"a:b","type":"function","function":{"name":"n","arguments":"x"}}]},{"role":"tool","tool_call_id":"a:b","content":"r"},{"role":"developer","content":"d"}],"tools":[{"type":"function","function":{"name":"n"}}],"tool_choice":"required"}`))
	f.Add([]byte(`{"model":"m","instructions":"s","input":[{"role":"user","content":"u"},{"type":"reasoning","summary":[{"text":"hm"}],"encrypted_content":"g"},{"type":"custom_tool_call","call_id":"c","name":"p","input":"x"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"u"}]}],"tools":[{"type":"namespace","name":"a","tools":[{"type":"custom","name":"p"}]}],"text":{"format":{"type":"json_object"}},"reasoning":{"summary":"auto"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, from := range codecs {
			for _, over := range codecs {
				over1 := carry(t, from, over, body)
				if over1 == nil {
					continue
				}
				over2 := carry(t, over, over, over1)
				if over2 == nil {
					continue // nothing was left to send
				}
				if over3 := carry(t, over, over, over2); !bytes.Equal(over2, over3) {
					t.Fatalf("%s\nbecame\n%s\nbecame\n%s\nbecame\n%s", body, over1, over2, over3)
				}
			}
		}
	})
}

func carry(t *testing.T, from, to wire.Codec, body []byte) []byte {
	r, err := from.DecodeRequest(body)
	if err != nil {
		return nil
	}
	enc, err := to.EncodeRequest(r, wire.Target{Price: drey.Paid, Documents: true, JSONSchema: true})
	if err != nil {
		return nil
	}
	if !json.Valid(enc.Body) {
		t.Fatalf("%s\nbecame no JSON:\n%s", body, enc.Body)
	}
	return enc.Body
}

// BenchmarkTranslate1KB is a request and an answer of about 1 KB together on
// their way from an anthropic caller to a chat provider and back.
func BenchmarkTranslate1KB(b *testing.B) {
	text := strings.Repeat("some words of a prompt ", 12)
	request := []byte(`{"model":"claude","max_tokens":100,"system":[{"type":"text","text":"Be kind."}],"tools":[{"name":"ls","description":"list","input_schema":{"type":"object","properties":{"p":{"type":"string"}}}}],"messages":[{"role":"user","content":"` + text + `"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"ls","input":{"p":"."}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"a b c"}]}]}`)
	answer := []byte(`{"id":"chatcmpl-9","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` + text + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":4,"total_tokens":34}}`)
	caller, provider := anthropic.Codec{}, openai.Chat{}
	b.SetBytes(int64(len(request) + len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := caller.DecodeRequest(request)
		if err != nil {
			b.Fatal(err)
		}
		enc, err := provider.EncodeRequest(r, wire.Target{Model: "m"})
		if err != nil {
			b.Fatal(err)
		}
		resp, err := provider.DecodeResponse(answer)
		if err != nil {
			b.Fatal(err)
		}
		wire.NewBack(r, enc).Response(resp)
		if _, err := caller.EncodeResponse(resp); err != nil {
			b.Fatal(err)
		}
	}
}
