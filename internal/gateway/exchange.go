package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/affinity"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// exchange is one request on its way: it performs what the walk decides. It
// belongs to the goroutine of its request.
type exchange struct {
	g      *Gateway
	gen    *generation
	req    *Request
	codec  wire.Codec // the caller's
	head   wire.Head
	choice route.Choice
	chain  *chain
	embeds bool // it asks for embeddings
	walk   route.Walk
	sink   *sink
	rec    *Record
	now    time.Time // of the last event

	cut           context.CancelCauseFunc // ends the request
	pass          health.Pass             // of the attempt under way
	away          bool                    // that has not ended yet
	panic, queued bool                    // as in the plan

	decoded *wire.Request // made when the first provider of another wire is tried
	noted   map[wire.Note]bool
	untold  route.Verdict // of a provider to whom the request could not be told
	waited  time.Duration // in attempts: not drey's own time
	empty   func() error  // delivers the last empty answer
	given   bool          // the answer is an empty one, because nobody had a better
	aborted bool          // the connection must not end cleanly
	next    int           // responses: the number of the caller's next event

	// What goes beside the way of the request, each with a file of its own.
	talk    affinity.Conversation // order: of a chain with pools
	known   []known               // order: who of them knows it
	tight   tight                 // window: what the context budget did
	money   money                 // money: what was reserved and charged
	heard   *listener             // drift: of the attempt under way
	made    int                   // mend: calls that were made of text
	rescue  rescue                // rescue: for a stream that breaks
	capture *capture              // capture: nil = nothing is kept
}

// run takes the request down its chain and answers the caller.
func (x *exchange) run(ctx context.Context) {
	deadline := x.req.At.Add(x.chain.total())
	if !x.head.Stream {
		if d, ok := route.CallerDeadline(x.req.Header.Get("X-Stainless-Timeout"), x.req.At); ok && d.Before(deadline) {
			deadline = d
		}
	}
	ctx, x.cut = context.WithCancelCause(ctx)
	defer x.cut(nil)
	defer time.AfterFunc(time.Until(deadline), func() { x.cut(upstream.ErrTotalTimeout) }).Stop()

	for act := x.begin(deadline); ; {
		var ev route.Event
		switch a := act.(type) {
		case route.Try:
			ev = x.attempt(ctx, a)
		case route.Relay:
			x.relayed(a)
			return
		case route.Give:
			x.give(a.Provider)
			return
		case route.Fail:
			x.fail(ctx, a)
			return
		default: // the walk has ended with an answer
			return
		}
		act = x.step(ev)
	}
}

// begin resolves who may be asked, and returns what is to be done first. What it
// needs is large; in a function of its own it is not on the stack while an answer
// streams.
func (x *exchange) begin(deadline time.Time) route.Action {
	var table [8]route.Live
	live := x.order(x.gen.live(x.g.healer, x.chain.ID, table[:0]))
	plan := route.Resolve(&x.chain.Chain, live, route.Ask{
		At: x.now, Tokens: x.head.Tokens, Needs: route.Needs(x.head.Needs), CallerKey: x.req.Key.Secret != "",
		OverBudget: x.overBudget(),
	})
	x.preferRoom(&plan, live)
	x.resolved(plan, live)
	x.panic, x.queued = plan.Panic, plan.Queued
	x.g.profiles.requested(x.chain.ID, x.now)

	return x.step(route.Began{At: x.now, Plan: plan, Tokens: x.head.Tokens, Deadline: deadline})
}

// step tells the walk what happened and returns what is to be done.
func (x *exchange) step(ev route.Event) (act route.Action) {
	x.walk, act = route.Step(x.walk, ev, x.chain.Retry)
	return act
}

