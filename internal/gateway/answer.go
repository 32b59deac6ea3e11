package gateway

import (
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/openai"
)

// relay returns what turns the provider's stream into the caller's.
func (x *exchange) relay(a *attempt) wire.Relay {
	switch {
	case x.rescue.resuming():
		return wire.Translate(a.decoder(), x.goOn(a), x.back(a))
	case a.same:
		return x.passing(a)
	}
	return wire.Translate(a.decoder(), x.telling(a, x.encoder(a), nil), x.back(a))
}

func (x *exchange) encoder(a *attempt) wire.Encoder {
	return x.codec.NewEncoder(x.encoderOptions(a))
}

func (x *exchange) encoderOptions(a *attempt) wire.EncoderOptions {
	return wire.EncoderOptions{
		ID: x.answerID(), Model: x.head.Model, Created: x.req.At.Unix(),
		WantUsage: x.head.WantUsage, InputTokens: a.tokens(x.head.Tokens), Signed: a.same,
	}
}

var answerPrefix = map[drey.Wire]string{drey.WireAnthropic: "msg_", drey.WireChat: "chatcmpl-", drey.WireResponses: "resp_"}

// answerID names an answer that was translated. It is made of the request's
// id, so that either leads to the row.
func (x *exchange) answerID() string {
	return answerPrefix[x.req.Wire] + x.ownID()
}

// ownID is the request's id without its prefix.
func (x *exchange) ownID() string { return strings.TrimPrefix(string(x.req.ID), "req_") }

// whole passes on an answer in one piece.
func (x *exchange) whole(a *attempt, body []byte) result {
	var res result
	if a.same {
		rep, err := a.codec.Inspect(body)
		if err != nil {
			return x.broken(res, err)
		}
		body, rep = a.mendWhole(body, rep)
		res.report(rep)
		if rep.Usage == nil && !rep.Empty {
			res.contents = estimate(a.codec, body)
		}
		if x.embeds {
			if body, err = openai.PackEmbeddings(x.req.Body, body); err != nil {
				return x.broken(res, err)
			}
			if res.usage.Estimated {
				res.usage.Input = x.head.Tokens
			}
		}
		return x.deliver(a, res, body, rep.Empty)
	}
	r, err := a.codec.DecodeResponse(body)
	if err != nil {
		return x.broken(res, err)
	}
	x.giveBack(a, r)
	out, err := x.encode(r)
	if err != nil {
		return x.broken(res, err)
	}
	res.report(reportOf(r))
	if r.Usage.Output == 0 {
		res.contents = tokensOf(r)
	}
	return x.deliver(a, res, out, isEmpty(r))
}

// encode writes a translated answer in the caller's wire, under our id.
func (x *exchange) encode(r *wire.Response) ([]byte, error) {
	r.ID, r.Created = x.answerID(), x.req.At.Unix()
	if r.Model == "" {
		r.Model = x.head.Model
	}
	return x.codec.EncodeResponse(r)
}

// assemble makes one piece of a stream, for a caller that asked for no stream.
func (x *exchange) assemble(a *attempt, st *upstream.Stream) result {
	var made *wire.Response
	relay := wire.Assemble(a.codec.NewDecoder(), wire.Back{}, func(r *wire.Response) ([]byte, error) {
		x.giveBack(a, r)
		made = r
		return x.encode(r)
	})
	var body []byte
	res := x.read(a, st, relay, func(s step) error {
		body = append(body, s.out...)
		return nil
	})
	if !res.ok {
		return res
	}
	res.stop = made.Stop
	return x.deliver(a, res, body, isEmpty(made))
}

// play tells an answer that came in one piece as a stream.
func (x *exchange) play(a *attempt, body []byte) result {
	if x.rescue.resuming() {
		return x.playRest(a, body)
	}
	var res result
	r, err := a.codec.DecodeResponse(body)
	if err != nil {
		return x.broken(res, err)
	}
	x.giveBack(a, r)
	res.report(reportOf(r))
	if r.Usage.Output == 0 {
		res.contents = tokensOf(r)
	}
	enc := x.encoder(a)
	var out []byte
	for _, ev := range wire.Play(nil, r) {
		out = enc.Encode(out, ev)
	}
	send := func() error { return x.commit(a, out) }
	res.ok = true
	if isEmpty(r) {
		res.empty = send
		return res
	}
	res.firstByte = time.Since(a.start)
	x.settle(res, res.firstByte)
	if send() != nil {
		res.ok, res.committed = false, true
		return x.cancelled(res)
	}
	return res
}

// deliver sends a whole answer, or keeps it if there is nothing in it.
func (x *exchange) deliver(a *attempt, res result, body []byte, empty bool) result {
	send := func() error {
		x.rec.FirstByte = time.Since(x.req.At)
		return x.sink.json(200, x.headers(a, x.way(a.p.ID)), body)
	}
	res.ok = true
	if empty {
		res.empty = send
		return res
	}
	if res.firstByte == 0 {
		res.firstByte = time.Since(a.start)
	}
	x.settle(res, time.Since(a.start))
	if send() != nil {
		res.ok = false
		return x.cancelled(res)
	}
	return res
}

// estimate counts the tokens of an answer whose provider told no usage.
func estimate(c wire.Codec, body []byte) int {
	r, err := c.DecodeResponse(body)
	if err != nil {
		return 0
	}
	return tokensOf(r)
}

// tokensOf counts the tokens of an answer.
func tokensOf(r *wire.Response) int {
	var e wire.Estimator
	e.Blocks(r.Blocks)
	return e.Tokens()
}

func (res *result) report(r wire.Report) {
	res.usage, res.stop, res.model, res.odd = r.Usage, r.Stop, r.Model, r.Odd
}

func reportOf(r *wire.Response) wire.Report {
	u := r.Usage
	return wire.Report{Usage: &u, Stop: r.Stop, Odd: r.Odd, Model: r.Model}
}

// isEmpty reports whether an answer has no tool call and only blank text;
// thinking alone is empty.
func isEmpty(r *wire.Response) bool {
	for _, b := range r.Blocks {
		if b.Kind == wire.ToolUse || b.Kind == wire.Text && strings.TrimSpace(b.Text) != "" {
			return false
		}
	}
	return true
}
