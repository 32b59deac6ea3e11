package gateway

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// A declaration is read once for each wire, and the memory for it is bounded.
func TestToolCache(t *testing.T) {
	var c toolCache
	chat, messages := codecs[drey.WireChat], codecs[drey.WireAnthropic]
	declared := []byte(`[{"type":"function","function":{"name":"a"}}]`)
	first := c.get(chat, declared)
	if first.tools.Len() != 1 || c.get(chat, []byte(string(declared))) != first {
		t.Error("the same declaration was read again")
	}
	if other := c.get(messages, declared); other == first || other.tools.Len() != 0 {
		t.Error("on another wire these are other tools")
	}
	for _, odd := range []string{`[{"type":"function"}]`, `[1]`, `[]`, ``} {
		if s := c.get(chat, []byte(odd)); s.tools.Len() != 0 {
			t.Errorf("%q declares %d tools", odd, s.tools.Len())
		}
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			body := fmt.Sprintf(`[{"type":"function","function":{"name":"a%d","description":%q}}]`, i, strings.Repeat("x", 100<<10))
			if c.get(chat, []byte(body)).tools.Len() != 1 {
				t.Error("a tool was lost")
			}
		})
	}
	wg.Wait()
	kept := 0
	for d := range c.m {
		kept += len(d.text)
	}
	if kept > maxToolCache || kept != c.bytes {
		t.Errorf("%d bytes are kept and %d counted, at most %d are allowed", kept, c.bytes, maxToolCache)
	}
}

// A vendor's own tools are not called for it; those that only OpenAI's
// wires have are, as functions.
func TestToolsets(t *testing.T) {
	for _, c := range []struct {
		wire     drey.Wire
		declared string
		tools    int
		aliases  map[string]wire.Form
	}{
		{drey.WireAnthropic, `[{"name":"Bash","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}]`, 1, nil},
		{drey.WireChat, `[{"type":"function","function":{"name":"ls"}},{"type":"custom","custom":{"name":"patch"}}]`, 2, map[string]wire.Form{"patch": wire.CustomForm}},
		{drey.WireResponses, `[{"type":"function","name":"ls"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"e"}]},{"type":"custom","name":"p"},{"type":"local_shell"},{"type":"web_search"}]`, 4,
			map[string]wire.Form{"n__e": wire.FunctionForm, "p": wire.CustomForm, "local_shell": wire.ShellForm}},
	} {
		s := newToolset(codecs[c.wire], []byte(c.declared))
		if s.tools.Len() != c.tools || len(s.aliases) != len(c.aliases) {
			t.Errorf("%s: %d tools, %v", c.wire, s.tools.Len(), s.aliases)
		}
		for name, form := range c.aliases {
			if s.aliases[name].Form != form {
				t.Errorf("%s has the form %d", name, s.aliases[name].Form)
			}
		}
	}
}
