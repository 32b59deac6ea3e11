package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
)

var codecs = map[drey.Wire]wire.Codec{
	drey.WireAnthropic: anthropic.Codec{},
	drey.WireChat:      openai.Chat{},
	drey.WireResponses: openai.Responses{},
}

// Config is what a gateway works with. All of it is required but
// Healer and Cashier.
type Config struct {
	Recorder Recorder
	Healer   Healer  // nil = nobody keeps the providers, and all of them are taken to be well
	Cashier  Cashier // nil = there are no budgets, and nobody adds up what is spent
	// Redact takes secrets out of what a provider said.
	Redact func(string) string
	// InFlight is told when a request of a wire begins (1) and ends (-1).
	InFlight func(w drey.Wire, delta int)
	// Random is uniform in [0, 1); it spreads retries and the ends of parking.
	Random func() float64
	// Captures takes in what Settings.Capture wants; nil = nothing is captured,
	// and nothing can be sent again.
	Captures *Captures
}

// Gateway serves requests. All methods may be called concurrently.
type Gateway struct {
	recorder Recorder
	healer   Healer
	cashier  Cashier
	redact   func(string) string
	inFlight func(drey.Wire, int)
	random   func() float64
	captures *Captures
	again    replays
	gen      atomic.Pointer[generation]
	profiles profileStates
	talks    talks
	counts   countCache
	rates    rates
	tools    toolCache
	swap     sync.Mutex // one reload at a time
}

// New returns a gateway that serves by the settings.
func New(cfg Config, s Settings) (*Gateway, error) {
	if cfg.Healer == nil {
		cfg.Healer = unkept{}
	}
	if cfg.Cashier == nil {
		cfg.Cashier = unlimited{}
	}
	g := &Gateway{
		recorder: cfg.Recorder, healer: cfg.Healer, cashier: cfg.Cashier, captures: cfg.Captures,
		redact: cfg.Redact, inFlight: cfg.InFlight, random: cfg.Random,
	}
	g.again.cfg = cfg
	gen, err := build(s, nil)
	if err != nil {
		return nil, err
	}
	g.gen.Store(gen)
	return g, nil
}

// Reload builds a new generation whole and swaps it in. Requests under way end
// on theirs; providers that are the same machine keep what was learned of
// them. On an error nothing has changed.
func (g *Gateway) Reload(s Settings) error {
	g.swap.Lock()
	defer g.swap.Unlock()
	last := g.gen.Load()
	gen, err := build(s, last)
	if err != nil {
		return err
	}
	g.gen.Store(gen)
	g.redrift(last, gen)
	for _, l := range last.lanes {
		l.up.Close() // idle connections only: requests under way keep theirs
	}
	return nil
}

// Close closes idle connections to the providers.
func (g *Gateway) Close() {
	for _, l := range g.gen.Load().lanes {
		l.up.Close()
	}
}

// Generate answers one request on w. It returns when the answer is out, or
// when ctx, which is the caller's connection, has ended. Where an answer broke
// in a way that the caller must not take for an end, it panics with
// http.ErrAbortHandler, as the server expects.
func (g *Gateway) Generate(ctx context.Context, w http.ResponseWriter, r *Request) {
	g.serve(ctx, w, r, codecs[r.Wire], false)
}

// Embed answers one request for embeddings: by the providers of the chain that
// speak OpenAI's wire, with everything that Generate does but a translation.
func (g *Gateway) Embed(ctx context.Context, w http.ResponseWriter, r *Request) {
	g.serve(ctx, w, r, openai.Embeddings{}, true)
}

func (g *Gateway) serve(ctx context.Context, w http.ResponseWriter, r *Request, codec wire.Codec, embeds bool) {
	g.inFlight(r.Wire, 1)
	defer g.inFlight(r.Wire, -1)
	gen := g.gen.Load()
	kept := g.capturing(gen, r, embeds)
	defer kept.release()
	rec := &Record{ID: r.ID, At: r.At, Wire: r.Wire, Key: r.Key.Name, Outcome: OutcomeRefused}
	head, choice, refusal := g.choose(gen, codec, r)
	g.autoRouted(gen, rec, r)
	rec.Asked, rec.Stream, rec.Profile = head.Model, head.Stream, choice.Profile
	var ch *chain
	if refusal == nil {
		refusal = g.rates.take(r)
	}
	if refusal == nil {
		if ch = gen.of(choice); embeds {
			ch, refusal = ch.embedders()
		}
	}
	if refusal != nil {
		rec.Status, rec.Error = Refuse(w, r.Wire, r.ID, refusal), g.redact(refusal.Error())
		rec.Total = time.Since(r.At)
		rec.Own = rec.Total
		kept.keep(rec)
		g.recorder.Record(rec)
		return
	}
	x := &exchange{
		g: g, gen: gen, req: r, codec: codec, head: head, choice: choice, chain: ch, embeds: embeds, rec: rec, now: time.Now(), capture: kept,
	}
	broken := x.guard()
	_, _, patience, _ := x.chain.timeouts(x.chain.lanes[0].p)
	x.sink = newSink(w, r, codec, head.Stream, gen.Keepalive, patience)
	if broken != nil {
		x.refuse(broken)
	} else {
		x.run(ctx)
	}
	x.sink.end()
	x.conclude()
	if rec.Outcome == OutcomeOK {
		g.profiles.served(x.chain.ID)
		x.remember()
	}
	kept.keep(rec)
	g.recorder.Record(rec)
	if x.aborted {
		panic(http.ErrAbortHandler)
	}
}

// choose reads what routing needs and picks the profile. An error is told to
// the caller; no provider has been asked.
func (g *Gateway) choose(gen *generation, codec wire.Codec, r *Request) (wire.Head, route.Choice, *Refusal) {
	head, err := codec.Peek(r.Body)
	if err != nil {
		return head, route.Choice{}, badRequest(err)
	}
	if head.Thread {
		return head, route.Choice{}, &Refusal{
			Case: route.CaseBadRequest, Code: "thread_unsupported_request",
			Message: "message threads are not supported: an answer may come from any provider of a chain, and the thread lives at one; send the whole history",
			Details: []byte(`{"error_code":"thread_unsupported_request","unsupported":["thread"]}`),
		}
	}
	choice, err := gen.directory.Choose(route.Choosing{
		Body: head.Profile, Header: r.HeaderProfile, Path: r.PathProfile, Model: head.Model, Allowed: r.Key.Profiles,
		Auto: gen.Auto.asker(r, head),
	})
	if r.again != nil {
		choice, err = r.again.choose(gen, choice, err)
	}
	if err != nil {
		return head, choice, chooseRefusal(err)
	}
	return head, choice, nil
}

func badRequest(err error) *Refusal {
	ref := &Refusal{Case: route.CaseBadRequest, Message: err.Error()}
	if be, ok := errors.AsType[*wire.BodyError](err); ok && be.Field != "" {
		ref.Message = be.Error()
	}
	return ref
}

func chooseRefusal(err error) *Refusal {
	ref := &Refusal{Message: err.Error()}
	if e, ok := errors.AsType[*drey.Error](err); ok {
		ref.Case, ref.Code = route.CaseOf(e)
		ref.Message = e.Err.Error()
	}
	return ref
}
