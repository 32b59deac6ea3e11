package gateway

import (
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// Rescue is what a profile does about streams that break. The zero value does
// nothing: what breaks after its first content is told in-band.
type Rescue struct {
	Mode RescueMode
	// The first content is held back until there are HoldTokens frames of it
	// (most models send one per token) or HoldTime has passed since the first.
	// A HoldTime of 0 holds nothing.
	HoldTokens int
	HoldTime   time.Duration
}

// RescueMode says how far a rescue goes.
type RescueMode string

// The modes, as configuration, events and metrics spell them.
const (
	RescueOff      RescueMode = ""         // zero value
	RescueRestart  RescueMode = "restart"  // another provider begins anew while the caller has nothing yet
	RescueContinue RescueMode = "continue" // besides, another one goes on with text that the caller has
)

// RescueOutcome is how a rescue ended, for the metrics.
type RescueOutcome string

// The outcomes.
const (
	RescueOK     RescueOutcome = "ok"     // somebody took over, and the answer came to its end
	RescueFailed RescueOutcome = "failed" // somebody was asked, and the answer did not come to its end
	RescueNobody RescueOutcome = "nobody" // no other provider could be asked
	RescueUnsafe RescueOutcome = "unsafe" // what the caller had been told forbids to go on
	RescueCancel RescueOutcome = "cancel" // the caller left, or an operator ended it
)

// RescueRecord is how the last break of a request's stream was taken. The zero
// value means that none broke, or that the profile does not mind.
type RescueRecord struct {
	Mode    RescueMode
	Outcome RescueOutcome
}

// rescue is what a request keeps for the case that its stream breaks. It is
// idle, and costs nothing, where the profile's mode is off.
type rescue struct {
	// stand tells where the caller's stream stands, once that of the attempt
	// under way has broken; nil = it is not followed.
	stand func() wire.Standing
	// resuming says that the attempt under way is to give the rest of an
	// answer, rest is what it goes on with once it answers, and asked the
	// request with the beginning of the answer in it, across wires.
	resuming bool
	rest     *wire.Continuation
	asked    *wire.Request

	standing wire.Standing // of the answer whose rest is sought
	prefill  *wire.Prefill // of it; nil = none is
	before   wire.Usage    // what the beginning took

	mode   RescueMode // of the last break; off = none
	from   drey.ProviderID
	tokens int  // that had come by then
	due    bool // nobody has taken over from it yet
	tried  bool // somebody was asked to
}

// depart notes that an attempt leaves.
func (r *rescue) depart(t route.Try) {
	r.stand, r.rest, r.resuming = nil, nil, t.Resume
	r.tried = r.tried || r.due
}

// followed is relay for an answer that may have to be continued, and for the
// rest of one.
func (x *exchange) followed(a *attempt) wire.Relay {
	r := &x.rescue
	if r.resuming {
		return wire.Translate(a.decoder(), x.goOn(a), x.back(a))
	}
	if !a.same {
		return wire.Translate(a.decoder(), x.telling(x.encoder(a)), x.back(a))
	}
	if a.stage != nil {
		return x.passing(a)
	}
	o := x.codec.NewObserver(wire.ObserverOptions{HideUsage: !x.head.WantUsage, Follow: true})
	if f, ok := o.(wire.Follower); ok {
		r.stand = func() wire.Standing { return f.Stand(x.encoderOptions(a)) }
	}
	return wire.Pass(o, x.codec.EndMark())
}

// telling puts who remembers what the caller is told in front of an encoder.
func (x *exchange) telling(enc wire.Encoder) wire.Encoder {
	t := wire.NewTeller(enc)
	x.rescue.stand = t.Stand
	return t
}

// goOn returns what writes the rest of the answer.
func (x *exchange) goOn(a *attempt) *wire.Continuation {
	r := &x.rescue
	r.rest = wire.Continue(r.standing, r.before, a.tokens(x.head.Tokens+r.prefill.Tokens))
	return r.rest
}

// back is what an answer must get back on its way to the caller. On the same
// wire nothing was changed.
func (x *exchange) back(a *attempt) wire.Back {
	switch {
	case a.same:
		return wire.Back{}
	case x.rescue.resuming:
		return wire.NewBack(x.rescue.asked, a.encoded)
	}
	return wire.NewBack(x.decoded, a.encoded)
}

// begun is the beginning of the answer that the attempt under way is to give
// the rest of; nil where it gives all of it.
func (x *exchange) begun() *wire.Prefill {
	if !x.rescue.resuming {
		return nil
	}
	return x.rescue.prefill
}

// toEncode is the request that is told across wires.
func (x *exchange) toEncode() *wire.Request {
	if p := x.begun(); p != nil {
		x.rescue.asked = x.decoded.WithPrefill(p)
		return x.rescue.asked
	}
	return x.decoded
}

// readRest passes on the rest of an answer. Nothing of it goes out before there
// is something new in it, and then it can not be taken back any more.
func (x *exchange) readRest(a *attempt, st *upstream.Stream, relay wire.Relay) result {
	told := false
	res := x.read(a, st, relay, func(s step) error {
		if len(s.out) == 0 {
			return nil
		}
		if !told {
			told = true
			x.spoke()
			x.tookOver(a)
		}
		x.next = s.next
		return x.sink.frames(s.out)
	})
	return x.restEnded(res, told)
}

// playRest is play for the rest of an answer.
func (x *exchange) playRest(a *attempt, body []byte) result {
	var res result
	r, err := a.codec.DecodeResponse(body)
	if err != nil {
		return x.broken(res, err)
	}
	x.giveBack(a, r)
	res.report(reportOf(r))
	res.firstByte = time.Since(a.start)
	rest := x.goOn(a)
	var out []byte
	for _, ev := range wire.Play(nil, r) {
		out = rest.Encode(out, ev)
	}
	res.ok = true
	if len(out) > 0 {
		x.settle(res, res.firstByte)
		x.tookOver(a)
		if x.next = rest.Next(); x.sink.frames(out) != nil {
			res.ok = false
			res = x.cancelled(res)
		}
	}
	return x.restEnded(res, len(out) > 0)
}

// restEnded judges who was to give the rest of an answer. One that has nothing
// to add may be done with it, or may not have understood; a caller that got an
// end for it could not tell a whole answer from a cut one.
func (x *exchange) restEnded(res result, told bool) result {
	res.committed = told
	if res.ok && !told {
		res.ok, res.fault = false, route.EmptyAnswer
		res.verdict = route.Classify(route.Evidence{Fault: route.EmptyAnswer, Text: "it did not go on with the answer", At: time.Now()})
	}
	return res
}

// tookOver tells that a provider has given the caller something in place of one
// that broke.
func (x *exchange) tookOver(a *attempt) {
	r := &x.rescue
	if !r.due {
		return
	}
	r.due = false
	x.emit(drey.Event{
		At: time.Now(), Name: "stream-rescued", Machine: "profile", ID: string(x.chain.ID), From: string(r.from), To: string(a.p.ID),
		Fields: []drey.Field{drey.F("profile", x.chain.ID), drey.F("mode", string(r.mode)), drey.F("at_tokens", r.tokens)},
	})
}

// broke notes that an attempt failed with an answer under way, and what may be
// done about it. It reports whether the answer may be continued.
func (x *exchange) broke(l *lane, res result) bool {
	r := &x.rescue
	if r.prefill != nil { // somebody was to give the rest
		x.rec.Usage = r.before
		if r.rest != nil && (res.ok || res.committed) {
			x.rec.Usage = r.rest.Usage()
		}
		return false
	}
	switch {
	case res.ok, x.chain.Rescue.Mode == RescueOff, !x.head.Stream, res.contents == 0:
		return false
	case res.fault == route.EmptyAnswer, res.fault == route.TotalTimeout, !route.Mendable(res.verdict):
		return false // it came to an end, or nobody could do better
	case res.committed && r.stand == nil:
		return false // it is told in-band, as without a rescue
	}
	r.tried = r.tried && r.due
	r.mode, r.from, r.tokens, r.due = RescueRestart, l.p.ID, res.contents, true
	if !res.committed {
		return false
	}
	r.mode = RescueContinue
	r.standing = x.checked(r.stand())
	if r.standing.Obstacle != wire.NoObstacle {
		return false
	}
	r.prefill = wire.NewPrefill(r.standing.Text)
	r.tokens = r.prefill.Tokens
	r.before = x.money.bill.usage // its last word on the output was still to come
	r.before.Output, r.before.Estimated = max(r.before.Output, r.tokens), true
	x.rec.Usage = r.before
	return true
}

// checked adds the obstacles that lie in the request: an answer in a given
// format is written by a grammar that begins at its beginning, and what no
// other wire has (several answers, stored state) nobody else has the whole of.
func (x *exchange) checked(s wire.Standing) wire.Standing {
	if s.Obstacle != wire.NoObstacle {
		return s
	}
	if x.decoded == nil {
		x.decoded, _ = x.codec.DecodeRequest(x.req.Body) // one that does not translate is not continued
	}
	switch {
	case strings.TrimSpace(s.Text) == "":
		s.Obstacle = wire.MidThought
	case x.decoded == nil, x.decoded.Format != nil:
		s.Obstacle = wire.OddForm
	}
	return s
}

// rescued is how the last break was taken, once the request has ended. What was
// not mended is told in the row.
func (x *exchange) rescued() RescueRecord {
	r := &x.rescue
	if r.mode == RescueOff {
		return RescueRecord{}
	}
	rec := RescueRecord{Mode: r.mode, Outcome: RescueFailed}
	switch {
	case x.rec.Outcome == OutcomeOK:
		rec.Outcome = RescueOK
		return rec
	case x.rec.Outcome == OutcomeCancel:
		rec.Outcome = RescueCancel
		return rec
	case r.standing.Obstacle != wire.NoObstacle:
		rec.Outcome = RescueUnsafe
	case !r.tried:
		rec.Outcome = RescueNobody
	}
	fields := []drey.Field{drey.F("provider", r.from), drey.F("mode", string(r.mode)), drey.F("outcome", string(rec.Outcome))}
	if r.standing.Obstacle != wire.NoObstacle {
		fields = append(fields, drey.F("obstacle", string(r.standing.Obstacle)))
	}
	x.event(drey.Warn, "rescue-failed", fields...)
	return rec
}
