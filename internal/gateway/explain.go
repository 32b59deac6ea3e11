package gateway

import (
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// The events of one request. They are telemetry: kept with its row and found
// by its id. What changes a provider's state or is audited is emitted besides.

// event adds one to the request's row.
func (x *exchange) event(level drey.Level, name string, fields ...drey.Field) {
	x.rec.Events = append(x.rec.Events, drey.Event{
		At: time.Now(), Name: name, Level: level, RequestID: x.req.ID, Fields: fields,
	})
}

// emit journals an event that the request caused.
func (x *exchange) emit(ev drey.Event) {
	ev.RequestID = x.req.ID
	if ev.At.IsZero() {
		ev.At = x.now
	}
	x.g.recorder.Emit(ev)
}

// resolved tells which way the request will go.
func (x *exchange) resolved(p route.Plan, live []route.Live) {
	order := make([]drey.ProviderID, len(p.Candidates))
	for i, c := range p.Candidates {
		order[i] = c.ID
	}
	x.event(drey.Debug, "route-resolved", append([]drey.Field{
		drey.F("profile", x.chain.ID), drey.F("by", x.choice.By.String()), drey.F("providers", order),
	}, x.pooling(p, live)...)...)
	for _, s := range p.Skipped {
		fields := []drey.Field{drey.F("provider", s.ID), drey.F("reason", s.Reason)}
		if s.Reason == route.ReasonBudget {
			fields = append(fields, x.budgetFields(s.ID)...)
		}
		if !s.Until.IsZero() {
			fields = append(fields, drey.F("until", drey.FormatTime(s.Until)))
		}
		x.event(drey.Debug, "provider-skipped", fields...)
	}
}

// trying tells that an attempt leaves.
func (x *exchange) trying(t route.Try) {
	fields := []drey.Field{drey.F("provider", t.ID)}
	if t.Moved != "" {
		fields = append(fields, drey.F("moved", t.Moved))
	}
	if t.Retry {
		fields = append(fields, drey.F("retry", true))
	}
	x.event(drey.Debug, "try-provider", fields...)
}

// ended tells how an attempt ended, in the row and to the provider's lane.
func (x *exchange) ended(l *lane, res result, took time.Duration) {
	rec := AttemptRecord{
		Provider: l.p.ID, OK: res.ok, Class: res.verdict.Class, Committed: res.committed, Resumed: x.rescue.resuming(), Status: res.verdict.Status,
		Took: took, FirstByte: res.firstByte, Gap: res.gap(),
	}
	if res.ok {
		rec.Status = 200
		x.rec.Provider, x.rec.Served, x.rec.Stop = l.p.ID, res.model, res.stop
		x.event(drey.Info, "provider-ok", drey.F("provider", l.p.ID), drey.F("duration_ms", took.Milliseconds()))
		if res.odd != "" {
			x.event(drey.Info, "finish-reason-unknown", drey.F("provider", l.p.ID), drey.F("finish_reason", x.redact(oddly(res.odd))))
		}
	} else {
		rec.Error = x.redact(res.verdict.Text)
		x.event(drey.Warn, "provider-failed", drey.F("provider", l.p.ID), drey.F("class", res.verdict.Class),
			drey.F("status", res.verdict.Status), drey.F("error", rec.Error),
			drey.F("retryable", res.verdict.Class.Retryable()), drey.F("committed", res.committed))
	}
	x.billed(&rec)
	x.rec.Attempts = append(x.rec.Attempts, rec)
	switch {
	case res.ok && !x.embeds: // how fast a model embeds says nothing about how fast it talks
		l.learn(res, took, x.prompt())
	case res.verdict.Class == drey.Resource:
		x.emit(drey.Event{
			Name: "memory-pressure-detected", Level: drey.Warn, Machine: "provider", ID: string(l.p.ID),
			Fields: []drey.Field{drey.F("provider", l.p.ID), drey.F("error", rec.Error)},
		})
	}
}

// notes tells once each what a translation could not carry.
func (x *exchange) notes(p drey.ProviderID, notes []wire.Note) {
	for _, n := range notes {
		if x.noted[n] {
			continue
		}
		if x.noted == nil {
			x.noted = map[wire.Note]bool{}
		}
		x.noted[n] = true
		x.event(drey.Warn, n.Event, drey.F("provider", p), drey.F("type", n.Type), drey.F("name", n.Name))
	}
}

// conclude fills in what is known only at the end, and tells of a fallback.
func (x *exchange) conclude() {
	r := x.rec
	for _, s := range x.walk.Skipped() {
		r.Skipped = append(r.Skipped, Skipped{s.ID, string(s.Reason), s.Until})
	}
	r.Rescue = x.rescued()
	r.Total = time.Since(x.req.At)
	r.Own = max(0, r.Total-x.waited)
	ex := x.way(r.Provider)
	r.FellFrom, r.FellFor = ex.From, ex.Reason()
	if ex.From != "" && ex.To() != "" {
		x.emit(drey.Event{
			At: time.Now(), Name: "fallback-occurred", Machine: "profile", ID: string(x.chain.ID),
			From: string(ex.From), To: string(ex.To()),
			Fields: []drey.Field{drey.F("profile", x.chain.ID), drey.F("reason", ex.Reason())},
		})
	}
}

// oddly is a word of a provider's as an event tells it: no longer than any that
// is known.
func oddly(word string) string { return strings.ToValidUTF8(word[:min(len(word), 64)], "") }
