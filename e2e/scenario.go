package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey/internal/fake"
)

// The task. What the tool prints is computed by the shell, so that a final
// answer that holds it proves that the tool ran and its result came back.
const (
	prompt  = "Run the command that you have been given and tell me what it printed."
	command = `printf '%s-drey-e2e' "$((6 * 7))" | tee made-by-tool.txt`
	printed = "42-drey-e2e"
	answer  = "The tool printed: "
)

// scenario is a chain of two providers, how they behave, and what must have
// happened afterwards.
type scenario struct {
	name, tells string

	first, second provider

	// Calls with tools that each provider must have seen.
	firstSees, secondSees int
	// Answers that break off after their first content, which the agent asks for
	// again by itself, streamed or not.
	again int
	// Tool calls that a provider printed and drey made calls.
	repaired int
	// The attempts of each other request of the task: provider:class.
	attempts []string
}

// provider is a scripted provider.
type provider struct {
	wire  string // as in drey.yaml
	turns func(n int, r fake.Request) fake.Behaviour
}

var scenarios = []scenario{
	{
		name: "chat", tells: "a task of two turns with a tool, in front of a provider of the Chat wire",
		first: provider{"openai", works}, second: provider{"anthropic", works},
		firstSees: 2, secondSees: 0,
		attempts: []string{"first:ok", "first:ok"},
	},
	{
		name: "messages", tells: "the same in front of a provider of the Messages wire",
		first: provider{"anthropic", works}, second: provider{"openai", works},
		firstSees: 2, secondSees: 0,
		attempts: []string{"first:ok", "first:ok"},
	},
	{
		name: "dies-mid-task", tells: "the first provider answers 500 from its second turn on, one of another wire completes",
		first: provider{"openai", dies}, second: provider{"anthropic", works},
		firstSees: 2, secondSees: 1,
		attempts: []string{"first:ok", "first:server second:ok"},
	},
	{
		name: "cut-stream", tells: "the first provider cuts each stream before any content, the second completes",
		first: provider{"openai", cuts}, second: provider{"openai", works},
		firstSees: 2, secondSees: 2,
		attempts: []string{"first:bad_output second:ok", "first:bad_output second:ok"},
	},
	{
		name: "dies-mid-stream", tells: "the first provider dies in the middle of an answer, the agent hears it and the second completes",
		first: provider{"openai", breaks}, second: provider{"anthropic", works},
		firstSees: 3, secondSees: 2, again: 1,
		attempts: []string{"first:server second:ok", "first:server second:ok"},
	},
	{
		name: "text-tools", tells: "the provider prints its reasoning and its tool call as text",
		first: provider{"openai", prints}, second: provider{"anthropic", works},
		firstSees: 2, secondSees: 0, repaired: 1,
		attempts: []string{"first:ok", "first:ok"},
	},
}

// works asks for the tool, and answers with what the tool said.
func works(_ int, r fake.Request) fake.Behaviour {
	if !r.HasResult {
		return fake.CallTools(call(r))
	}
	return fake.Text(answer + toolResult(r.Body))
}

// call is what the task needs, of the tool that the agent has for it.
func call(r fake.Request) fake.ToolCall {
	if slices.Contains(r.Tools, "Bash") {
		args, _ := json.Marshal(map[string]string{"command": command, "description": "Compute and keep a number"})
		return fake.ToolCall{Name: "Bash", Args: string(args)}
	}
	args, _ := json.Marshal(map[string]string{"cmd": command}) // Codex's
	return fake.ToolCall{Name: "exec_command", Args: string(args)}
}

// prints works, as a model does whose server knows nothing of tools and of
// reasoning: both are text.
func prints(n int, r fake.Request) fake.Behaviour {
	if r.HasResult {
		return works(n, r)
	}
	c := call(r)
	return fake.Text("<think>\nI should run it.\n</think>\n\nI run the command.\n\n" +
		"```json\n{\"name\": \"" + c.Name + "\", \"arguments\": " + c.Args + "}\n```")
}

// dies works for one turn.
func dies(n int, r fake.Request) fake.Behaviour {
	if n > 1 {
		return fake.ServerError()
	}
	return works(n, r)
}

// cuts sends the opening frame of a stream, and nothing more.
func cuts(n int, r fake.Request) fake.Behaviour { return works(n, r).CutAfter(1, fake.RST) }

// breaks dies in the middle of its first answer, and does not come back.
func breaks(n int, _ fake.Request) fake.Behaviour {
	if n > 1 {
		return fake.ServerError()
	}
	return fake.Text("I begin to think about what I could").CutAfter(5, fake.RST).Gap(20 * time.Millisecond)
}

// script plays a provider's turns, which are the calls that declare tools. An
// agent may ask besides for such things as a title; that is no part of the
// task.
func (p provider) script() fake.Script {
	var turns atomic.Int64
	return func(_ int, r fake.Request) fake.Behaviour {
		if len(r.Tools) == 0 {
			return fake.Text("A task")
		}
		return p.turns(int(turns.Add(1)), r)
	}
}

// toolResult returns the text of the last tool result in a request of either
// wire.
func toolResult(body []byte) string {
	var in struct {
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return err.Error()
	}
	result := "nothing"
	for _, m := range in.Messages {
		if m.Role == "tool" {
			result = contentText(m.Content)
			continue
		}
		var blocks []struct {
			Type    string          `json:"type"`
			Content json.RawMessage `json:"content"`
		}
		if json.Unmarshal(m.Content, &blocks) != nil {
			continue // a plain string holds no result
		}
		for _, b := range blocks {
			if b.Type == "tool_result" {
				result = contentText(b.Content)
			}
		}
	}
	return strings.TrimSpace(result)
}

// contentText reads a content that is a string or a list of text parts.
func contentText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err.Error()
	}
	for _, p := range parts {
		text += p.Text
	}
	return text
}

// config is the drey.yaml of a scenario.
func (s scenario) config(first, second string) string {
	return fmt.Sprintf(`listen: {addr: "127.0.0.1:0"}
providers:
  first: {wire: %s, url: %q, model: scripted-1}
  second: {wire: %s, url: %q, model: scripted-2}
profiles:
  default: {chain: [first, second]}
`, s.first.wire, first, s.second.wire, second)
}