// attempt performs one try and returns its end as the walk's next event.
func (x *exchange) attempt(ctx context.Context, t route.Try) route.Event {
	if t.Retry && !x.g.profiles.mayRetry(x.chain, time.Now()) {
		x.now = time.Now()
		return route.RetryRefused{At: x.now, Provider: t.ID}
	}
	if t.After > 0 {
		sleep(ctx, t.After) // if the context ends first, the attempt finds it ended and says why
		x.waited += time.Since(x.now)
	}
	x.untrim()
	l := x.chain.lanes[t.Index]
	if ev := x.leave(ctx, l, t); ev != nil {
		return ev
	}
	if ev := x.reserve(ctx, l, t); ev != nil {
		return ev
	}
	start := time.Now()
	x.trying(t)
	x.rescue.depart()
	res := x.try(ctx, l)
	x.now = time.Now()
	took := x.now.Sub(start)
	x.settle(res, took)
	if res.ok && res.empty != nil && x.chain.EmptyAnswer == EmptyFallback {
		x.empty = res.empty
		res.ok = false
		res.fault = route.EmptyAnswer
		res.verdict = route.Classify(route.Evidence{Fault: route.EmptyAnswer, Text: "the answer is empty", At: x.now})
	}
	x.ended(l, res, took)
	x.drifting(l, res)
	resumable := x.broke(l, res)
	if res.ok {
		x.served(l, res)
		return route.Served{Provider: t.ID}
	}
	return route.Failed{
		At: x.now, Provider: t.ID, Verdict: res.verdict, Committed: res.committed, Resumable: resumable, Took: took, Rand: x.g.random(),
	}
}

// served ends a request that a provider answered.
func (x *exchange) served(l *lane, res result) {
	if res.empty != nil {
		if x.chain.EmptyAnswer == EmptyWarn {
			x.event(drey.Warn, "empty-answer", drey.F("profile", x.chain.ID), drey.F("provider", l.p.ID))
		}
		if res.empty() != nil {
			x.cancel()
			return
		}
	}
	x.rec.Outcome, x.rec.Status = OutcomeOK, http.StatusOK
}

// give delivers an empty answer, because nobody had a better one.
func (x *exchange) give(from drey.ProviderID) {
	x.rec.Provider, x.given = from, true
	if x.empty() != nil {
		x.cancel()
		return
	}
	x.rec.Outcome, x.rec.Status = OutcomeOK, http.StatusOK
}

// cancel ends a request whose caller has gone.
func (x *exchange) cancel() {
	x.rec.Outcome = OutcomeCancel
	if x.rec.Status == 0 {
		x.rec.Status = statusGone
	}
}

// statusGone is what rows say where the caller left before there was a status:
// nginx's "client closed request".
const statusGone = 499

// commit sends the first content of a provider's answer.
func (x *exchange) commit(a *attempt, first []byte) error {
	x.spoke()
	x.tookOver(a)
	way := x.way(a.p.ID)
	x.rec.FirstByte = time.Since(x.req.At)
	x.forget()
	return x.sink.commit(x.headers(a, way), x.comment(a, way), first)
}

// forget lets go of what only asking a provider needs, once nobody will be asked
// any more: an answer may take an hour, and a thousand prompts are much to keep
// that long.
func (x *exchange) forget() {
	if x.chain.Rescue.Mode == RescueContinue && x.rescue.prefill == nil {
		return // somebody may have to go on with it
	}
	x.req.Body, x.decoded, x.head.Declared = nil, nil, nil
	x.tight.whole.body, x.rescue.asked = nil, nil
}

// way tells how the request got to the provider that served it; "" means that
// none did.
func (x *exchange) way(served drey.ProviderID) route.Explanation {
	e := route.Explain(x.chain.ID, x.walk, served)
	if x.given {
		e.Attempts-- // the attempt that was not good enough is the one that serves
	}
	return e
}

func explain(e route.Explanation) http.Header {
	h := make(http.Header, 8)
	e.Each(func(k, v string) { h[k] = []string{v} })
	return h
}

// relayed passes on a provider's refusal of the request itself, which may be
// drey's own in its place.
func (x *exchange) relayed(r route.Relay) {
	if r.Verdict == x.untold {
		x.tell(route.Refusal{Case: route.CaseBadRequest, At: x.now}.Tell(x.req.Wire), wire.Error{Message: r.Verdict.Text})
		return
	}
	x.tell(route.Relayed(r.Verdict, x.req.Wire), wire.Error{Message: r.Verdict.Text})
}

