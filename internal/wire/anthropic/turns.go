package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

const (
	// noResult stands for the result of a call that nobody answered; the wire
	// asks for one.
	noResult = "[no result: interrupted]"
	// noUser stands before a conversation that an assistant begins; the wire
	// asks for a user.
	noUser = "[the conversation begins with the assistant]"
)

// turns brings a conversation into the shape that this wire insists on:
//
//  1. user and assistant take turns: messages of one role that follow each other
//     are one turn, and a role that is neither becomes a user's text in place;
//  2. the turn after a call begins with the results of its calls, each exactly
//     once; a result that belongs nowhere becomes text;
//  3. no text is blank, no turn is empty, and the first is a user's;
//  4. ids are unique and of the wire's alphabet.
//
// A finished turn is never touched again, so equal prefixes give equal prefixes.
type turns struct {
	to   wire.Target
	own  bool // the conversation came from this wire: its signatures may go back
	out  []wire.Message
	open []call // of the last assistant turn, without a result yet
	used map[string]int
	name map[string]string // of all calls so far, by their id in the request
	ids  map[string]string // mapped id → the caller's; nil while there is none
}

// call is a call of the last assistant turn.
type call struct {
	asked string // its id in the request
	sent  string // its id toward the provider
	name  string
}

func shape(r *wire.Request, to wire.Target) *turns {
	t := &turns{to: to, own: r.From == drey.WireAnthropic, used: map[string]int{}, name: map[string]string{}}
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.Role == wire.Assistant {
			t.assistant(m)
		} else {
			t.user(m)
		}
	}
	t.close()
	return t
}

// turn returns the last turn if it is of that role, else a new one.
func (t *turns) turn(role wire.Role) *wire.Message {
	if n := len(t.out); n > 0 && t.out[n-1].Role == role {
		return &t.out[n-1]
	}
	if len(t.out) == 0 && role == wire.Assistant {
		t.out = append(t.out, wire.Message{Blocks: []wire.Block{{Text: noUser}}})
	}
	t.out = append(t.out, wire.Message{Role: role})
	return &t.out[len(t.out)-1]
}

func (t *turns) assistant(m *wire.Message) {
	for _, b := range m.Blocks {
		switch b.Kind {
		case wire.Text:
			if strings.TrimSpace(b.Text) == "" {
				continue
			}
		case wire.Reasoning:
			if !t.own || b.Signature == "" || strings.HasPrefix(b.Signature, wire.OwnSignature) {
				continue
			}
		case wire.Redacted:
			if !t.own {
				continue
			}
		case wire.ToolUse:
		default:
			continue // the wire has no other content in an answer
		}
		if n := len(t.out); n > 0 && t.out[n-1].Role == wire.User {
			t.close()
		}
		if b.Kind == wire.ToolUse {
			asked := b.ID
			b.ID = t.newID(asked)
			b.Input = object(b.Input)
			t.name[asked] = b.Name
			turn := t.turn(wire.Assistant)
			turn.Blocks = append(turn.Blocks, b)
			t.open = append(t.open, call{asked, b.ID, b.Name})
			continue
		}
		turn := t.turn(wire.Assistant)
		turn.Blocks = append(turn.Blocks, b)
	}
}

func (t *turns) user(m *wire.Message) {
	for _, b := range m.Blocks {
		switch b.Kind {
		case wire.Text:
			if strings.TrimSpace(b.Text) != "" {
				t.say(b)
			}
		case wire.Image, wire.Document:
			if b, ok := t.media(b); ok {
				t.say(b)
			}
		case wire.ToolResult:
			t.result(b)
		}
	}
}

// say adds to the user's turn what is no result.
func (t *turns) say(b wire.Block) {
	turn := t.turn(wire.User)
	turn.Blocks = append(turn.Blocks, b)
}

// result puts a result behind the other results of the turn.
func (t *turns) result(b wire.Block) {
	b.Content = t.resultContent(b.Content)
	for i, c := range t.open {
		if c.asked != b.ID {
			continue
		}
		t.open = append(t.open[:i:i], t.open[i+1:]...)
		b.ID = c.sent
		t.insert(b)
		return
	}
	name := b.Name
	if name == "" {
		name = t.name[b.ID]
	}
	if name == "" {
		name = b.ID
	}
	text := strings.TrimSpace("[result of " + name + "] " + joinText(b.Content))
	t.say(wire.Block{Kind: wire.Text, Text: text, Cache: b.Cache})
	for _, c := range b.Content {
		if c.Kind != wire.Text {
			t.say(c)
		}
	}
}

// insert adds a result in front of what the user says.
func (t *turns) insert(b wire.Block) {
	turn := t.turn(wire.User)
	at := 0
	for at < len(turn.Blocks) && turn.Blocks[at].Kind == wire.ToolResult {
		at++
	}
	turn.Blocks = append(turn.Blocks, wire.Block{})
	copy(turn.Blocks[at+1:], turn.Blocks[at:])
	turn.Blocks[at] = b
}

// close answers the calls of the last assistant turn that nobody did: when the
// user's turn after it is over, and at the end.
func (t *turns) close() {
	for _, c := range t.open {
		t.insert(wire.Block{Kind: wire.ToolResult, ID: c.sent, Content: []wire.Block{{Text: noResult}}})
	}
	t.open = nil
}

// media returns an image or document as the provider can have it.
func (t *turns) media(b wire.Block) (wire.Block, bool) {
	if b.Kind == wire.Image {
		return b, b.Data != "" || b.URL != ""
	}
	if t.to.Documents && (b.Data != "" || b.URL != "" || b.Text != "") {
		return b, true
	}
	name := b.Title
	if name == "" {
		name = "without a name"
	}
	if b.Text != "" { // text needs no ability
		return wire.Block{Kind: wire.Text, Text: b.Text, Cache: b.Cache}, strings.TrimSpace(b.Text) != ""
	}
	return wire.Block{Kind: wire.Text, Text: "[document " + name + " omitted: provider cannot read it]", Cache: b.Cache}, true
}

func (t *turns) resultContent(bs []wire.Block) []wire.Block {
	var out []wire.Block
	for _, b := range bs {
		switch b.Kind {
		case wire.Text:
			if strings.TrimSpace(b.Text) != "" {
				out = append(out, b)
			}
		case wire.Image, wire.Document:
			if b, ok := t.media(b); ok {
				out = append(out, b)
			}
		}
	}
	return out
}

// newID returns the id that a call has toward the provider: its own, if it is
// of the wire's alphabet and new; else one made from it, the same each time.
// Weak models number their calls from zero in every turn, and this wire refuses
// a conversation in which an id comes twice.
func (t *turns) newID(asked string) string {
	n := t.used[asked]
	t.used[asked]++
	if n == 0 && validID(asked) {
		return asked
	}
	sum := sha256.Sum256([]byte(strconv.Itoa(n) + ":" + asked))
	sent := "toolu_" + hex.EncodeToString(sum[:12])
	if t.ids == nil {
		t.ids = map[string]string{}
	}
	t.ids[sent] = asked
	return sent
}

// validID reports whether an id matches ^[a-zA-Z0-9_-]{1,64}$.
func validID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c-'0' < 10, c|0x20-'a' < 26, c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
