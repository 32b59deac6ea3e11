package gateway

import (
	"slices"
	"sync"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/wire"
)

// toolset is what repair must know of the tools that a request declares.
type toolset struct {
	tools   *repair.Tools
	aliases map[string]wire.Alias // as in wire.Request
}

// toolCache remembers the toolsets of declarations: an agent sends the same one
// with each of its requests, tens of kilobytes of it, and reading it would hold
// up every answer. It drops everything when it is full, which costs one more
// reading each. The zero value is empty; methods may be called concurrently.
type toolCache struct {
	mu    sync.Mutex
	m     map[declaration]*toolset
	bytes int
}

// declaration is a list of tools as a request of a wire writes it.
type declaration struct {
	wire drey.Wire
	text string
}

// freeText is the schema of a custom tool's arguments, whose form is
// wire.CustomForm.
const freeText = `{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`

// maxToolCache is how many bytes of declarations are remembered: those of some
// dozen agents. Claude Code's are 90 KB.
const maxToolCache = 2 << 20

// get returns the toolset of a declaration, which may be nil.
func (c *toolCache) get(codec wire.Codec, declared []byte) *toolset {
	w := codec.Wire()
	c.mu.Lock()
	t := c.m[declaration{w, string(declared)}]
	c.mu.Unlock()
	if t != nil {
		return t
	}
	if t = newToolset(codec, declared); len(declared) > maxToolCache {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || c.bytes+len(declared) > maxToolCache {
		c.m, c.bytes = map[declaration]*toolset{}, 0
	}
	c.m[declaration{w, string(declared)}] = t
	c.bytes += len(declared)
	return t
}

// newToolset reads a declaration the way a request is read, as one that has
// nothing else in it. One that cannot be read has no tools for repair: what is
// passed on as it is may hold anything. A vendor's own tools are not the
// caller's to run.
func newToolset(codec wire.Codec, declared []byte) *toolset {
	const messages = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"."}],"tools":`
	const input = `{"model":"m","input":".","tools":`
	body := []byte(messages)
	if codec.Wire() == drey.WireResponses {
		body = []byte(input)
	}
	r, err := codec.DecodeRequest(append(slices.Concat(body, declared), '}'))
	if err != nil {
		return &toolset{}
	}
	var tools []repair.Tool
	for _, t := range r.Tools {
		switch {
		case t.Type == "":
			tools = append(tools, repair.Tool{Name: t.Name, Schema: t.Schema})
		case r.Aliases[t.Name].Form == wire.CustomForm:
			tools = append(tools, repair.Tool{Name: t.Name, Schema: []byte(freeText)})
		}
	}
	return &toolset{tools: repair.NewTools(tools), aliases: r.Aliases}
}
