package guard_test

import (
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var wires = []drey.Wire{drey.WireAnthropic, drey.WireChat, drey.WireResponses}

var codecs = map[drey.Wire]wire.Codec{
	drey.WireAnthropic: anthropic.Codec{}, drey.WireChat: openai.Chat{}, drey.WireResponses: openai.Responses{},
}

// A step of a conversation: a user who speaks, or a turn of calls with their
// results.
type step struct {
	user  string
	calls []string // NAME ARGS each
	says  string   // an answer without a call
}

func user(text string) step    { return step{user: text} }
func says(text string) step    { return step{says: text} }
func calls(cs ...string) step  { return step{calls: cs} }
func bash(command string) step { return calls(`Bash {"command":` + strconv.Quote(command) + `}`) }
func repeat(n int, s step) []step {
	var out []step
	for range n {
		out = append(out, s)
	}
	return out
}

// result is what every call of a conversation answers.
const result = "ok, some lines of output that a tool may print"

// conversation writes the steps as a request of a wire.
func conversation(of drey.Wire, steps ...step) []byte {
	var parts []string
	id := 0
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for _, s := range steps {
		switch of {
		case drey.WireAnthropic:
			switch {
			case s.user != "":
				add(`{"role":"user","content":%q}`, s.user)
			case s.says != "":
				add(`{"role":"assistant","content":[{"type":"text","text":%q}]}`, s.says)
			default:
				var uses, results []string
				for _, c := range s.calls {
					id++
					name, args, _ := strings.Cut(c, " ")
					uses = append(uses, fmt.Sprintf(`{"type":"tool_use","id":"t%d","name":%q,"input":%s}`, id, name, args))
					results = append(results, fmt.Sprintf(`{"type":"tool_result","tool_use_id":"t%d","content":%q}`, id, result))
				}
				add(`{"role":"assistant","content":[{"type":"text","text":"hm"},%s]}`, strings.Join(uses, ","))
				add(`{"role":"user","content":[%s,{"type":"text","text":"<system-reminder>go on</system-reminder>"}]}`, strings.Join(results, ","))
			}
		case drey.WireChat:
			switch {
			case s.user != "":
				add(`{"role":"user","content":%q}`, s.user)
			case s.says != "":
				add(`{"role":"assistant","content":%q}`, s.says)
			default:
				var uses, results []string
				for _, c := range s.calls {
					id++
					name, args, _ := strings.Cut(c, " ")
					uses = append(uses, fmt.Sprintf(`{"id":"t%d","type":"function","function":{"name":%q,"arguments":%q}}`, id, name, args))
					results = append(results, fmt.Sprintf(`{"role":"tool","tool_call_id":"t%d","content":%q}`, id, result))
				}
				add(`{"role":"assistant","content":null,"tool_calls":[%s]}`, strings.Join(uses, ","))
				parts = append(parts, results...)
			}
		case drey.WireResponses:
			switch {
			case s.user != "":
				add(`{"type":"message","role":"user","content":[{"type":"input_text","text":%q}]}`, s.user)
			case s.says != "":
				add(`{"type":"message","role":"assistant","content":[{"type":"output_text","text":%q}]}`, s.says)
			default:
				var results []string
				add(`{"type":"reasoning","id":"rs%d","summary":[],"encrypted_content":"x"}`, id)
				for _, c := range s.calls {
					id++
					name, args, _ := strings.Cut(c, " ")
					add(`{"type":"function_call","call_id":"t%d","name":%q,"arguments":%q}`, id, name, args)
					results = append(results, fmt.Sprintf(`{"type":"function_call_output","call_id":"t%d","output":%q}`, id, result))
				}
				parts = append(parts, results...)
			}
		}
	}
	messages := "[" + strings.Join(parts, ",") + "]"
	switch of {
	case drey.WireAnthropic:
		return []byte(`{"model":"m","max_tokens":9,"system":"be kind","messages":` + messages + `}`)
	case drey.WireChat:
		return []byte(`{"model":"m","messages":[{"role":"system","content":"be kind"},` + messages[1:] + `}`)
	default:
		return []byte(`{"model":"m","instructions":"be kind","input":` + messages + `}`)
	}
}
