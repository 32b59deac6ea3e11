package main

import (
	"encoding/json"
	"fmt"
	"net/http"
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
	begun   = "I begin"
)

// scenario is a chain of two providers, how they behave, and what must have
// happened afterwards.
type scenario struct {
	name, tells string

	first, second provider
	profile       string // further keys of the profile, as in drey.yaml
	top           string // further lines of drey.yaml

	// Calls with tools that each provider must have seen.
	firstSees, secondSees int
	// Answers that break off after their first content, which the agent asks for
	// again by itself, streamed or not.
	again int
	// Tool calls that a provider printed and drey made calls.
	repaired int
	// What audit.jsonl must tell besides who was passed over: stream-rescued MODE,
	// and events of guards.
	audited map[string]int
	// The attempts of each other request of the task: provider:class.
	attempts []string
	// Whether each request must have been captured and paid for.
	recorded bool
	// What the agent says in the end of a task that a guard has stopped, by one
	// request refused; "" = the task is done.
	stopped string
}

// provider is a scripted provider.
type provider struct {
	wire  string // as in drey.yaml
	turns func(n int, r fake.Request) fake.Behaviour
	keys  string // further ones, as in drey.yaml
}

// scenarios are played in this order. What the wire of a provider has a part in
// is played on both.
var scenarios = []scenario{
	{
		name: "chat", tells: "a task of two turns with a tool, in front of a provider of the Chat wire",
		first: chat(works), second: messages(works),
		firstSees: 2,
		attempts:  []string{"first:ok", "first:ok"},
	},
	{
		name: "messages", tells: "the same in front of a provider of the Messages wire",
		first: messages(works), second: chat(works),
		firstSees: 2,
		attempts:  []string{"first:ok", "first:ok"},
	},
	{
		name: "text-tools-chat", tells: "a provider of the Chat wire prints its reasoning and its tool call as text",
		first: chat(prints), second: messages(works),
		firstSees: 2, repaired: 1,
		attempts: []string{"first:ok", "first:ok"},
	},
	{
		name: "text-tools-messages", tells: "one of the Messages wire does, where repair has to be asked for",
		first: messages(prints).with("repair: true"), second: chat(works),
		firstSees: 2, repaired: 1,
		attempts: []string{"first:ok", "first:ok"},
	},
	{
		name: "dies-mid-task", tells: "the first provider answers 500 from its second turn on, one of another wire completes",
		first: chat(dies), second: messages(works),
		firstSees: 2, secondSees: 1,
		attempts: []string{"first:ok", "first:server second:ok"},
	},
	{
		name: "cut-stream", tells: "the first provider cuts each stream before any content, the second completes",
		first: chat(cuts), second: chat(works),
		firstSees: 2, secondSees: 2,
		attempts: []string{"first:bad_output second:ok", "first:bad_output second:ok"},
	},
	{
		name: "dies-mid-stream-chat", tells: "the first provider dies in the middle of an answer, the agent hears it and the second completes",
		first: chat(breaks), second: messages(works),
		firstSees: 3, secondSees: 2, again: 1,
		attempts: []string{"first:server second:ok", "first:server second:ok"},
	},
	{
		name: "dies-mid-stream-messages", tells: "the same with a first provider of the Messages wire",
		first: messages(breaks), second: chat(works),
		firstSees: 3, secondSees: 2, again: 1,
		attempts: []string{"first:server second:ok", "first:server second:ok"},
	},
	{
		name: "rescue-restart-chat", tells: "it dies in the part that is held back, and the second begins anew, unseen",
		first: chat(breaks), second: messages(works), profile: "rescue: restart",
		firstSees: 2, secondSees: 2, audited: map[string]int{"stream-rescued restart": 1},
		attempts: []string{"first:bad_output second:ok", "first:server second:ok"},
	},
	{
		name: "rescue-restart-messages", tells: "the same with a first provider of the Messages wire",
		first: messages(breaks), second: chat(works), profile: "rescue: restart",
		firstSees: 2, secondSees: 2, audited: map[string]int{"stream-rescued restart": 1},
		attempts: []string{"first:bad_output second:ok", "first:server second:ok"},
	},
	{
		name: "rescue-continue-chat", tells: "it dies in sight of the agent, and the second goes on where it stopped",
		first: chat(breaks), second: messages(goesOn).with("capabilities: {prefill: true}"), profile: "rescue: continue, hold: 0",
		firstSees: 2, secondSees: 2, audited: map[string]int{"stream-rescued continue": 1},
		attempts: []string{"first:bad_output second:ok", "first:server second:ok"},
	},
	{
		name: "rescue-continue-messages", tells: "the same with a first provider of the Messages wire",
		first: messages(breaks), second: chat(goesOn).with("capabilities: {prefill: true}"), profile: "rescue: continue, hold: 0",
		firstSees: 2, secondSees: 2, audited: map[string]int{"stream-rescued continue": 1},
		attempts: []string{"first:bad_output second:ok", "first:server second:ok"},
	},
	{
		name: "loop", tells: "a model that makes the same call for ever is stopped, and the agent ends with the reason",
		first: chat(loops), second: messages(works), profile: "tool_loop: {action: break}",
		firstSees: 3, stopped: "tool loop detected",
		attempts: []string{"first:ok", "first:ok", "first:ok"},
		audited:  map[string]int{"tool-loop-detected": 1},
	},
	{
		name: "night", tells: "eight turns with everything on that is for nights; the first provider is down, the second prints what it calls",
		first: chat(down), second: chat(printsLong).with(nightKeys), profile: nightProfile, top: nightTop,
		firstSees: nightFailures, secondSees: nightTurns, repaired: nightTurns - 1, recorded: true,
		attempts: nightAttempts(),
		audited:  map[string]int{"drift-detected": 1}, // the first provider errs
	},
}

