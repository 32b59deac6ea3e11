package openai

import (
	"encoding/hex"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// Inspect reads a whole chat completion that is passed on unchanged.
func (Chat) Inspect(body []byte) (wire.Report, error) {
	r := wire.Report{Empty: true}
	if err := readAnswer(body, &inspector{r: &r}); err != nil {
		return wire.Report{}, err
	}
	r.Stop = settle(r.Stop, r.Tools > 0)
	return r, nil
}

// DecodeResponse reads a whole chat completion: its first choice.
func (Chat) DecodeResponse(body []byte) (*wire.Response, error) {
	c := collector{r: &wire.Response{}}
	if err := readAnswer(body, &c); err != nil {
		return nil, err
	}
	return c.response(), nil
}

// sink takes what readAnswer finds. Each method gets the scanner in front of
// the value and may take it or leave it.
type sink interface {
	top(key []byte, s *scan.Scanner)     // id, model, created, usage
	finish(s *scan.Scanner)              // finish_reason
	message(key []byte, s *scan.Scanner) // fields of the message
}

// readAnswer walks a chat completion, which is refused unless it has a choice
// with a message. An error that the provider put into a 200 is reported.
func readAnswer(body []byte, to sink) error {
	s := scan.New(body)
	var told *wire.AnswerError
	found := false
	for key := range s.Fields() {
		switch string(key) {
		case "error":
			told = reported(&s)
		case "choices":
			for i := range s.Items() {
				if i > 0 {
					continue
				}
				for key := range s.Fields() {
					switch string(key) {
					case "finish_reason":
						to.finish(&s)
					case "message":
						found = s.Kind() == scan.Object
						for key := range s.Fields() {
							to.message(key, &s)
						}
					}
				}
			}
		default:
			to.top(key, &s)
		}
	}
	switch err := s.End(); {
	case err != nil:
		return bad(err)
	case told != nil:
		return told
	case !found:
		return &wire.AnswerError{Kind: wire.Malformed, Msg: "it has no choice with a message"}
	}
	return nil
}

// inspector fills a report and keeps no text.
type inspector struct{ r *wire.Report }

func (in *inspector) top(key []byte, s *scan.Scanner) {
	switch string(key) {
	case "model":
		in.r.Model, _ = s.Text()
	case "usage":
		if u, ok := readUsage(s); ok {
			in.r.Usage = &u
		}
	}
}

func (in *inspector) finish(s *scan.Scanner) { in.r.Stop = stopOf(unquoted(s)) }

func (in *inspector) message(key []byte, s *scan.Scanner) {
	switch string(key) {
	case "content", "refusal":
		if q := s.Quoted(); q != nil {
			in.text(q)
			return
		}
		for range s.Items() {
			for key := range s.Fields() {
				if string(key) == "text" {
					in.text(s.Quoted())
				}
			}
		}
	case "tool_calls":
		for range s.Items() {
			in.r.Tools++
			in.r.Empty = false
		}
	case "function_call", "audio":
		if s.Kind() == scan.Object {
			in.r.Empty = false
		}
	}
}

func (in *inspector) text(quoted []byte) {
	if !blank(quoted) {
		in.r.Empty = false
	}
}

// unquoted takes a string and returns what stands between its quotes, nil if
// the value is no string. The words that it is used for have no escapes.
func unquoted(s *scan.Scanner) []byte {
	if q := s.Quoted(); q != nil {
		return q[1 : len(q)-1]
	}
	return nil
}

// blank reports whether a string, as it stands in JSON with its quotes, says
// nothing but space.
func blank(quoted []byte) bool {
	for i := 1; i < len(quoted)-1; i++ {
		switch quoted[i] {
		case ' ':
		case '\\':
			if c := quoted[i+1]; c != 'n' && c != 't' && c != 'r' {
				return false
			}
			i++
		default:
			return false
		}
	}
	return true
}

// collector builds the neutral answer.
type collector struct {
	r         *wire.Response
	text      []wire.Block
	reasoning string
	refusal   string
	calls     []wire.Block
}

func (c *collector) top(key []byte, s *scan.Scanner) {
	switch string(key) {
	case "id":
		c.r.ID, _ = s.Text()
	case "model":
		c.r.Model, _ = s.Text()
	case "created":
		n, _ := s.Int()
		c.r.Created = int64(n)
	case "usage":
		c.r.Usage, _ = readUsage(s)
	}
}

func (c *collector) finish(s *scan.Scanner) {
	reason := unquoted(s)
	c.r.Stop, c.r.Odd = stopOf(reason), oddReason(reason)
}

func (c *collector) message(key []byte, s *scan.Scanner) {
	switch string(key) {
	case "content":
		if text, ok := s.Text(); ok {
			c.addText(text)
			return
		}
		for range s.Items() { // some backends answer in parts
			for key := range s.Fields() {
				if string(key) == "text" {
					text, _ := s.Text()
					c.addText(text)
				}
			}
		}
	case "refusal":
		c.refusal, _ = s.Text()
	case "reasoning_content", "reasoning":
		if text, ok := s.Text(); ok && text != "" {
			c.reasoning = text
		}
	case "tool_calls":
		for range s.Items() {
			c.calls = append(c.calls, readCall(s))
		}
	}
}

func (c *collector) addText(text string) {
	if text != "" {
		c.text = append(c.text, wire.Block{Kind: wire.Text, Text: text})
	}
}

// readCall reads a tool call of an answer. The arguments are a string of JSON,
// or the object itself from backends that unpack it.
func readCall(s *scan.Scanner) wire.Block {
	b := wire.Block{Kind: wire.ToolUse}
	for key := range s.Fields() {
		switch string(key) {
		case "id":
			b.ID, _ = s.Text()
		case "function":
			for key := range s.Fields() {
				switch string(key) {
				case "name":
					b.Name, _ = s.Text()
				case "arguments":
					if text, ok := s.Text(); ok {
						b.Input = wire.Arguments(text)
					} else if s.Kind() == scan.Object {
						b.Input = wire.Arguments(string(s.Raw()))
					}
				}
			}
		case "custom":
			for key := range s.Fields() {
				switch string(key) {
				case "name":
					b.Name, _ = s.Text()
				case "input":
					input, _ := s.Text()
					b.Input = customArguments(input)
				}
			}
			b.Alias = &wire.Alias{Name: b.Name, Form: wire.CustomForm}
		}
	}
	if b.Input == nil {
		b.Input = wire.Arguments("")
	}
	return b
}

func (c *collector) response() *wire.Response {
	r := c.r
	if c.reasoning != "" {
		r.Blocks = append(r.Blocks, wire.Block{Kind: wire.Reasoning, Text: c.reasoning})
	}
	for _, b := range c.text {
		// As in a stream: blank text is told only where it is all there is.
		if len(c.calls) == 0 && len(r.Blocks) == 0 || strings.Trim(b.Text, " \t\r\n") != "" {
			r.Blocks = append(r.Blocks, b)
		}
	}
	if c.refusal != "" {
		r.Blocks = append(r.Blocks, wire.Block{Kind: wire.Text, Text: c.refusal})
		r.Stop = wire.StopRefusal
	}
	for i, b := range c.calls {
		if b.ID == "" {
			b.ID = madeID(r.ID, r.Created, i)
		}
		r.Blocks = append(r.Blocks, b)
	}
	r.Stop = settle(r.Stop, len(c.calls) > 0)
	return r
}

// madeID names a tool call that the provider gave no id. It depends on the
// answer alone, so that nothing here needs randomness, and differs from the ids
// of the conversation's other answers, since agents pair results by it.
func madeID(answer string, created int64, n int) string {
	h := fnv.New64a()
	b := append([]byte(answer), 0)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, 0)
	b = strconv.AppendInt(b, int64(n), 10)
	h.Write(b)
	return "call_" + hex.EncodeToString(h.Sum(nil))
}

