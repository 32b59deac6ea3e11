package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
)

// ReplayAsk says how a captured request is sent again.
type ReplayAsk struct {
	ID       drey.RequestID  // of the replay itself
	Provider drey.ProviderID // who alone is asked; "" = a chain is gone down
	Profile  drey.ProfileID  // whose chain and policies; "" = the request's own
	Paid     bool            // paid providers may be asked, whatever Settings.AllowPaid says
}

// mostReplays is how many replays may run at once. Each is a person's, who waits
// for it.
const mostReplays = 4

// replays is what a gateway needs to send requests again.
type replays struct {
	cfg     Config // that of the gateway
	running atomic.Int32
}

// again marks a request that is a captured one, sent again.
type again struct {
	ask      ReplayAsk
	original drey.ProfileID // "" = not known
	capture  *capture       // what the providers answer this time
}

// Replay sends a captured request again and returns both answers side by side.
// The answer goes to nobody else. The providers' health, the retry budgets and
// the metrics hear nothing of it; its row names the request that it repeats. A
// provider that is excluded by its health is asked all the same if the ask names
// it, and one that an operator took out is not.
//
// A provider that fails is no error: the replay's side says so. Errors are
// *drey.Error: invalid_argument for a name that the configuration does not have
// and a capture that cannot be sent, paid_gate where only money would help and
// the ask does not allow it, limit_reached while too many run, and the cause of
// ctx's end.
func (g *Gateway) Replay(ctx context.Context, c *api.Capture, ask ReplayAsk) (*api.Replay, error) {
	if g.captures == nil {
		return nil, refused(api.CodeUnavailable, "nothing is captured here", "")
	}
	if c.Cut {
		return nil, refused(api.CodeInvalidArgument, "the request was too large to be captured whole, so it cannot be sent again",
			"repeat it with the client that sent it; logs.capture_max_mb bounds what is kept of a body, to 8 MiB at most")
	}
	if g.again.running.Add(1) > mostReplays {
		g.again.running.Add(-1)
		return nil, refused(api.CodeLimitReached, fmt.Sprintf("%d replays are running, which is the most", mostReplays), "wait until one of them has ended")
	}
	defer g.again.running.Add(-1)

	r := requestOf(c, ask)
	shadow, out, err := g.apart(ask)
	if err != nil {
		return nil, err
	}
	r.again.capture = &capture{to: NewCaptures(CapturesConfig{}), req: r, body: r.Body, embeds: c.Path == embedPath}
	handle := shadow.Generate
	if r.again.capture.embeds {
		handle = shadow.Embed
	}
	deaf(func(w http.ResponseWriter) { handle(ctx, w, r) })
	rec := out.record
	if len(rec.Attempts) == 0 && !ask.Paid && gated(rec) {
		return nil, refused(api.CodePaidGate, "only paid providers could answer this, and a replay spends nothing unasked",
			"add --yes to let it cost money, or name a provider that costs none with --provider")
	}
	rec.ReplayOf = c.ID
	rec.Events = append([]drey.Event{{
		At: rec.At, Name: "request-replayed", RequestID: rec.ID,
		Fields: []drey.Field{drey.F("replay_of", c.ID), drey.F("profile", rec.Profile), drey.F("provider", ask.Provider), drey.F("paid", ask.Paid)},
	}}, rec.Events...)
	doc := r.again.capture.document(g.captures.cfg.Redactor(), rec)
	g.recorder.Record(rec)
	if ctx.Err() != nil { // nobody waits for it any more, and it may have cost money all the same
		return nil, context.Cause(ctx)
	}
	return &api.Replay{Masked: c.Masked, Original: Read(c), Replay: Read(doc)}, nil
}

func refused(code, message, hint string) error {
	return &drey.Error{Class: drey.Caller, Code: code, Op: "replay", Err: errors.New(message), Hint: hint}
}

// gated reports whether the paid gate kept a provider from being asked.
func gated(r *Record) bool {
	for _, s := range r.Skipped {
		if s.Reason == string(route.ReasonPaid) {
			return true
		}
	}
	return false
}

// requestOf makes the request anew.
func requestOf(c *api.Capture, ask ReplayAsk) *Request {
	r := &Request{
		ID: ask.ID, At: time.Now(), Wire: c.Wire, Body: []byte(c.Body), Query: c.Query, Header: http.Header{}, PathProfile: c.Profile,
		again: &again{ask: ask, original: drey.ProfileID(gjson.GetBytes(c.Row, "profile").String())},
	}
	for name, value := range c.Headers {
		r.Header.Set(name, value)
	}
	r.HeaderProfile = r.Header.Get("X-Drey-Profile")
	return r
}

