package gateway

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/wire"
)

// Mending says what is done to a provider's answers before the caller gets
// them. The zero value mends nothing, and treats reasoning by ReasoningAuto.
type Mending struct {
	Repair    bool     // tool calls that were printed as text become calls
	Filters   []string // names of repair's filters, in the order in which they run
	Reasoning Reasoning
}

// Reasoning says what is done with a model's reasoning.
type Reasoning uint8

// The ways. The zero value is the default.
const (
	ReasoningAuto Reasoning = iota // as it comes on the caller's own wire; across wires shown to a caller that asked for thinking, else dropped
	ReasoningDrop                  // no caller gets it
	ReasoningShow                  // every caller gets it as its wire's own
)

// check tells of a filter that there is not.
func (m *Mending) check() error {
	_, err := repair.NewChain(m.Filters, false)
	return err
}

// Mended is what was mended in the answer of one attempt, for its row and the
// metrics.
type Mended struct {
	Provider drey.ProviderID
	Calls    []repair.Call // made of text, in order
	Filters  []string      // those that changed something, in order
}

// mend prepares what is done to the attempt's answer. whole says that it came,
// or will go out, in one piece. An answer that needs nothing gets no Stage.
func (x *exchange) mend(a *attempt, whole bool) {
	if x.embeds || x.head.Choices > 1 {
		return // there is more than one text in it, or none
	}
	o := stage.Options{Filters: a.p.Filters, Whole: whole, Reasoning: x.reasoning(a)}
	if a.p.Repair && len(x.head.Tools) > 0 && !x.head.NoCalls {
		t := x.g.tools.get(x.codec, x.head.Declared)
		if o.Tools = t.tools; a.same {
			o.Aliases = t.aliases
		}
		o.NewID, o.OneCall = x.callID, x.head.OneCall
	}
	if p := x.rescue.prefill; p != nil {
		o.Before = p.Text
	}
	if o.Active() {
		a.stage, _ = stage.New(o) // the names of the filters were checked when the generation was built
	}
}

func (x *exchange) reasoning(a *attempt) stage.Reasoning {
	switch {
	case a.p.Reasoning == ReasoningDrop:
		return stage.Drop
	case a.p.Reasoning == ReasoningShow:
		return stage.Show
	case a.same:
		return stage.Keep // agents send it back
	case x.decoded.Thinking.Asked():
		return stage.Show
	default:
		return stage.Drop
	}
}

// callID names a call that was made of text. It is made of the request's id, so
// that it is the only one of its name in a conversation.
func (x *exchange) callID() string {
	prefix := "call_"
	if x.req.Wire == drey.WireAnthropic {
		prefix = "toolu_"
	}
	x.made++
	return prefix + x.ownID() + "_" + strconv.Itoa(x.made)
}

// decoder reads the provider's stream, mended if it must be.
func (a *attempt) decoder() wire.Decoder {
	if a.stage == nil {
		return a.codec.NewDecoder()
	}
	return stage.Decoder(a.codec.NewDecoder(), a.stage)
}

// passing is the relay to a caller of the provider's own wire.
func (x *exchange) passing(a *attempt) wire.Relay {
	watch := x.codec.NewObserver(x.watching())
	if a.stage == nil {
		return wire.Pass(x.followed(a, watch), x.codec.EndMark())
	}
	return stage.Pass(stage.PassOptions{
		Observer: watch, EndMark: x.codec.EndMark(), Decoder: a.codec.NewDecoder(), Stage: a.stage,
		Level: x.chain.Rescue.Mode == RescueContinue,
		NewEncoder: func(start wire.Event) wire.Encoder {
			o := x.encoderOptions(a)
			o.ID, o.Model, o.Created = start.ID, start.Model, cmp.Or(start.Created, o.Created)
			return x.telling(a, x.codec.NewEncoder(o), watch)
		},
	})
}

// mendWhole mends a whole answer of the caller's own wire. One in which there is
// nothing to mend, or that cannot be read so closely, stays as it came.
func (a *attempt) mendWhole(body []byte, rep wire.Report) ([]byte, wire.Report) {
	if a.stage == nil {
		return body, rep
	}
	r, err := a.codec.DecodeResponse(body)
	if err != nil || !a.stage.Response(r) {
		return body, rep
	}
	out, err := a.codec.EncodeResponse(r)
	if err != nil {
		return body, rep
	}
	rep.Stop, rep.Empty = r.Stop, isEmpty(r)
	return out, rep
}

// giveBack makes the provider's whole answer the caller's: mended, and what the
// translation of the request changed put back.
func (x *exchange) giveBack(a *attempt, r *wire.Response) {
	if a.stage != nil {
		a.stage.Response(r)
	}
	x.back(a).Response(r)
}

// mended tells what was done to the attempt's answer, once it is over. Of one
// that left no trace there is nothing to tell.
func (x *exchange) mended(a *attempt, res result) {
	if a.stage == nil || !res.ok && !res.committed {
		return
	}
	id := a.p.ID
	m := Mended{Provider: id, Calls: a.stage.Calls(), Filters: a.stage.Applied()}
	for _, c := range m.Calls {
		x.event(drey.Info, "tool-call-repaired", drey.F("provider", id), drey.F("shape", c.Shape.String()), drey.F("name", c.Name))
	}
	for _, f := range m.Filters {
		x.event(drey.Info, "output-filter-applied", drey.F("provider", id), drey.F("filter", f))
	}
	if a.stage.Dropped() {
		x.event(drey.Info, "capability-degraded", drey.F("provider", id), drey.F("capability", "reasoning"), drey.F("reason", x.dropReason(a)))
	}
	x.heard.mended(len(m.Calls))
	if len(m.Calls)+len(m.Filters) > 0 {
		x.rec.Mended = append(x.rec.Mended, m)
	}
}

// dropReason says why the caller gets no reasoning.
func (x *exchange) dropReason(a *attempt) string {
	if a.p.Reasoning == ReasoningDrop {
		return "reasoning-drop"
	}
	return "not-asked"
}

// mendedRow is what a row says of what was mended.
func (r *Record) mendedRow() (calls int, filters []string) {
	for _, m := range r.Mended {
		calls += len(m.Calls)
		for _, f := range m.Filters {
			if !slices.Contains(filters, f) {
				filters = append(filters, f)
			}
		}
	}
	return calls, filters
}

// mended counts it.
func (m *Metrics) mended(r *Record) {
	for _, d := range r.Mended {
		for _, c := range d.Calls {
			m.add(1, "drey_repairs_total", string(d.Provider), c.Shape.String())
		}
		for _, f := range d.Filters {
			m.add(1, "drey_filters_total", f)
		}
	}
}