// EncodeResponse writes a whole chat completion.
func (Chat) EncodeResponse(r *wire.Response) ([]byte, error) {
	var texts, reasoning, calls []*wire.Block
	for i := range r.Blocks {
		switch b := &r.Blocks[i]; b.Kind {
		case wire.Text:
			if b.Text != "" { // beside a call, no text is null
				texts = append(texts, b)
			}
		case wire.Reasoning:
			if b.Text != "" { // some is told by its signature alone, which has no place here
				reasoning = append(reasoning, b)
			}
		case wire.ToolUse:
			calls = append(calls, b)
		}
	}
	dst := make([]byte, 0, 1024)
	dst = append(dst, `{"id":`...)
	dst = scan.AppendString(dst, completionID(r.ID))
	dst = append(dst, `,"object":"chat.completion","created":`...)
	dst = strconv.AppendInt(dst, r.Created, 10)
	dst = append(dst, `,"model":`...)
	dst = scan.AppendString(dst, r.Model)
	dst = append(dst, `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if len(texts) == 0 && len(calls) > 0 {
		dst = append(dst, "null"...)
	} else {
		dst = scan.AppendString(dst, joinText(texts))
	}
	if len(reasoning) > 0 {
		dst = append(dst, `,"reasoning_content":`...)
		dst = scan.AppendString(dst, joinText(reasoning))
	}
	dst = append(dst, `,"refusal":null`...)
	for i, b := range calls {
		if i == 0 {
			dst = append(dst, `,"tool_calls":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendCall(dst, b)
	}
	if len(calls) > 0 {
		dst = append(dst, ']')
	}
	dst = append(dst, `},"logprobs":null,"finish_reason":"`...)
	dst = append(dst, finishOf(r.Stop, len(calls) > 0)...)
	dst = append(dst, `"}],"usage":`...)
	return append(appendUsage(dst, r.Usage), '}'), nil
}

// completionID gives an answer's id this wire's prefix.
func completionID(id string) string {
	const prefix = "chatcmpl-"
	if strings.HasPrefix(id, prefix) {
		return id
	}
	return prefix + string(idsOf(id))
}