// choose picks the way of a replay: the one that was asked for, else the one that
// the request went. own is how it would be chosen as a new one.
func (a *again) choose(gen *generation, own route.Choice, err error) (route.Choice, error) {
	c := route.Choice{Profile: a.original, Provider: a.ask.Provider, By: own.By, Ours: own.Ours || err != nil}
	if gen.chains[c.Profile] == nil {
		c.Profile = gen.DefaultProfile
	}
	switch {
	case a.ask.Profile != "":
		c.Profile = a.ask.Profile
	case a.ask.Provider != "":
	case err != nil: // it names something that is not there any more
		return own, err
	case own.Provider != "" || gen.chains[a.original] == nil:
		return own, nil
	}
	return c, nil
}

// apart returns a gateway for one replay, and where its record will be. It goes
// by what is in force and known now, and what happens in it stays there.
func (g *Gateway) apart(ask ReplayAsk) (*Gateway, *aside, error) {
	now := g.gen.Load()
	s := now.Settings
	s.AllowPaid = ask.Paid
	s.Capture = CaptureSettings{}
	if p := ask.Profile; p != "" && now.chains[p] == nil {
		return nil, nil, refused(api.CodeInvalidArgument, fmt.Sprintf("there is no profile %q", p), "`drey status` lists the profiles")
	}
	if p := ask.Provider; p != "" && !hasProvider(s.Providers, p) {
		return nil, nil, refused(api.CodeInvalidArgument, fmt.Sprintf("there is no provider %q", p), "`drey provider list` lists the providers")
	}
	before := &generation{}
	for _, l := range now.lanes {
		before.lanes = append(before.lanes, l.apart())
	}
	out := &aside{}
	cfg := g.again.cfg
	cfg.Recorder, cfg.Captures, cfg.InFlight = out, nil, func(drey.Wire, int) {}
	cfg.Healer, cfg.Cashier = bystander{g.healer, ask.Provider}, g.cashier
	shadow, err := New(cfg, s)
	if err != nil {
		return nil, nil, err
	}
	gen, err := build(s, before) // over the ways that are open already
	if err != nil {
		return nil, nil, err
	}
	shadow.gen.Store(gen)
	return shadow, out, nil
}

func hasProvider(list []Provider, id drey.ProviderID) bool {
	for i := range list {
		if list[i].ID == id {
			return true
		}
	}
	return false
}

// bystander is a Healer that lets the attempts of a replay leave as any others,
// with their place under a limit and their process, and tells nobody how they
// ended.
type bystander struct {
	Healer
	named drey.ProviderID // who is asked however it stands; "" = a chain is gone down
}

// Live implements Healer.
func (b bystander) Live(profile drey.ProfileID, id drey.ProviderID) route.Live {
	if id == b.named {
		return route.Live{}
	}
	return b.Healer.Live(profile, id)
}

// Leave implements Healer. A replay is no trial: it would decide an exclusion.
func (b bystander) Leave(ctx context.Context, d health.Departure) (health.Pass, error) {
	if d.For = health.AskSlot; d.Provider == b.named {
		d.Action = health.ActionOff
	}
	return b.Healer.Leave(ctx, d)
}

// Spoke implements Healer.
func (bystander) Spoke(health.Pass) {}

// Ended implements Healer.
func (b bystander) Ended(p health.Pass, _ health.Ending) {
	b.Healer.Ended(p, health.Ending{Class: drey.Cancel})
}

// aside is the Recorder of a replay. What would be journaled stays with the row:
// it is nothing that happened to a caller.
type aside struct {
	mu     sync.Mutex
	events []drey.Event
	record *Record
}

// Record implements Recorder.
func (a *aside) Record(r *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Events = append(r.Events, a.events...)
	a.record = r
}

// Emit implements Recorder.
func (a *aside) Emit(ev drey.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, ev)
}

// deaf serves somebody who does not listen: what a replay is answered is read
// from what the providers sent.
func deaf(serve func(http.ResponseWriter)) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { // how an answer ends that broke
			panic(p)
		}
	}()
	serve(absent{http.Header{}})
}

// absent is a caller that does not listen.
type absent struct{ header http.Header }

func (n absent) Header() http.Header         { return n.header }
func (n absent) WriteHeader(int)             {}
func (n absent) Write(p []byte) (int, error) { return len(p), nil }
func (n absent) Flush()                      {}
