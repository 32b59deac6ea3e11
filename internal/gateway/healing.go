package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
)

// A Healer keeps the providers healthy; internal/healing has one. Calls come
// concurrently.
type Healer interface {
	// Live returns what routing reads of a provider in a profile. It is called
	// for every provider at every request and takes no lock.
	Live(profile drey.ProfileID, id drey.ProviderID) route.Live
	// Leave lets an attempt leave or says why it may not: a *health.Refused, or
	// the cause of ctx's end. It may wait as long as d allows.
	Leave(ctx context.Context, d health.Departure) (health.Pass, error)
	// Spoke tells that an attempt has given its first content.
	Spoke(p health.Pass)
	// Ended gives a pass back, once. When it returns, what the ending decides
	// is decided.
	Ended(p health.Pass, e health.Ending)
}

// unkept is the Healer where there is none.
type unkept struct{}

func (unkept) Live(drey.ProfileID, drey.ProviderID) route.Live { return route.Live{} }

func (unkept) Leave(context.Context, health.Departure) (health.Pass, error) {
	return health.Pass{}, nil
}

func (unkept) Spoke(health.Pass) {}

func (unkept) Ended(health.Pass, health.Ending) {}

// leave asks whether an attempt may leave. An event is how it ended where it
// may not.
func (x *exchange) leave(ctx context.Context, l *lane, t route.Try) route.Event {
	d := health.Departure{
		Provider: l.p.ID, Profile: x.chain.ID, Action: x.chain.Profile.Action, RequestID: x.req.ID,
		SlotWait: t.SlotWait, RampWait: t.RampWait, Cut: x.cut,
	}
	switch {
	case x.queued:
		d.Revived = true
	case t.Trial && x.panic:
		d.For = health.AskPanic
	case t.Trial:
		d.For = health.AskTrial
	}
	asked := time.Now()
	pass, err := x.g.healer.Leave(ctx, d)
	if err != nil {
		x.now = time.Now()
		x.waited += x.now.Sub(asked)
		return x.stays(ctx, t, err)
	}
	x.pass, x.away = pass, true
	x.waited += pass.Waited
	if pass.For == health.AskPanic {
		x.emit(drey.Event{
			At: time.Now(), Name: "chain-panic-trial", Level: drey.Warn, Machine: "profile", ID: string(x.chain.ID), Cause: pass.Cause,
			Fields: []drey.Field{drey.F("profile", x.chain.ID), drey.F("provider", l.p.ID)},
		})
	}
	return nil
}

// stays is the event of an attempt that did not leave.
func (x *exchange) stays(ctx context.Context, t route.Try, err error) route.Event {
	no, ok := errors.AsType[*health.Refused](err)
	if !ok { // the request has ended while it waited
		v := route.Classify(route.Evidence{Fault: route.CallerGone, Text: "the caller went away", At: x.now})
		if errors.Is(context.Cause(ctx), upstream.ErrTotalTimeout) {
			return route.Full{At: x.now, Provider: t.ID, Reason: route.ReasonBusy, Rand: x.g.random()}
		}
		return route.Failed{At: x.now, Provider: t.ID, Verdict: v, Rand: x.g.random()}
	}
	fields := append([]drey.Field{drey.F("provider", t.ID), drey.F("reason", no.Reason)}, x.budgetFields(t.ID)...)
	if !no.Until.IsZero() {
		fields = append(fields, drey.F("until", drey.FormatTime(no.Until)))
	}
	x.event(drey.Debug, "provider-skipped", fields...)
	reason := route.Reason(no.Reason)
	if no.Full {
		return route.Full{At: x.now, Provider: t.ID, Reason: reason, Rand: x.g.random()}
	}
	return route.Passed{At: x.now, Provider: t.ID, Reason: reason, Until: no.Until, Rand: x.g.random()}
}

// spoke tells that the attempt under way has given content.
func (x *exchange) spoke() {
	if x.away && x.pass.Trial() {
		x.g.healer.Spoke(x.pass)
	}
}

// settle tells how the attempt under way ended, as far as its provider's health
// is concerned. It is called as soon as that is known: before the caller gets
// the last byte, and before the next attempt. Later calls change nothing.
func (x *exchange) settle(res result, took time.Duration) {
	if !x.away {
		return
	}
	x.away = false
	x.charge(res)
	e := health.Ending{OK: res.ok, Latency: took, FirstToken: res.firstByte, Tokens: x.prompt()}
	if v := res.verdict; !res.ok {
		e.Class, e.Status, e.Counts, e.Park, e.RetryAfter = v.Class, v.Status, v.Counts, park(v), v.RetryAfter
		e.Error = x.g.redact(v.Text)
	}
	x.g.healer.Ended(x.pass, e)
}

// park is for what a failure parks its provider.
func park(v route.Verdict) health.Park {
	switch {
	case v.Class == drey.Resource:
		return health.ParkResource
	case !v.Parks:
		return health.NoPark
	case v.Class == drey.RateLimit:
		return health.ParkRateLimit
	case v.Sub == route.Quota:
		return health.ParkQuota
	default:
		return health.ParkAuth
	}
}

// exhausted tells that nobody of the chain is there.
func (x *exchange) exhausted(f route.Fail) {
	type why struct {
		Provider drey.ProviderID `json:"provider"`
		Reason   route.Reason    `json:"reason"`
	}
	reasons := []why{}
	for _, s := range x.walk.Skipped() {
		reasons = append(reasons, why{s.ID, s.Reason})
	}
	told := route.Refusal{Case: f.Case, At: x.now, RetryAt: f.RetryAt}.Tell(x.req.Wire)
	x.emit(drey.Event{
		Name: "chain-exhausted", Level: drey.Warn, Machine: "profile", ID: string(x.chain.ID),
		Fields: []drey.Field{drey.F("profile", x.chain.ID), drey.F("reasons", reasons), drey.F("retry_after_s", told.RetryAfter)},
	})
}
