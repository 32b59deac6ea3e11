package fake

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// frame is one SSE event of an answer.
type frame struct {
	bytes   []byte
	content bool // text, thinking or arguments: what TTFT and Gap wait for
	closing bool // from here on the answer is complete: a cut never gets here
	mark    bool // the end mark
}

// answer is what a behaviour says to one request, before it is put in frames.
type answer struct {
	thinking string
	pieces   []string
	calls    []ToolCall
	stop     string // Anthropic's word
	usage    *Usage // nil = none is told
	first    Usage  // what the first frame of a stream tells
}

// play answers r as b says.
func (u *Upstream) play(ctx context.Context, s sink, r Request, b Behaviour) {
	if b.then != nil && r.HasResult {
		b = *b.then
	}
	if u.opts.Sleep(ctx, b.delay) != nil {
		return
	}
	for k, vs := range b.headers {
		s.Header()[k] = vs
	}
	switch {
	case b.refused:
		u.lose(s, r, refusal)
	case b.lost != nil:
		u.lose(s, r, *b.lost)
	case b.silent:
		<-ctx.Done()
	case b.plain != nil:
		u.playPlain(s, r, *b.plain)
	case b.frames != nil:
		fs := make([]frame, len(b.frames))
		for i, f := range b.frames {
			fs[i] = frame{bytes: []byte(f), content: true}
		}
		u.playFrames(ctx, s, r, b, fs)
	default:
		u.playAnswer(ctx, s, r, b)
	}
}

func (u *Upstream) playPlain(s sink, r Request, p plain) {
	id := fmt.Sprintf("req_fake%020d", r.N)
	var body []byte
	switch {
	case p.body != nil:
		body = p.body(ask{r.Kind, r.Model, id})
	case r.Kind == Messages || r.Kind == CountTokens:
		body = anthropicError(p.errType, p.text, id)
	default:
		body = chatError(chatErrorType(p.errType), p.code, p.text)
	}
	if !u.opts.Ollama {
		s.Header().Set(map[bool]string{true: "Request-Id", false: "X-Request-Id"}[r.Kind == Messages], id)
	}
	contentType := p.contentType
	if contentType == "" {
		contentType = "application/json"
	}
	u.completed(r)
	s.Header().Set("Content-Type", contentType)
	s.WriteHeader(p.status)
	_, _ = s.Write(body) // a caller that is gone is seen by its context
}

func (u *Upstream) playAnswer(ctx context.Context, s sink, r Request, b Behaviour) {
	a := b.resolve(r)
	w := writer{r: r, ollama: u.opts.Ollama, created: u.opts.Now().Unix()}
	if u.opts.Ollama {
		a.first = Usage{Input: 2} // what it really tells before it has counted
	} else if a.usage != nil {
		a.first = *a.usage
	}
	if !r.Stream {
		if u.opts.Sleep(ctx, b.ttft) != nil {
			return
		}
		u.playBody(ctx, s, r, b, w.body(a))
		return
	}
	u.playFrames(ctx, s, r, b, w.frames(a))
}

