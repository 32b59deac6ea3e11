package openai

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Embeddings is the codec of the embeddings endpoint as far as it needs one: a
// request is routed by its head and edited in place, an answer is inspected.
// There is nothing to translate, since no other wire has embeddings, and nothing
// streams; errors are those of Chat.
type Embeddings struct{ Chat }

var _ wire.Codec = Embeddings{}

// Peek reads what routing needs of a request for embeddings.
func (Embeddings) Peek(body []byte) (wire.Head, error) {
	p := peek{s: scan.New(body)}
	if err := wire.IsObject(&p.s); err != nil {
		return wire.Head{}, err
	}
	models := 0
	input := false
	for key := range p.s.Fields() {
		switch string(key) {
		case "model":
			models++
			p.head.Model, _ = p.s.Text()
		case "profile":
			p.head.Profile, _ = p.s.Text()
		case "input":
			input = !p.s.Null()
			p.texts()
		}
	}
	switch err := p.s.End(); {
	case err != nil:
		return wire.Head{}, wire.BadJSON(err)
	case models > 1:
		return wire.Head{}, &wire.BodyError{Field: "model", Msg: "named twice; name it once"}
	case !input:
		return wire.Head{}, &wire.BodyError{Field: "input", Msg: "missing; send a text or a list of texts"}
	}
	p.head.Tokens = max(p.head.Tokens, 0) + p.est.Tokens()
	return p.head, nil
}

// texts counts an input: a text, texts, tokens, or lists of tokens.
func (p *peek) texts() {
	if p.s.CountText(&p.est.Count) {
		return
	}
	for range p.s.Items() {
		switch p.s.Kind() {
		case scan.String:
			p.s.CountText(&p.est.Count)
		case scan.Number:
			p.head.Tokens++
		case scan.Array:
			for range p.s.Items() {
				p.head.Tokens++
			}
		}
	}
}

// Rewrite lays the edits beside a request for embeddings. What only means
// something in a conversation is left alone.
func (Embeddings) Rewrite(body []byte, x wire.Edits) (*wire.Body, error) {
	e, err := wire.Edit(body)
	if err != nil {
		return nil, err
	}
	e.Common(wire.Edits{Model: x.Model, Drop: x.Drop})
	return e.Body(), nil
}

// Inspect reads an answer, which is refused unless it has a list of data.
func (Embeddings) Inspect(body []byte) (wire.Report, error) {
	s := scan.New(body)
	var r wire.Report
	var told *wire.AnswerError
	found := false
	for key := range s.Fields() {
		switch string(key) {
		case "error":
			told = reported(&s)
		case "model":
			r.Model, _ = s.Text()
		case "usage":
			if u, ok := readUsage(&s); ok {
				r.Usage = &u
			}
		case "data":
			found = s.Kind() == scan.Array
		}
	}
	switch err := s.End(); {
	case err != nil:
		return wire.Report{}, bad(err)
	case told != nil:
		return wire.Report{}, told
	case !found:
		return wire.Report{}, &wire.AnswerError{Kind: wire.Malformed, Msg: "it has no list of embeddings"}
	}
	if r.Usage == nil {
		r.Usage = &wire.Usage{Estimated: true}
	}
	return r, nil
}

// PackEmbeddings gives an answer the encoding_format that its request names: of
// base64, which the official SDKs ask for unasked, many servers know nothing and
// answer with numbers. Everything else stays byte for byte. Packed are
// little-endian 32-bit floats.
func PackEmbeddings(request, answer []byte) ([]byte, error) {
	packed := false
	s := scan.New(request)
	for key := range s.Fields() {
		if string(key) == "encoding_format" {
			packed = string(s.Word()) == "base64"
		}
	}
	if !packed {
		return answer, nil
	}
	e, err := wire.Edit(answer)
	if err != nil {
		return nil, err
	}
	data := e.Find("data")
	if data == nil {
		return answer, nil
	}
	s = scan.New(data.Value)
	var floats, text []byte
	for range s.Items() {
		for key := range s.Fields() {
			if string(key) != "embedding" || s.Kind() != scan.Array {
				continue
			}
			numbers := s
			from, to := s.Span()
			floats = floats[:0]
			for range numbers.Items() {
				f, err := strconv.ParseFloat(string(numbers.Raw()), 32)
				if err != nil {
					return nil, &wire.AnswerError{Kind: wire.Malformed, Msg: "an embedding holds what is no number"}
				}
				floats = binary.LittleEndian.AppendUint32(floats, math.Float32bits(float32(f)))
			}
			text = append(base64.StdEncoding.AppendEncode([]byte{'"'}, floats), '"')
			e.Replace(data.At+from, data.At+to, text)
		}
	}
	return e.Body().Bytes(), nil
}
