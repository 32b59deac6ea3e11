package fake

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// DemoOptions configure a demo provider. The zero value is right for one that
// a configuration names.
type DemoOptions struct {
	// Newcomer makes demo:echo answer with NewcomerText: it stands in for the
	// model that was not found.
	Newcomer bool
	// Looked lists what the detection looked for, for the newcomer's text; nil
	// names the four servers and the keys in general.
	Looked []string
	// Now and Sleep are as in Options.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// demo is one kind of demo provider.
type demo struct {
	name   string
	usage  string   // how it is written
	params []string // what its URL may carry
	script func(p params, o DemoOptions) (Script, error)
}

var demos = []demo{
	{"echo", "demo:echo", nil, demoEcho},
	{"tools", "demo:tools", nil, demoTools},
	{"slow", "demo:slow?ttft=5s", []string{"ttft"}, demoSlow},
	{"flaky", "demo:flaky?fail=3&class=server", []string{"fail", "class"}, demoFlaky},
	{"cut", "demo:cut?after=20", []string{"after"}, demoCut},
	{"text-tools", "demo:text-tools", nil, demoTextTools},
}

// Demo returns the transport of a "demo:" provider. It needs no network and no
// key, serves both wires whatever the host and the path's beginning, and is
// safe for concurrent use. An unknown URL is an error that lists the known
// ones.
func Demo(rawURL string, o DemoOptions) (http.RoundTripper, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "demo" {
		return nil, demoError("%q is no demo provider", rawURL)
	}
	i := slices.IndexFunc(demos, func(d demo) bool { return d.name == u.Opaque })
	if i < 0 {
		return nil, demoError("%q is no demo provider", rawURL)
	}
	d := demos[i]
	p, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, demoError("%q cannot be read: %v", rawURL, err)
	}
	for key, values := range p {
		if !slices.Contains(d.params, key) {
			return nil, demoError("%q: %s takes no %q", rawURL, d.usage, key)
		}
		if len(values) > 1 {
			return nil, demoError("%q: %q is given twice", rawURL, key)
		}
	}
	script, err := d.script(params{p}, o)
	if err != nil {
		return nil, demoError("%q: %v", rawURL, err)
	}
	return New(Options{Script: script, Models: []string{"demo"}, Now: o.Now, Sleep: o.Sleep}), nil
}

func demoError(f string, args ...any) error {
	var known []string
	for _, d := range demos {
		known = append(known, d.usage)
	}
	return fmt.Errorf("%s; the known ones are %s", fmt.Sprintf(f, args...), strings.Join(known, ", "))
}

// params are the parameters of a demo URL.
type params struct{ url.Values }

// count reads a number of things, from least up.
func (p params) count(key string, byDefault, least int) (int, error) {
	if !p.Has(key) {
		return byDefault, nil
	}
	n, err := strconv.Atoi(p.Get(key))
	if err != nil || n < least {
		return 0, fmt.Errorf("%s=%s is not a number from %d", key, p.Get(key), least)
	}
	return n, nil
}

func demoEcho(_ params, o DemoOptions) (Script, error) {
	if !o.Newcomer {
		return Always(Echo()), nil
	}
	text := NewcomerText(o.Looked)
	return func(_ int, r Request) Behaviour {
		if r.Text == "" {
			return Text(text)
		}
		return Text(text + "\n\nYou wrote:\n" + r.Text)
	}, nil
}

func demoTools(params, DemoOptions) (Script, error) {
	return Always(CallTool(`{}`).Then(Text("The tool was called, and its result has arrived. This is the demo's final answer."))), nil
}

func demoTextTools(params, DemoOptions) (Script, error) {
	return Always(TextCall("", `{}`).Then(Text("The tool was called, and its result has arrived. This is the demo's final answer."))), nil
}

func demoSlow(p params, _ DemoOptions) (Script, error) {
	ttft := drey.Duration(5 * time.Second)
	if p.Has("ttft") {
		var err error
		if ttft, err = drey.ParseDuration(p.Get("ttft")); err != nil {
			return nil, err
		}
		if ttft < 0 {
			return nil, fmt.Errorf("ttft=%s is negative", p.Get("ttft"))
		}
	}
	return Always(Echo().TTFT(ttft.D())), nil
}

func demoFlaky(p params, _ DemoOptions) (Script, error) {
	n, err := p.count("fail", 3, 0)
	if err != nil {
		return nil, err
	}
	class := drey.Server
	if p.Has("class") {
		if err := class.UnmarshalText([]byte(p.Get("class"))); err != nil {
			return nil, err
		}
	}
	b, ok := failureOf(class)
	if !ok {
		return nil, fmt.Errorf("class=%s is nothing that a provider does", class)
	}
	return FailFirst(n, b, Echo()), nil
}

// failureOf is the typical failure of a class; false for the classes that are
// not a provider's.
func failureOf(c drey.Class) (Behaviour, bool) {
	switch c {
	case drey.Caller:
		return ContextLength(200001, 200000), true
	case drey.Auth:
		return Unauthorized(), true
	case drey.RateLimit:
		return RateLimited().RetryAfter(time.Second), true
	case drey.Transport:
		return Reset(), true
	case drey.Server:
		return ServerError(), true
	case drey.Silence:
		return Silent(), true
	case drey.Loading:
		return Loading().RetryAfter(time.Second), true
	case drey.BadOutput:
		return Echo().CutAfter(0, FIN), true
	case drey.Resource:
		return OutOfMemory(), true
	default:
		return Behaviour{}, false
	}
}

// cutText is long enough to be cut where people try it.
const cutText = "This is the demo's answer that breaks off: it goes on for a while, word after word, so that there is something to " +
	"read before the connection is lost, and the sentence that you are reading now was meant to have an end, which you will " +
	"not see unless something has continued it for you after the break, as a gateway can do with the next provider in its chain."

func demoCut(p params, _ DemoOptions) (Script, error) {
	n, err := p.count("after", 20, 0)
	if err != nil {
		return nil, err
	}
	return Always(Text(cutText).CutAfter(n, RST)), nil
}

// NewcomerText is what somebody reads who has started drey with no model in
// reach: that this is a demo, that no model was found, what was looked for,
// and what to do, with one example each.
func NewcomerText(looked []string) string {
	if looked == nil {
		looked = []string{
			"a server on this machine: Ollama (port 11434), LM Studio (1234), llama.cpp (8080), vLLM or another OpenAI-compatible one (8000)",
			"a key in the environment: ANTHROPIC_API_KEY, OPENAI_API_KEY, OPENROUTER_API_KEY, GROQ_API_KEY, DEEPSEEK_API_KEY, MISTRAL_API_KEY, GEMINI_API_KEY, XAI_API_KEY",
		}
	}
	var b strings.Builder
	b.WriteString("This is the demo of drey, not a model.\n\nNo model was found. What was looked for:\n")
	for _, l := range looked {
		b.WriteString("- " + l + "\n")
	}
	b.WriteString("\nWhat to do, one of the two:\n" +
		"- start a local server:  ollama run llama3.2\n" +
		"- or set a key:          ANTHROPIC_API_KEY=… DREY_ALLOW_PAID=1 drey serve\n" +
		"\nA local server is found within 30 seconds; nothing needs to be restarted.")
	return b.String()
}
