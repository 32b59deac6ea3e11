package gateway

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// result is how one attempt ended. Exactly one of these holds: it served (ok),
// it failed (verdict), or the caller is gone (verdict of class Cancel).
type result struct {
	ok        bool
	verdict   route.Verdict
	fault     route.Fault
	committed bool          // content had gone out
	firstByte time.Duration // of the attempt, to its first content
	streamed  bool          // and so firstByte is no more than that
	contents  int           // frames of content
	size      int           // and the bytes of it
	flow      time.Duration // from the first of them to the last
	usage     *wire.Usage
	stop      wire.Stop
	model     string
	odd       string // a reason to stop that nobody knows
	// empty delivers a complete answer that has nothing in it, in case no
	// provider has a better one.
	empty func() error
}

// gap is the mean time between the contents of a stream.
func (res *result) gap() time.Duration {
	if res.contents < 2 {
		return 0
	}
	return res.flow / time.Duration(res.contents-1)
}

// seen estimates the tokens of what came of an answer: by its frames, of which
// most servers send one per token, or by its length where some hold many.
func (res *result) seen() int { return max(res.contents, res.size/4) }

// content notes a frame of content that came so long after the start.
func (res *result) content(after time.Duration) {
	if res.contents++; res.contents == 1 {
		res.firstByte = after
	}
	res.flow = after - res.firstByte
}

// note folds what a frame told into the result.
func (res *result) note(s wire.Signal) {
	if s.Usage != nil {
		u := *s.Usage
		if res.usage != nil {
			u = res.usage.Max(u)
		}
		res.usage = &u
	}
	if s.Stop != wire.StopUnknown {
		res.stop = s.Stop
	}
	if s.Odd != "" {
		res.odd = s.Odd
	}
	if s.Model != "" {
		res.model = s.Model
	}
}

// step is what one or more frames of a stream come to, that lay ready together:
// what the caller gets and what it meant.
type step struct {
	out           []byte // valid until take returns
	content, text bool   // as in wire.Signal
	failing       bool   // the next thing is an error
	done          bool   // the answer is complete, and this is the last of it
	pieces        int    // frames of content so far
	next          int    // as in wire.Signal
}

// most bounds what is gathered of frames that lie ready before it is written.
const most = 16 << 10

// buffers are for what streams gather. A stream has one only while it does so:
// most of the time it waits.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, firstBuffer); return &b }}

const (
	firstBuffer = 8 << 10 // what is read at once, and what a mark or an event adds
	mostKept    = 64 << 10
)

// takeBuffer returns a buffer, and the empty slice of it.
func takeBuffer() (buf *[]byte, b []byte) {
	buf = buffers.Get().(*[]byte)
	return buf, (*buf)[:0]
}

// putBuffer returns a buffer that has become b, which nobody reads any more.
func putBuffer(buf *[]byte, b []byte) {
	if cap(b) <= mostKept {
		*buf = b
		buffers.Put(buf)
	}
}

// read drives a provider's stream through its relay to its end. take gets each
// step; an error of it means that the caller is gone. The result is ok if the
// answer is complete.
//
// Frames that lie ready go out in one write: none of them waits for anything,
// and a fast stream costs one system call for many.
func (x *exchange) read(a *attempt, st *upstream.Stream, relay wire.Relay, take func(step) error) (res result) {
	defer st.Close()
	res.streamed = true
	var s step
	var buf *[]byte // of s.out; nil while there is nothing in it
	done := false   // the answer is complete
	for {
		asked := time.Now()
		ev, err := st.Next()
		x.waited += time.Since(asked)
		if buf == nil {
			buf, s.out = takeBuffer()
		}
		var sig wire.Signal
		if err == nil {
			x.heard.frame(ev)
			s.out, sig = relay.Frame(s.out, ev)
		} else {
			// How the connection of a complete answer ends is nobody's loss, and
			// whether the answer is complete the relay knows.
			s.out, sig = relay.Close(s.out)
			if err != io.EOF && (sig.Err != nil || !done && !sig.Done) {
				sig.Err = err
			}
		}
		res.note(sig)
		if sig.Content || sig.Alive {
			st.Content()
			res.content(time.Since(a.start))
		}
		res.size += sig.Size
		s.content, s.text = s.content || sig.Content, s.text || sig.Text
		done = done || sig.Done
		s.failing, s.next, s.pieces = sig.Err != nil, sig.Next, res.contents
		ends := err != nil || sig.Last || s.failing
		if !ends && len(s.out) < most && st.Ready() {
			continue
		}
		if ends && done && !s.failing { // before the caller's last byte
			whole := res
			whole.ok = true
			x.settle(whole, time.Since(a.start))
		}
		s.done = ends && done && !s.failing
		gone := take(s) != nil
		putBuffer(buf, s.out)
		buf, s = nil, step{failing: s.failing}
		if gone {
			return x.cancelled(res)
		}
		switch {
		case s.failing:
			return x.broken(res, sig.Err)
		case !ends:
			continue
		case !done:
			return x.broken(res, &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended before its end mark"})
		}
		st.Finish()
		res.ok = true
		return res
	}
}

// pump passes a stream on. Until the first content everything is held back, so
// that a provider that fails leaves no trace; that content is the commit.
func (x *exchange) pump(a *attempt, st *upstream.Stream, relay wire.Relay) result {
	if x.chain.Rescue.Mode != RescueOff {
		return x.hold(a, st, relay)
	}
	var pending []byte // frames before the commit
	content := false   // some of it was content, if not all of that is in pending yet
	speaking := false  // some of it was more than thinking or blank text
	committed := false
	res := x.read(a, st, relay, func(s step) error {
		content, speaking = content || s.content, speaking || s.text
		switch {
		case committed:
			x.next = s.next
			return x.sink.frames(s.out)
		case s.failing: // not a word of it has gone out, and none shall
			return nil
		case content && len(s.out) > 0:
			committed = true
			x.next = s.next
			first := s.out
			if len(pending) > 0 {
				first = append(pending, first...)
			}
			pending = nil
			return x.commit(a, first)
		default:
			pending = append(pending, s.out...)
			return nil
		}
	})
	res.committed = committed
	if res.ok && !speaking && !committed {
		res.empty = func() error { return x.commit(a, pending) }
	}
	return res
}

// broken turns the error of a stream into the result of its attempt.
func (x *exchange) broken(res result, err error) result {
	if f, ok := errors.AsType[*upstream.Failure](err); ok {
		res.verdict, res.fault = f.Verdict, f.Fault
		return res
	}
	res.verdict, res.fault = x.judge(err)
	return res
}

// judge classifies an answer that came and is bad.
func (x *exchange) judge(err error) (route.Verdict, route.Fault) {
	ev := route.Evidence{Fault: route.MalformedAnswer, Text: err.Error(), At: time.Now(), Redact: x.redact}
	if bad, ok := errors.AsType[*wire.AnswerError](err); ok {
		ev.Text = bad.Msg
		switch bad.Kind {
		case wire.Cut:
			ev.Fault = route.CutAnswer
		case wire.Reported:
			ev.Fault, ev.InBand = route.NoFault, bad.Type
		}
	}
	return route.Classify(ev), ev.Fault
}

// cancelled is the result of an attempt whose caller does not listen any more.
func (x *exchange) cancelled(res result) result {
	res.fault = route.CallerGone
	res.verdict = route.Classify(route.Evidence{Fault: route.CallerGone, Text: "the caller went away", At: time.Now()})
	return res
}
