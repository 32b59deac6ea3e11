package gateway

import (
	"errors"
	"io"
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
	flow      time.Duration // from the first of them to the last
	usage     *wire.Usage
	stop      wire.Stop
	model     string
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
	if s.Model != "" {
		res.model = s.Model
	}
}

// pump drives a provider's stream through its relay to the caller. Until the
// first content everything is held back, so that a provider that fails leaves
// no trace; that content is the commit.
func (x *exchange) pump(a *attempt, st *upstream.Stream, relay wire.Relay) result {
	defer st.Close()
	var (
		res      = result{streamed: true}
		pending  []byte // frames before the commit
		out      []byte // frames of this step, reused
		done     bool   // the answer is complete
		speaking bool   // some of it was more than thinking or blank text
	)
	for {
		ev, err := st.Next()
		var sig wire.Signal
		switch {
		case err == nil:
			out, sig = relay.Frame(out[:0], ev)
		case errors.Is(err, io.EOF):
			out, sig = relay.Close(out[:0])
		case done:
			// The answer was complete; how its connection ended is nobody's loss.
			out, sig, err = out[:0], wire.Signal{}, io.EOF
		default:
			return x.broken(res, err)
		}
		res.note(sig)
		done = done || sig.Done
		speaking = speaking || sig.Text
		if sig.Content {
			st.Content()
			res.contents++
			if res.contents > 1 {
				res.flow = time.Since(a.start) - res.firstByte
			}
		}
		if sig.Err != nil {
			return x.broken(res, sig.Err)
		}
		switch {
		case res.committed:
			if x.sink.frames(out) != nil {
				return x.cancelled(res)
			}
		case sig.Content:
			res.firstByte = time.Since(a.start)
			res.committed = true
			if x.commit(a, append(pending, out...)) != nil {
				return x.cancelled(res)
			}
			pending = nil
		default:
			pending = append(pending, out...)
		}
		if err == nil && !sig.Last {
			continue
		}
		if !done {
			return x.broken(res, &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended before its end mark"})
		}
		if sig.Last && err == nil {
			st.Finish()
		}
		res.ok = true
		if !speaking && !res.committed {
			rest := pending
			res.empty = func() error { return x.commit(a, rest) }
		}
		return res
	}
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
	ev := route.Evidence{Fault: route.MalformedAnswer, Text: err.Error(), At: time.Now()}
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
