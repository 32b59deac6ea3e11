package stage_test

import (
	"testing"

	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/openai"
)

// A call of a custom tool, which chat has too, passes as it came, and what is
// written anew behind it is none the worse.
func TestCustomCallsPass(t *testing.T) {
	const call = `data: {"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"custom","custom":{"name":"patch","input":""}}]}}]}` + "\n\n" +
		`data: {"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"+ a"}}]}}]}` + "\n\n" +
		`data: {"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\n" + "data: [DONE]\n\n"
	const thought = `data: {"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}` + "\n\n"
	codec := openai.Chat{}
	out, sig := play(t, pass(codec, newStage(t, stage.Options{Tools: tools()})), call)
	if sig.Err != nil || out != call {
		t.Errorf("%v\n%s", sig.Err, out)
	}
	out, sig = play(t, pass(codec, newStage(t, stage.Options{Reasoning: stage.Drop})), thought+call)
	if sig.Err != nil {
		t.Fatal(sig.Err)
	}
	r := assembled(t, codec, out)
	if len(r.Blocks) != 1 || r.Blocks[0].Alias == nil || r.Blocks[0].Alias.Form != wire.CustomForm || string(r.Blocks[0].Input) != `{"input":"+ a"}` {
		t.Errorf("%+v of\n%s", r.Blocks, out)
	}
}