// fail answers with an error of drey's own.
func (x *exchange) fail(ctx context.Context, f route.Fail) {
	if f.Case == route.CaseCancelled && !drained(ctx) || x.sink.abandoned() {
		x.cancel()
		return
	}
	if f.Uniform != 0 {
		x.emit(drey.Event{
			Level: drey.Warn, Name: "chain-uniform-auth-failure", Machine: "profile", ID: string(x.chain.ID),
			Fields: []drey.Field{drey.F("profile", x.chain.ID), drey.F("status", f.Uniform),
				drey.F("hint", "every provider refused its credential: check the keys that the configuration names")},
		})
	}
	if f.Case == route.CaseNoProvider {
		x.exhausted(f)
	}
	if f.Case == route.CaseNotEligible && f.Code == string(route.ReasonPaid) {
		x.emit(drey.Event{
			Level: drey.Warn, Name: "paid-gate-blocked", Machine: "profile", ID: string(x.chain.ID),
			Fields: []drey.Field{drey.F("profile", x.chain.ID)},
		})
	}
	told := route.Refusal{
		Case: f.Case, Code: f.Code, At: x.now, RetryAt: f.RetryAt, InARow: x.g.profiles.failedInARow(x.chain.ID),
	}.Tell(x.req.Wire)
	e := wire.Error{Message: f.Message(x.chain.ID, x.walk)}
	if why, ok := errors.AsType[*drey.Error](context.Cause(ctx)); ok && why.Err != nil && f.Case == route.CaseCancelled {
		e.Message = why.Err.Error() + "; " + why.Hint
	}
	if f.Case == route.CaseBudget {
		x.spent(f, &e)
	}
	if told.RetryAfter > 0 {
		e.Detail, _ = json.Marshal(f.Detail(x.walk, x.redact)) // strings and numbers: it cannot fail
	}
	x.tell(told, e)
	if (f.Case == route.CaseNotEligible || f.Case == route.CaseBudget) && x.rec.Outcome == OutcomeFailed {
		x.rec.Outcome = OutcomeRefused // nobody was asked, and only a person can change that
	}
}

// drained reports whether it was not the caller who ended the request but an
// operator or the end of the daemon: then there is somebody left to be told.
func drained(ctx context.Context) bool {
	_, ok := errors.AsType[*drey.Error](context.Cause(ctx))
	return ok
}

// tell sends an error, by itself or in the stream that has begun.
func (x *exchange) tell(t route.Told, e wire.Error) {
	e.Type, e.Code, e.RequestID = t.Type, t.Code, string(x.req.ID)
	e.Message = x.redact(e.Message)
	e.Sequence, e.Created = x.next, x.req.At.Unix()
	x.rec.Error, x.rec.Status, x.rec.Outcome = e.Message, t.Status, OutcomeFailed
	phase := x.sink.now()
	if phase == held {
		h := explain(x.way(""))
		told(h, t)
		if x.sink.json(t.Status, h, x.codec.Error(e)) != nil {
			x.cancel()
		}
		return
	}
	x.rec.Status = http.StatusOK // it went out before the failure
	frame := x.codec.StreamError(e)
	if phase == committed {
		x.rec.Outcome = OutcomeFailedMidstream
	} else {
		frame = append(x.way("").Comment(), frame...)
	}
	if x.sink.frames(frame) != nil {
		x.cancel()
		return
	}
	// Readers of this wire may look only at the end of the body, and must not
	// find a clean one.
	x.aborted = x.req.Wire == drey.WireChat
}

// redact takes secrets out of what a provider said: those of the configuration,
// and the caller's own credential, which a provider of key: caller has seen.
func (x *exchange) redact(s string) string {
	if own := x.req.Key.Secret; len(own) >= shortestSecret {
		s = strings.ReplaceAll(s, own, "[redacted]")
	}
	return x.g.redact(s)
}

// shortestSecret is the length below which a secret is not looked for: any
// answer might contain it.
const shortestSecret = 8

// told adds what tells a client whether and when to come back.
func told(h http.Header, t route.Told) {
	if t.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(t.RetryAfter)}
	}
	if t.NoRetry {
		h["X-Should-Retry"] = []string{"false"}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
