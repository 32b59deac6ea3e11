package gateway

import (
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
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
	// rest is what the attempt under way goes on with once it answers, and asked
	// the request with the beginning of the answer in it, across wires.
	rest  *wire.Continuation
	asked *wire.Request

	standing wire.Standing // of the answer that broke
	prefill  *wire.Prefill // of it, if its rest is sought: all later attempts are to give that; nil = it is not
	before   wire.Usage    // what the beginning took

	mode   RescueMode // of the last break; off = none
	from   drey.ProviderID
	tokens int  // that had come by then
	due    bool // nobody has taken over from it yet
	tried  bool // somebody was asked to
}

// depart notes that an attempt leaves.
func (r *rescue) depart() {
	r.stand, r.rest = nil, nil
	r.tried = r.tried || r.due
}

// resuming reports whether the attempt under way is to give the rest of an
// answer.
func (r *rescue) resuming() bool { return r.prefill != nil }

// prompt is the estimate of what an attempt is asked: of the request, and of
// the beginning of the answer if it is to give the rest.
func (x *exchange) prompt() int {
	n := x.head.Tokens
	if p := x.rescue.prefill; p != nil {
		n += p.Tokens
	}
	return n
}

// maxTokens is how long the caller lets the attempt's answer be; 0 = it does not
// say.
func (x *exchange) maxTokens() int { return x.rescue.prefill.Under(x.head.MaxTokens) }

// watching are the options of who watches a stream that passes as it came.
func (x *exchange) watching() wire.ObserverOptions {
	return wire.ObserverOptions{HideUsage: !x.head.WantUsage, Follow: x.chain.Rescue.Mode == RescueContinue}
}

// followed keeps who follows a stream that passes as it came, if it is followed.
func (x *exchange) followed(a *attempt, watch wire.Observer) wire.Observer {
	if f, ok := watch.(wire.Follower); ok {
		x.rescue.stand = func() wire.Standing { return f.Stand(x.encoderOptions(a)) }
	}
	return watch
}

// telling puts who remembers what the caller is told in front of an encoder, if
// an answer may be continued. watch has seen the provider's own frames, of which
// the caller may have some: there is more in them than in what an encoder is
// told of them. nil = the caller has none.
func (x *exchange) telling(a *attempt, enc wire.Encoder, watch wire.Observer) wire.Encoder {
	if x.chain.Rescue.Mode != RescueContinue {
		return enc
	}
	t := wire.NewTeller(enc)
	x.rescue.stand = t.Stand
	if f, ok := watch.(wire.Follower); ok {
		x.rescue.stand = func() wire.Standing {
			s := t.Stand()
			// Which thoughts were told the Teller knows better.
			if bar := f.Stand(x.encoderOptions(a)).Obstacle; s.Obstacle == wire.NoObstacle && bar != wire.MidThought {
				s.Obstacle = bar
			}
			return s
		}
	}
	return t
}

// goOn returns what writes the rest of the answer.
func (x *exchange) goOn(a *attempt) *wire.Continuation {
	r := &x.rescue
	r.rest = wire.Continue(r.standing, r.before, a.tokens(x.prompt()))
	return r.rest
}

// back is what an answer must get back on its way to the caller. On the same
// wire nothing was changed.
func (x *exchange) back(a *attempt) wire.Back {
	if a.same {
		return wire.Back{}
	}
	asked := x.decoded
	if x.rescue.resuming() {
		asked = x.rescue.asked
	}
	b := wire.NewBack(asked, a.encoded)
	b.Lenient = repair.Arguments
	return b
}

// toEncode is the request that is told across wires.
func (x *exchange) toEncode() *wire.Request {
	if p := x.rescue.prefill; p != nil {
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
			x.forget()
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
	if r.Usage.Output == 0 {
		res.contents = tokensOf(r)
	}
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
	r.before = x.rec.Usage
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