// playBody sends an answer that is not streamed.
func (u *Upstream) playBody(ctx context.Context, s sink, r Request, b Behaviour, body []byte) {
	s.Header().Set("Content-Type", "application/json")
	if f, ok := b.has(inBand); ok {
		writeJSON(s, http.StatusOK, errorBody(r.Kind, f))
		return
	}
	if _, ok := b.has(malformed); ok {
		writeJSON(s, http.StatusOK, body[:len(body)/2])
		return
	}
	if _, ok := b.has(stall); ok {
		s.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if _, err := s.Write(body[:len(body)/2]); err == nil && s.Flush() == nil {
			<-ctx.Done()
		}
		return
	}
	if f, ok := b.has(cut); ok {
		if f.how != Clean {
			s.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		if _, err := s.Write(body[:len(body)/2]); err == nil && s.Flush() == nil {
			u.lose(s, r, f.how)
		}
		return
	}
	u.completed(r)
	s.Header().Set("Content-Length", strconv.Itoa(len(body)))
	writeJSON(s, http.StatusOK, body)
}

// playFrames streams, with the faults of b at their places.
func (u *Upstream) playFrames(ctx context.Context, s sink, r Request, b Behaviour, frames []frame) {
	s.Header().Set("Content-Type", "text/event-stream")
	s.Header().Set("Cache-Control", "no-cache")
	s.WriteHeader(http.StatusOK)
	if s.Flush() != nil {
		return
	}
	_, noMark := b.has(unmarked)
	begun := false
	for n, f := range frames {
		if u.faultAt(ctx, s, r, b, n, f.closing) {
			return
		}
		if f.mark && noMark {
			return
		}
		if f.content {
			wait := b.gap
			if !begun {
				wait, begun = b.ttft, true
			}
			if u.opts.Sleep(ctx, wait) != nil {
				return
			}
		}
		if n == len(frames)-1 {
			u.completed(r)
		}
		if _, err := s.Write(f.bytes); err != nil || s.Flush() != nil {
			return
		}
	}
	u.faultAt(ctx, s, r, b, len(frames), true)
}

// faultAt plays what is due before the n-th event and reports whether that was
// the end. Faults that end a stream come no later than its closing.
func (u *Upstream) faultAt(ctx context.Context, s sink, r Request, b Behaviour, n int, closing bool) (over bool) {
	for _, f := range b.faults {
		due := f.after == n || closing && f.after > n
		switch {
		case !due:
		case f.kind == cut:
			u.lose(s, r, f.how)
			return true
		case f.kind == stall:
			<-ctx.Done()
			return true
		case f.kind == inBand:
			_, _ = s.Write(errorFrame(r.Kind, f)) // it is the end either way
			return true
		case f.kind == malformed && f.after == n:
			if _, err := s.Write([]byte("data: {\"broken\n\n")); err != nil || s.Flush() != nil {
				return true
			}
		}
	}
	return false
}

// lose loses the connection, which is the fake's doing and not the caller's.
func (u *Upstream) lose(s sink, r Request, how Loss) {
	u.completed(r)
	s.lose(how)
}

// resolve says what b answers to r.
func (b Behaviour) resolve(r Request) answer {
	a := answer{thinking: b.thinking, pieces: b.pieces, stop: b.stop}
	if b.echo {
		a.pieces = strings.SplitAfter(r.Text, " ")
	}
	for _, c := range b.calls {
		if c.Name == "" {
			if len(r.Tools) == 0 {
				a.pieces = append(a.pieces[:len(a.pieces):len(a.pieces)], "The request declares no tool that could be called.")
				continue
			}
			c.Name = r.Tools[0]
		}
		if b.textCall != "" {
			text := strings.NewReplacer("{name}", c.Name, "{args}", c.Args).Replace(b.textCall)
			a.pieces = append(a.pieces[:len(a.pieces):len(a.pieces)], strings.SplitAfter(text, " ")...)
			continue
		}
		a.calls = append(a.calls, c)
	}
	if a.stop == "" {
		a.stop = "end_turn"
		if len(a.calls) > 0 {
			a.stop = "tool_use"
		}
	}
	switch {
	case b.noUsage:
	case b.usage != nil:
		a.usage = b.usage
	default:
		a.usage = &Usage{Input: estimate(len(r.Body)), Output: estimate(a.size())}
	}
	return a
}

// size returns the length of the answer in bytes.
func (a answer) size() int {
	n := len(a.thinking)
	for _, p := range a.pieces {
		n += len(p)
	}
	for _, c := range a.calls {
		n += len(c.Name) + len(c.Args)
	}
	return n
}

// estimate counts tokens as everybody does who has no tokenizer.
func estimate(size int) int { return (size + 3) / 4 }

func format(f string, args ...any) []byte { return fmt.Appendf(nil, f, args...) }
