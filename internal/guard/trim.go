package guard

import (
	"bytes"
	"math"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// trimmedHead stands in for what was left out where the conversation would not
// begin with a user.
const trimmedHead = "[earlier conversation trimmed to fit the context budget]"

// A Peeker estimates bodies of one wire. wire.Codec is one.
type Peeker interface {
	Wire() drey.Wire
	Peek(body []byte) (wire.Head, error)
}

// Trimmed is a body whose oldest turns were left out.
type Trimmed struct {
	Body    []byte // a new one; nil if there was nothing to leave out
	Dropped int    // messages that were left out
	// Estimate is that of the new body, without a factor.
	Estimate int
	// Tokens are what the request takes of the window now, the answer
	// included: Fit.Used of the new body, but for rounding.
	Tokens int
}

// Trim leaves out the oldest turns of a body until it takes the target share of
// the window, or only what always stays is left: the system text, which is
// also that of system messages before the first turn, and the last KeepLast
// messages. A call and its result stay or go together. The conversation then
// begins with a user's turn without results, or with a note in place of one.
//
// Where it is cut moves in steps of a quarter of the window: a conversation
// that grows within a step keeps its first message, and the provider's cache of
// the prefix with it.
func Trim(codec Peeker, body []byte, f Fit, b Budget) Trimmed {
	if f.Window <= 0 {
		return Trimmed{}
	}
	coarse := Fit{Estimate: f.Estimate, Factor: coarse(f.Factor), MaxTokens: f.MaxTokens, Window: f.Window}
	over := float64(coarse.Used()) - b.Target*float64(f.Window)
	if over <= 0 {
		return Trimmed{}
	}
	step := float64(f.Window) / 4
	over = math.Ceil(over/step) * step

	t := trimmer{codec: codec}
	t.read(body)
	first, cut := t.system, 0
	counted, gone := 0, 0 // tokens of the estimate, up to here and up to cut
	for c := first + 1; c <= len(t.parts)-max(b.KeepLast, 1); c++ {
		counted += t.tokens(body, c-1)
		if t.torn[c] > 0 {
			continue
		}
		cut, gone = c, counted
		if coarse.Factor.Value()*float64(gone) >= over {
			break
		}
	}
	if cut == 0 {
		return Trimmed{}
	}
	from, to := t.parts[first].from, t.parts[cut].from
	var head []byte
	if !t.parts[cut].user {
		head = t.appendHead(nil)
	}
	out := make([]byte, 0, len(body)-(to-from)+len(head))
	out = append(append(append(out, body[:from]...), head...), body[to:]...)
	f.Estimate -= gone
	return Trimmed{Body: out, Dropped: cut - first, Estimate: f.Estimate, Tokens: f.Used()}
}

// coarse rounds a factor up, in steps of an eighth: it learns with each answer,
// and where a conversation is cut must not follow each little change. The steps
// lie at odd sixteenths, since 1 is where many factors are.
func coarse(f Factor) Factor {
	if f.Ratio <= 0 {
		return f
	}
	return Factor{(2*math.Ceil((16*f.Value()-1)/2) + 1) / 16}
}

// Event is the event of a body that was trimmed for a provider.
func (t Trimmed) Event(p drey.ProfileID, provider drey.ProviderID, window int) drey.Event {
	return event(p, "context-budget-trimmed",
		drey.F("provider", provider), drey.F("messages", t.Dropped), drey.F("tokens", t.Tokens), drey.F("window", window))
}

// trimmer knows where a body may be cut.
type trimmer struct {
	codec  Peeker
	parts  []part
	system int    // how many parts at the front are system text
	torn   []int  // torn[i] > 0: a cut before part i would tear something apart
	one    []byte // reused

	bonds  [][2]int       // parts of which the first needs the second
	called map[string]int // id of a call → the part that it stands in
}

// part is a message, or an item of Responses, and where it stands.
type part struct {
	from, to int
	user     bool // a user's turn without results
}

// tokens estimates one part. The codec counts it as a body of its own, so that
// there is one way to count.
func (t *trimmer) tokens(body []byte, i int) int {
	p := t.parts[i]
	t.one = append(append(append(t.one[:0], `{"`...), wire.ListOf(t.codec.Wire())...), `":[`...)
	t.one = append(append(t.one, body[p.from:p.to]...), `]}`...)
	head, err := t.codec.Peek(t.one)
	if err != nil {
		return 0
	}
	return head.Tokens
}

func (t *trimmer) appendHead(dst []byte) []byte {
	if t.codec.Wire() == drey.WireResponses {
		return append(dst, `{"type":"message","role":"user","content":[{"type":"input_text","text":"`+trimmedHead+`"}]},`...)
	}
	return append(dst, `{"role":"user","content":"`+trimmedHead+`"},`...)
}

// read finds the parts of a body; of one that is no JSON it finds none.
func (t *trimmer) read(body []byte) {
	s := scan.New(body)
	for key := range s.Fields() {
		if string(key) != wire.ListOf(t.codec.Wire()) {
			continue
		}
		t.parts, t.bonds, t.system, t.called = nil, nil, 0, map[string]int{}
		for i := range s.Items() {
			s.Kind() // goes to where the value begins
			from := s.Offset()
			var m message
			m.read(&s, t.codec.Wire())
			t.parts = append(t.parts, part{from, s.Offset(), m.user && len(m.results) == 0})
			if m.system && t.system == i {
				t.system++
			}
			t.bind(i, &m)
		}
	}
	if s.End() != nil {
		t.parts, t.system = nil, 0
		return
	}
	t.torn = make([]int, len(t.parts)+1)
	for _, b := range t.bonds {
		if b[1] < len(t.parts) {
			t.torn[b[0]+1]++
			t.torn[b[1]+1]--
		}
	}
	for i := 1; i < len(t.torn); i++ {
		t.torn[i] += t.torn[i-1]
	}
}

// bind notes with which parts the i-th must stay. Ids come again, as weak models
// have it: a result is that of the latest call.
func (t *trimmer) bind(i int, m *message) {
	for _, id := range m.results {
		if call, ok := t.called[id]; ok {
			t.bonds = append(t.bonds, [2]int{call, i})
		}
	}
	for _, id := range m.calls {
		t.called[id] = i
	}
	if m.leads {
		t.bonds = append(t.bonds, [2]int{i, i + 1})
	}
}

// message is what one part says of itself.
type message struct {
	user, system   bool
	leads          bool // the part behind it is refused without it: reasoning of Responses
	calls, results []string
}

// byName is the id of calls and results of the wire's older form, which has
// none.
const byName = ""

func (m *message) read(s *scan.Scanner, of drey.Wire) {
	id, item, result := "", false, false
	for key := range s.Fields() {
		switch string(key) {
		case "role":
			switch string(s.Word()) {
			case "user":
				m.user = true
			case "system", "developer":
				m.system = true
			case "tool", "function":
				result = true
			}
		case "type":
			w := s.Word()
			m.leads = of == drey.WireResponses && string(w) == "reasoning"
			result = result || bytes.HasSuffix(w, []byte("_output"))
		case "tool_call_id":
			id, _ = s.Text()
		case "call_id":
			id, item = s.Text()
		case "tool_calls":
			for range s.Items() {
				for key := range s.Fields() {
					if string(key) == "id" {
						id, _ := s.Text()
						m.calls = append(m.calls, id)
					}
				}
			}
		case "function_call":
			if s.Kind() == scan.Object {
				m.calls = append(m.calls, byName)
			}
		case "content":
			for range s.Items() {
				m.block(s)
			}
		}
	}
	switch {
	case result:
		m.results = append(m.results, id)
	case item:
		m.calls = append(m.calls, id)
	}
}

// block reads a block of the Messages wire.
func (m *message) block(s *scan.Scanner) {
	id, kind := "", ""
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			kind = typeWord(s.Word())
		case "id", "tool_use_id":
			id, _ = s.Text()
		}
	}
	switch kind {
	case "tool_use":
		m.calls = append(m.calls, id)
	case "tool_result":
		m.results = append(m.results, id)
	}
}
