package wire

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire/scan"
)

// Prefill is the beginning of an answer that the model is to go on with.
type Prefill struct {
	Text   string // without white space at its end; see NewPrefill
	Tokens int    // of it, by estimate: the caller's limit on the answer is less by so many
}

// NewPrefill returns what to send of a text that was told: all but the white
// space at its end, which a Continuation puts into account.
func NewPrefill(told string) *Prefill {
	var e Estimator
	e.Add(told)
	return &Prefill{Text: strings.TrimRight(told, whitespace), Tokens: e.Tokens()}
}

// Under returns a limit on an answer less what is there already; 0 is none. A nil
// Prefill lowers nothing.
func (p *Prefill) Under(limit int) int {
	if limit <= 0 || p == nil {
		return limit
	}
	return max(1, limit-p.Tokens)
}

// WithPrefill returns the request with the beginning of its answer behind the
// conversation. It leaves r as it is.
func (r *Request) WithPrefill(p *Prefill) *Request {
	out := *r
	out.MaxTokens = p.Under(r.MaxTokens)
	out.Messages = slices.Clone(r.Messages)
	n := len(out.Messages) - 1
	if n < 0 || out.Messages[n].Role != Assistant {
		out.Messages = append(out.Messages, Message{Role: Assistant, Blocks: []Block{{Kind: Text, Text: p.Text}}})
		return &out
	}
	m := &out.Messages[n] // the caller has begun the answer itself
	m.Blocks = slices.Clone(m.Blocks)
	if k := len(m.Blocks) - 1; k >= 0 && m.Blocks[k].Kind == Text {
		m.Blocks[k].Text += p.Text
	} else {
		m.Blocks = append(m.Blocks, Block{Kind: Text, Text: p.Text})
	}
	return &out
}

// PrefillForm is how a wire writes the beginning of an answer.
type PrefillForm struct {
	List          string   // the key of the conversation
	Before, After string   // what stands around the text of a turn, a JSON string
	Limits        []string // the keys of the caller's limits on the answer
}

// Prefill lays the beginning of an answer behind the conversation, and lowers
// the limits on the answer. Where the caller has begun the answer itself, its
// text grows.
func (e *Editor) Prefill(p *Prefill, f PrefillForm) {
	for _, key := range f.Limits {
		if m := e.Find(key); m != nil {
			s := scan.New(m.Value)
			if n, ok := s.Int(); ok {
				e.Set(key, strconv.AppendInt(nil, int64(p.Under(n)), 10))
			}
		}
	}
	text := scan.AppendString(nil, p.Text)
	turn := slices.Concat([]byte(f.Before), text, []byte(f.After))
	m := e.Find(f.List)
	if m == nil {
		e.Set(f.List, slices.Concat([]byte{'['}, turn, []byte{']'}))
		return
	}
	s := scan.New(m.Value)
	switch s.Kind() {
	case scan.String: // a prompt that is no list is a turn of the user
		e.Set(f.List, slices.Concat([]byte(`[{"role":"user","content":`), m.Value, []byte("},"), turn, []byte{']'}))
	case scan.Array:
		end := m.At + s.Offset() + 1
		own := 0
		for range s.Items() {
			probe := s
			_, to := s.Span()
			end, own = m.At+to, endOfAnswer(&probe, m.At)
			turn = append(turn[:0], ',') // behind an item
			turn = append(append(append(turn, f.Before...), text...), f.After...)
		}
		if own > 0 {
			e.Replace(own, own, text[1:len(text)-1])
			return
		}
		e.Replace(end, end, turn)
	}
}

// endOfAnswer returns where in the body the text of an assistant's turn ends,
// before its quote; 0 if the turn is another's, or does not end with text.
func endOfAnswer(s *scan.Scanner, base int) int {
	assistant, end := false, 0
	text := func(s *scan.Scanner) int {
		if s.Kind() != scan.String {
			return 0
		}
		_, to := s.Span()
		return base + to - 1
	}
	for key := range s.Fields() {
		switch string(key) {
		case "role":
			assistant = string(s.Word()) == "assistant"
		case "content":
			if end = text(s); end > 0 {
				continue
			}
			for range s.Items() {
				end = 0
				for key := range s.Fields() {
					if string(key) == "text" {
						end = text(s)
					}
				}
			}
		}
	}
	if !assistant {
		return 0
	}
	return end
}
