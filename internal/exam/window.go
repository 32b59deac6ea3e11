package exam

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/route"
)

const (
	// canary is the word that is told first and asked for last. No other text
	// of ours has it.
	canary = "KINGFISHER"
	// canaryLength is how many characters stand between both: the length of
	// the first prompt of a coding agent. Source: the gateway contract §18.
	canaryLength = 21000
	// wantedContext is the window that is asked of a server which can be told:
	// an agent's first prompt and room to work.
	wantedContext = 32768
	// usualCut is the window to which a local server usually cuts in silence,
	// where nothing tells a better number: Ollama's default.
	usualCut = 4096
)

// window tells a word at the beginning of a long prompt and asks for it at the
// end. A server that cuts prompts in silence has lost it, and so the system
// text and the tools of every agent.
func window(c *chart, got []Answer) (*Ask, []Finding) {
	// A window that the configuration states is tried within its bounds.
	length := canaryLength
	says := c.Config.ContextTokens
	short := says > 0 && says < canaryLength/3
	if short {
		length = says * 12 / 5
	}
	switch len(got) {
	case 0:
		return c.ask(c.canaryPrompt(length), 512), nil
	case 1:
		a := got[0]
		if a.Failure != nil || a.says(canary) {
			break
		}
		// A weak model may be unable to repeat a word at all.
		return c.ask(c.canaryPrompt(0), 512), nil
	case 2:
		if want := c.wider(got[0], length); want > 0 && c.isCut(got, length) {
			next := c.ask(c.canaryPrompt(length), 512)
			next.options = map[string]int{"num_ctx": want}
			return next, nil
		}
	}
	a := got[0]
	switch {
	case a.Failure != nil && (a.Failure.Sub == route.ContextLength || a.Failure.Status == 413):
		n := toldLimit(a.Failure.Text)
		if n == 0 {
			n = c.cutAt(a, length)
		}
		return found(Finding{Probe: Context, Verdict: NeedsTuning, Patch: Patch{{[]string{"context_tokens"}, n}},
			Text: fmt.Sprintf("a prompt of about %d tokens is too long for it (%s)", length/4, a.Failure.why())})
	case a.Failure != nil:
		return found(c.trouble(Context, a.Failure))
	case a.says(canary) && short:
		return found(Finding{Probe: Context, Verdict: Unsupported, Stated: true,
			Text: fmt.Sprintf("its window of %d tokens is too small for agents, as the configuration says", says)})
	case a.says(canary):
		text := fmt.Sprintf("the beginning of a prompt of %d characters is still known at its end", length)
		if n := a.input(); n > 0 {
			text += fmt.Sprintf(" (%d tokens)", n)
		}
		return found(Finding{Probe: Context, Verdict: OK, Text: text})
	}
	switch {
	case got[1].Failure != nil:
		return found(c.trouble(Context, got[1].Failure))
	case !c.isCut(got, length):
		return found(skipped(Context, "it cannot be told: the model does not repeat a word of a short prompt either"))
	}
	return found(c.cutsInSilence(got, length))
}

// isCut reports whether the prompt was cut: a short one is understood, or the
// provider says itself that it has read less.
func (c *chart) isCut(got []Answer, length int) bool {
	return got[1].says(canary) || c.readLess(got[0], length)
}

// wider is the num_ctx by which a local server may be told to read more; 0 =
// there is none that is worth a try.
func (c *chart) wider(a Answer, length int) int {
	want := wantedContext
	if c.Provisional && c.ContextTokens > 0 {
		want = min(want, c.ContextTokens)
	}
	if !c.local() || c.numCtx() >= want || want <= c.cutAt(a, length) {
		return 0
	}
	return want
}

// cutsInSilence is the finding where the beginning of a prompt was lost.
func (c *chart) cutsInSilence(got []Answer, length int) Finding {
	n := c.cutAt(got[0], length)
	f := Finding{Probe: Context, Verdict: NeedsTuning,
		Text: fmt.Sprintf("the server cuts long prompts in silence: of %d characters it had lost the beginning", length)}
	if got[0].input() == n {
		f.Text += fmt.Sprintf(", and read %d tokens", n)
	} else {
		f.Text += fmt.Sprintf("; it reads about %d tokens", n)
	}
	want := c.wider(got[0], length)
	if len(got) > 2 && got[2].says(canary) {
		f.Text += fmt.Sprintf("; with num_ctx %d it reads all of it", want)
		f.Patch = Patch{{[]string{"extra_body", "options", "num_ctx"}, want}}
		return f
	}
	if len(got) > 2 || c.numCtx() > 0 {
		f.Text += "; num_ctx in the request does not help, so raise it at the server (OLLAMA_CONTEXT_LENGTH, or PARAMETER num_ctx in the model's file), or have drey know the true window"
	}
	f.Patch = Patch{{[]string{"context_tokens"}, n}}
	return f
}

// numCtx is the window that extra_body asks for; 0 = none.
func (c *chart) numCtx() int {
	for _, f := range c.Config.ExtraBody {
		switch f.Name {
		case "options":
			if n := gjson.GetBytes(f.Value, "num_ctx"); n.Exists() {
				return int(n.Int())
			}
		case "num_ctx":
			return int(gjson.ParseBytes(f.Value).Int())
		}
	}
	return 0
}

// readLess reports whether the provider says itself that it has read much less
// than it was sent.
func (c *chart) readLess(a Answer, length int) bool {
	n := a.input()
	return n > 0 && n < length/8 // no tokenizer makes 8 characters of English prose into a token
}

// cutAt is the window to which the server cuts: what it says it has read, or
// what it says its window is, else a guess.
func (c *chart) cutAt(a Answer, length int) int {
	switch n := a.input(); {
	case n > 256 && n < length/3:
		return n
	case c.ContextTokens > 0 && c.ContextTokens < length/3 && !c.Provisional:
		return c.ContextTokens
	default:
		return min(usualCut, length/5) // a little less than what it was sent
	}
}

// canaryPrompt is a prompt with so many characters between the word and the
// question for it.
func (c *chart) canaryPrompt(length int) string {
	var b strings.Builder
	b.WriteString("The code word is " + canary + ". Remember it; you will be asked for it.\n\n")
	filler(&b, length, c.salt)
	b.WriteString("\nWhat is the code word that was told at the very beginning? Answer with that word alone.")
	return b.String()
}

// filler writes so many characters of prose in which no two lines are equal.
func filler(b *strings.Builder, length int, salt string) {
	for n, end := 1, b.Len()+length; b.Len() < end; n++ {
		fmt.Fprintf(b, "Note %d of log %s: the squirrel carried %d more acorns to the old oak and slept.\n", n, salt, n%7+2)
	}
}

// limits finds the window in the words of the servers that tell it: OpenAI and
// vLLM, Anthropic, llama.cpp.
var limits = regexp.MustCompile(`(?i)(?:maximum context length is|context (?:size|length|window) (?:of|is)|>|\bn_ctx\W{1,3}|available context size \()\s*(\d{3,8})`)

// toldLimit is the window that a refusal names; 0 = none.
func toldLimit(text string) int {
	m := limits.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // eight digits at most
	return n
}
