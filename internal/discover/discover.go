// Package discover finds models without a configuration: local model servers
// on their usual ports, and API keys in the environment.
//
// A server is known by what it answers and not by its port, and nothing of an
// answer is trusted: its size is limited, its time is short, names are checked,
// redirects are not followed, and no proxy stands in between.
package discover

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dreyhq/drey"
)

// Kind is what a local server turned out to be, or Vendor.
type Kind string

// The kinds.
const (
	Ollama   Kind = "ollama"
	LMStudio Kind = "lmstudio"
	LlamaCpp Kind = "llamacpp"
	VLLM     Kind = "vllm"
	OpenAI   Kind = "openai" // some other server that speaks OpenAI's wire
	Vendor   Kind = "vendor" // remote, found by its key
)

// Found is a provider that could be used.
type Found struct {
	Name  string // unique among those found together; fit for a drey.ProviderID
	Kind  Kind
	URL   string // base of the wire's paths
	Wire  drey.Wire
	Model string // "" passes the caller's through
	Price drey.Price
	// KeyEnv names the variable that holds the key; "" = none is needed.
	KeyEnv string
	// ContextTokens is the window that the server says it has loaded; 0 = it
	// did not say.
	ContextTokens int
	// Tools is true if the server says that the model can use tools. False
	// means that it did not say so.
	Tools bool
}

// Target is an address to ask, and what usually listens there.
type Target struct {
	Addr  string // host:port
	Usual string // for people
}

// DefaultTargets are the usual ports of the usual servers.
func DefaultTargets() []Target {
	return []Target{
		{"127.0.0.1:11434", "Ollama"},
		{"127.0.0.1:1234", "LM Studio"},
		{"127.0.0.1:8080", "llama.cpp"},
		{"127.0.0.1:8000", "vLLM or another OpenAI-compatible server"},
	}
}

// Options say where to look. The zero value looks at the default targets and
// at no environment.
type Options struct {
	Targets []Target
	// Getenv is os.Getenv outside of tests; nil finds no keys.
	Getenv func(string) string
	// Timeout is how long a server may take to say what it is, and once more
	// to tell about its models (default 300ms).
	Timeout time.Duration
	// Dial replaces the connection in tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	if o.Targets == nil {
		o.Targets = DefaultTargets()
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Timeout <= 0 {
		o.Timeout = 300 * time.Millisecond
	}
	return o
}

// Detect asks all targets at once and reads the environment. The result is
// ordered: local, free, paid, and within these as the targets and the vendors
// stand. It takes twice the timeout at most, and what cannot be asked is not
// found; there are no errors. It returns when every goroutine of it has ended.
func Detect(ctx context.Context, o Options) []Found {
	o = o.withDefaults()
	byTarget := make([]*Found, len(o.Targets))
	var wg sync.WaitGroup
	for i, t := range o.Targets {
		wg.Go(func() { byTarget[i] = ask(ctx, o, t.Addr) })
	}
	wg.Wait()

	var out []Found
	for _, f := range byTarget {
		if f != nil {
			out = append(out, *f)
		}
	}
	out = append(out, Keys(o.Getenv)...)
	slices.SortStableFunc(out, func(a, b Found) int { return cmp.Compare(a.Price, b.Price) })
	unique(out)
	return out
}

// unique gives providers of equal names the number of their port, and then of
// their place.
func unique(fs []Found) {
	seen := map[string]bool{}
	for i := range fs {
		f := &fs[i]
		if u, err := url.Parse(f.URL); err == nil && seen[f.Name] {
			f.Name += "-" + u.Port()
		}
		for base, n := f.Name, 2; seen[f.Name]; n++ {
			f.Name = base + "-" + strconv.Itoa(n)
		}
		seen[f.Name] = true
	}
}

// LookedFor says for people what Detect looks for, one line each.
func LookedFor(o Options) []string {
	o = o.withDefaults()
	var servers, keys []string
	for _, t := range o.Targets {
		servers = append(servers, t.Usual+" ("+t.Addr+")")
	}
	for _, v := range vendors {
		keys = append(keys, v.env)
	}
	return []string{
		"a model server on this machine: " + strings.Join(servers, ", "),
		"a key in the environment: " + strings.Join(keys, ", "),
	}
}
