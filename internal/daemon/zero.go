package daemon

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/discover"
)

// zeroConfig makes a configuration of what is found: local servers first, then
// keys in the environment, which stay off until paid providers are allowed.
// Where there is neither, the built-in demo answers.
//
// It is written as a file and read like any other, so that one decoder holds
// for both, and what `drey config show` prints is what is in force.
func (l *loader) zeroConfig(ctx context.Context, gen *generation) error {
	found := l.find(ctx)
	gen.looking = !hasLocal(found)
	if len(found) == 0 {
		gen.demo = true
		found = []discover.Found{{Name: "demo", URL: "demo:echo", Wire: drey.WireChat}}
	}
	var b strings.Builder
	var chain []string
	b.WriteString("providers:\n")
	for _, f := range found {
		wire := config.WireOpenAI
		if f.Wire == drey.WireAnthropic {
			wire = config.WireAnthropic
		}
		fmt.Fprintf(&b, "  %q:\n    wire: %s\n    url: %q\n    class: %s\n", f.Name, wire, f.URL, f.Price)
		if f.Model != "" {
			fmt.Fprintf(&b, "    model: %q\n", f.Model)
		}
		if f.KeyEnv != "" {
			fmt.Fprintf(&b, "    key: env:%s\n", f.KeyEnv)
		}
		if f.ContextTokens > 0 {
			fmt.Fprintf(&b, "    context_tokens: %d\n", f.ContextTokens)
		}
		chain = append(chain, strconv.Quote(f.Name))
	}
	fmt.Fprintf(&b, "profiles:\n  default:\n    chain: [%s]\n", strings.Join(chain, ", "))
	file, _, err := config.Parse(zeroConfig, []byte(b.String()), config.Options{Env: l.env, Home: l.userHome})
	if err != nil {
		return err
	}
	gen.file = file
	return nil
}

func hasLocal(found []discover.Found) bool {
	for _, f := range found {
		if f.Price == drey.Local {
			return true
		}
	}
	return false
}