// chat and messages are providers of these wires.
func chat(turns func(int, fake.Request) fake.Behaviour) provider {
	return provider{wire: "openai", turns: turns}
}

func messages(turns func(int, fake.Request) fake.Behaviour) provider {
	return provider{wire: "anthropic", turns: turns}
}

// with adds keys to the provider.
func (p provider) with(keys string) provider {
	p.keys = keys
	return p
}

// works asks for the tool, and answers with what the tool said.
func works(_ int, r fake.Request) fake.Behaviour {
	if !r.HasResult {
		return fake.CallTools(call(r))
	}
	return fake.Text(answer + toolResult(r.Body))
}

// loops asks for the same call again and again.
func loops(_ int, r fake.Request) fake.Behaviour { return fake.CallTools(shell(r, "echo again")) }

// call is what the task needs, of the tool that the agent has for it.
func call(r fake.Request) fake.ToolCall { return shell(r, command) }

// shell is a call of the agent's shell.
func shell(r fake.Request, line string) fake.ToolCall {
	if slices.Contains(r.Tools, "Bash") {
		args, _ := json.Marshal(map[string]string{"command": line, "description": "Run a command of the task"})
		return fake.ToolCall{Name: "Bash", Args: string(args)}
	}
	args, _ := json.Marshal(map[string]string{"cmd": line}) // Codex's
	return fake.ToolCall{Name: "exec_command", Args: string(args)}
}

// prints works, as a model does whose server knows nothing of tools and of
// reasoning: both are text.
func prints(n int, r fake.Request) fake.Behaviour {
	if r.HasResult {
		return works(n, r)
	}
	return inPrint(call(r))
}

// inPrint is a call as text, behind reasoning as text.
func inPrint(c fake.ToolCall) fake.Behaviour {
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
	return fake.Text(begun+" to think about what I could").CutAfter(5, fake.RST).Gap(20 * time.Millisecond)
}

// goesOn works, and wants its first turn to be the rest of the answer that
// breaks has begun.
func goesOn(n int, r fake.Request) fake.Behaviour {
	if n > 1 {
		return works(n, r)
	}
	if got := lastWords(r.Body); !strings.HasPrefix(got, begun) {
		return fake.Status(http.StatusBadRequest, "invalid_request_error", fmt.Sprintf("the last message should begin with %q, and is %q", begun, got))
	}
	return works(n, r).WithText(" what it prints. I run it.")
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

// config is the drey.yaml of a scenario.
func (s scenario) config(first, second string) string {
	return fmt.Sprintf(`listen: {addr: "127.0.0.1:0"}
%sproviders:
  first: {wire: %s, url: %q, model: scripted-1%s}
  second: {wire: %s, url: %q, model: scripted-2%s}
profiles:
  default: {chain: [first, second]%s}
`, s.top, s.first.wire, first, more(s.first.keys), s.second.wire, second, more(s.second.keys), more(s.profile))
}

// more is the end of a map with further keys.
func more(keys string) string {
	if keys == "" {
		return ""
	}
	return ", " + keys
}
