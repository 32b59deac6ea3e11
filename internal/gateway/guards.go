package gateway

import (
	"net/http"

	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// Guards are what a profile says about unattended runs. The zero value guards
// nothing.
type Guards struct {
	Tools   guard.Policy
	Form    guard.StreamForm // how a caller of a stream is refused
	Context guard.Budget
}

// guard has the guards of tool calls look at the request, before anybody is
// asked. A hint of theirs becomes part of the request; a refusal is to answer
// it.
func (x *exchange) guard() *guard.Refusal {
	if x.embeds || x.chain.Guards.Tools.Off() {
		return nil
	}
	v := guard.Inspect(x.req.Wire, x.req.Body, x.chain.Guards.Tools)
	x.rec.Guards = v.Tripped
	for _, ev := range v.Events {
		for i, f := range ev.Fields { // a model may call a tool anything
			if text, ok := f.Value.(string); ok {
				ev.Fields[i].Value = x.redact(text)
			}
		}
		x.emit(ev)
	}
	if v.Hint != "" {
		if with, ok := guard.AddHint(x.req.Wire, x.req.Body, v.Hint); ok {
			var e wire.Estimator
			e.Add(v.Hint)
			x.req.Body, x.head.Tokens = with, x.head.Tokens+e.Tokens()
		}
	}
	return v.Refusal
}

// refuse answers with the refusal of a guard. In a stream it is the only event,
// and the body ends well behind it: there is nothing that a reader could take
// for a whole answer, and a broken connection would only be tried again.
func (x *exchange) refuse(r *guard.Refusal) {
	answer := r.Answer(x.codec, guard.Caller{
		ID: x.req.ID, At: x.req.At, Stream: x.head.Stream, UserAgent: x.req.Header.Get("User-Agent"), Form: x.chain.Guards.Form,
	})
	x.rec.Status, x.rec.Error = answer.Status, x.redact(r.Message)
	h := explain(x.way(""))
	var err error
	if answer.Status == http.StatusOK {
		err = x.sink.commit(h, nil, answer.Body)
	} else {
		told(h, route.Told{NoRetry: true})
		err = x.sink.json(answer.Status, h, answer.Body)
	}
	if err != nil {
		x.cancel()
	}
}
