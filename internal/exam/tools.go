package exam

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/wire"
)

// echoTool is the one tool of the examination.
var echoTool = wire.Tool{
	Name: "echo", Description: "Prints a text back.",
	Schema: json.RawMessage(`{"type":"object","properties":{"text":{"type":"string","description":"what is printed"}}}`),
}

var echoTools = repair.NewTools([]repair.Tool{{Name: echoTool.Name, Schema: echoTool.Schema}})

// tools asks for a call of a tool: whether it comes as a call, as text that
// can be made into one, or not at all. Of a model that calls it also asks for
// two calls at once and for a call that is forced.
func tools(c *chart, got []Answer) (*Ask, []Finding) {
	if len(got) == 0 {
		return c.withTool(`Call the tool echo with the text "acorn".`, wire.Choice{}), nil
	}
	first := got[0]
	says := c.Config.Capabilities.Tools
	if first.Failure != nil {
		if first.refused() {
			return found(ability(Tools, "tools", says, false, "it refuses requests with tools ("+first.Failure.why()+")"))
		}
		return found(c.trouble(Tools, first.Failure))
	}
	if calls := first.calls(); len(calls) == 0 {
		return found(c.printed(first))
	}
	switch len(got) {
	case 1:
		return c.withTool(`Call the tool echo twice at once, in one answer: once with the text "oak", once with the text "elm".`, wire.Choice{}), nil
	case 2:
		return c.withTool("Good morning!", wire.Choice{Mode: wire.ChoiceTool, Name: echoTool.Name}), nil
	}
	text := "it calls tools"
	if arguments := string(first.calls()[0].Input); !strings.Contains(arguments, "acorn") {
		text += fmt.Sprintf(", with arguments that were not asked for (%s)", clip(arguments))
	}
	text += "; two at once: " + yes(len(got[1].calls()) > 1) + "; a forced one: " + yes(len(got[2].calls()) > 0)
	return found(ability(Tools, "tools", says, true, text))
}

// printed is the finding of an answer without a structured call.
func (c *chart) printed(a Answer) Finding {
	says := c.Config.Capabilities.Tools
	_, calls := repair.Text(echoTools, a.text())
	if len(calls) == 0 {
		return ability(Tools, "tools", says, false, "it calls no tool")
	}
	text := fmt.Sprintf("it prints its calls as text (%s), which drey can make into calls", calls[0].Shape)
	f := ability(Tools, "tools", says, true, text)
	if !c.repairs() {
		f.Verdict = NeedsTuning
		f.Patch = append(f.Patch, Setting{[]string{"repair"}, true})
	}
	return f
}

func (c *chart) withTool(text string, choice wire.Choice) *Ask {
	a := c.ask(text, 1024)
	a.Request.Tools, a.Request.Choice = []wire.Tool{echoTool}, choice
	return a
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// clip shortens what a model said to what fits into a sentence.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}
