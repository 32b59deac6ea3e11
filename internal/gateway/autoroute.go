package gateway

import (
	"sync/atomic"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/autoroute"
	"github.com/dreyhq/drey/internal/wire"
)

// AutoRouter is an auto-router at work. It may be used concurrently.
type AutoRouter struct {
	router *autoroute.Router
	told   []atomic.Bool // by rule: it has failed, and somebody has been told
}

// NewAutoRouter puts a router to work.
func NewAutoRouter(r *autoroute.Router) *AutoRouter {
	return &AutoRouter{router: r, told: make([]atomic.Bool, r.Rules())}
}

// asker returns what routing calls if nothing stronger than the auto-router
// names a profile; nil where there is no auto-router. The verdict is kept with
// the request.
func (a *AutoRouter) asker(r *Request, head wire.Head) func() drey.ProfileID {
	if a == nil {
		return nil
	}
	return a.ask(r, head) // by itself, so that only here head is on the heap
}

func (a *AutoRouter) ask(r *Request, head wire.Head) func() drey.ProfileID {
	return func() drey.ProfileID {
		v := a.router.Choose(autoroute.Request{
			Wire: r.Wire, Head: head, Body: r.Body, Key: r.Key.Name,
			Hour: r.At.Local().Hour(), // people's nights and office hours are local
		})
		r.auto = &v
		return v.Profile
	}
}

// autoRouted tells what the auto-router said of a request, and the first time
// that a rule could not be evaluated.
func (g *Gateway) autoRouted(gen *generation, rec *Record, r *Request) {
	v := r.auto
	if v == nil {
		return
	}
	rec.Events = append(rec.Events, drey.Event{
		At: r.At, Name: "auto-router", RequestID: r.ID,
		Fields: []drey.Field{drey.F("rule_id", v.Rule), drey.F("profile", v.Profile), drey.F("signals", v.Signals)},
	})
	for _, f := range v.Failed {
		if gen.Auto.told[f.Index].Swap(true) {
			continue
		}
		g.recorder.Emit(drey.Event{
			At: r.At, Name: "auto-router-error", Level: drey.Warn, Machine: "auto-router", ID: f.ID, RequestID: r.ID,
			Fields: []drey.Field{drey.F("rule_id", f.ID), drey.F("error", g.redact(f.Err.Error())),
				drey.F("hint", "the rule counts as false for such requests; its condition must hold for them too")},
		})
	}
}
