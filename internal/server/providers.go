package server

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/health"
)

// providerRoutes are the operations on providers (the healing contract §12).
func (s *Server) providerRoutes(a huma.API) {
	act := func(path, id, summary string) huma.Operation {
		op := operation(http.MethodPost, "/providers/{name}/"+path, id, summary)
		op.SkipValidateBody = false
		op.Errors = []int{http.StatusBadRequest, http.StatusNotFound}
		return op
	}
	huma.Register(a, operation(http.MethodGet, "/providers", "providers", "Providers, their state and what happened at them"), s.getProviders)
	huma.Register(a, operation(http.MethodGet, "/providers/{name}", "provider", "One provider"), s.getProvider)
	huma.Register(a, act("exclude", "provider-exclude", "Take a provider out"), s.excludeProvider)
	huma.Register(a, act("restore", "provider-restore", "Bring a provider back"), s.restoreProvider)
	huma.Register(a, act("restart", "provider-restart", "Have a provider's backend restarted"), s.restartProvider)
	huma.Register(a, act("probe", "provider-probe", "Probe a provider now; good news is believed, bad news changes nothing"), s.probeProvider)
	huma.Register(a, act("drain", "provider-drain", "Take a provider out and wait until its last answer has ended"), s.drainProvider)
}

// ProvidersOf returns the gateway's view of its providers as the control API
// tells it, in the same order and as of now. The daemon's Status is made with
// it too. healer may be nil.
func ProvidersOf(views []gateway.ProviderView, healer Healer, now time.Time) []api.Provider {
	out := make([]api.Provider, 0, len(views))
	for _, v := range views {
		out = append(out, providerOf(v, healer, now))
	}
	return out
}

// maxErrorText is how much of an error a view shows, in runes.
const maxErrorText = 200

func providerOf(v gateway.ProviderView, healer Healer, now time.Time) api.Provider {
	p := api.Provider{
		Name: v.ID, Class: v.Price, Wire: v.Wire, Model: v.Model,
		URL: publicURL(v.URL), ContextTokens: v.Context, Out: v.Out, Until: timeText(v.Until),
	}
	h := healthOf(v, healer)
	p.State, p.Phase, p.By, p.Reason = h.State.String(), h.Phase.String(), h.By.String(), h.Reason
	p.ConsecutiveFailures, p.InFlight, p.Queued = h.ConsecutiveFailures, h.InFlight, h.Queued
	p.IntervalS, p.RampLimit = h.Interval.Seconds(), h.RampLimit
	p.Attempts, p.Successes = h.Attempts, h.Successes
	if len(h.Failures) > 0 {
		p.Failures = make(map[string]uint64, len(h.Failures))
		for class, n := range h.Failures {
			p.Failures[class.String()] = n
		}
	}
	if last := h.LastError; last != nil {
		p.LastError = &api.LastError{At: drey.FormatTime(last.At), Class: last.Class, Status: last.Status, Text: cutText(last.Text)}
	}
	if h.State == health.Excluded {
		p.ExcludedForS = wholeMillis(now.Sub(h.ExcludedAt))
	}
	if !h.NextProbeAt.IsZero() {
		p.NextProbeInS = wholeMillis(h.NextProbeAt.Sub(now))
	}
	if h.ParkedUntil.After(now) {
		p.ParkedUntil = drey.FormatTime(h.ParkedUntil)
	}
	if proc := h.Process; proc != nil {
		p.Process = &api.Process{State: proc.State.String(), PID: proc.PID, Port: proc.Port, IdleS: wholeMillis(proc.Idle)}
	}
	return p
}

// healthOf is the healer's view, or that of a provider that nobody keeps.
func healthOf(v gateway.ProviderView, healer Healer) Health {
	if healer != nil {
		if h, ok := healer.Health(v.ID); ok {
			return h
		}
	}
	return Health{View: health.View{InFlight: v.InFlight}}
}

// wholeMillis writes a span in seconds to the millisecond; a negative one is 0.
func wholeMillis(d time.Duration) float64 {
	return math.Round(max(d, 0).Seconds()*1000) / 1000
}

func cutText(s string) string {
	if r := []rune(s); len(r) > maxErrorText {
		return string(r[:maxErrorText-1]) + "…"
	}
	return s
}

// getProviders walks the providers by name, so that a reload in the middle of a
// walk neither hides nor repeats one that stays.
func (s *Server) getProviders(ctx context.Context, in *Paging) (*answer[api.Providers], error) {
	head, err := s.cfg.Journal.Head(ctx)
	if err != nil {
		return nil, s.refuseControl("providers", err)
	}
	list := ProvidersOf(s.cfg.Gateway.Providers(), s.cfg.Healer, time.Now())
	slices.SortFunc(list, func(a, b api.Provider) int { return strings.Compare(string(a.Name), string(b.Name)) })
	from := 0
	if in.Cursor != "" {
		from, _ = slices.BinarySearchFunc(list, drey.ProviderID(in.Cursor), func(p api.Provider, after drey.ProviderID) int {
			if p.Name <= after {
				return -1
			}
			return 1
		})
	}
	out := api.Providers{Page: api.Page{AsOfSeq: head}, Providers: list[from:]}
	if len(out.Providers) > in.Limit {
		out.Providers = out.Providers[:in.Limit]
		out.NextCursor = string(out.Providers[in.Limit-1].Name)
	}
	return &answer[api.Providers]{out}, nil
}

// Named is the path of one provider. huma reads embedded structs only where
// their name is exported.
type Named struct {
	Name string `path:"name" maxLength:"64" example:"local" doc:"the provider's name in the configuration"`
}

func (s *Server) getProvider(_ context.Context, in *Named) (*answer[api.Provider], error) {
	p, err := s.provider(in.Name)
	if err != nil {
		return nil, err
	}
	return &answer[api.Provider]{p}, nil
}

// provider returns one provider, or the refusal of a name that is none.
func (s *Server) provider(name string) (api.Provider, error) {
	views := s.cfg.Gateway.Providers()
	for _, v := range views {
		if string(v.ID) == name {
			return providerOf(v, s.cfg.Healer, time.Now()), nil
		}
	}
	known := make([]string, len(views))
	for i, v := range views {
		known[i] = string(v.ID)
	}
	slices.Sort(known)
	return api.Provider{}, &statusError{http.StatusNotFound, api.Error{
		Code: api.CodeNotFound, Message: fmt.Sprintf("there is no provider %q", clip(name)), Hint: "known are " + strings.Join(known, ", "),
	}}
}

// act does something to a provider and answers with how it stands then. A
// caller that hangs up takes nothing back.
func (s *Server) act(ctx context.Context, op, name string, do func(ctx context.Context, p *api.Provider) (changed bool, err error)) (*answer[api.Provider], error) {
	was, err := s.provider(name)
	if err != nil {
		return nil, err
	}
	if s.cfg.Healer == nil {
		return nil, s.refuseControl(op, &api.Error{Code: api.CodeUnavailable, Message: op + ": drey is starting", Hint: "try again in a moment"})
	}
	changed, err := do(ctx, &was)
	if err != nil {
		return nil, s.refuseControl(op, err)
	}
	p, err := s.provider(name)
	if err != nil {
		return nil, err // a reload took it away meanwhile
	}
	p.Changed, p.InFlightKilled, p.Probe = &changed, was.InFlightKilled, was.Probe
	return &answer[api.Provider]{p}, nil
}

type excludeInput struct {
	Named
	Body *api.Exclude
}

func (s *Server) excludeProvider(ctx context.Context, in *excludeInput) (*answer[api.Provider], error) {
	var body api.Exclude
	if in.Body != nil {
		body = *in.Body
	}
	if body.For < 0 {
		return nil, invalid("body.for", "a span that is over before it begins")
	}
	return s.act(ctx, "exclude", in.Name, func(ctx context.Context, p *api.Provider) (bool, error) {
		return s.cfg.Healer.Exclude(context.WithoutCancel(ctx), p.Name, body.Reason, body.For.D())
	})
}

func (s *Server) restoreProvider(ctx context.Context, in *Named) (*answer[api.Provider], error) {
	return s.act(ctx, "restore", in.Name, func(ctx context.Context, p *api.Provider) (bool, error) {
		return s.cfg.Healer.Restore(context.WithoutCancel(ctx), p.Name)
	})
}

func (s *Server) restartProvider(ctx context.Context, in *Named) (*answer[api.Provider], error) {
	return s.act(ctx, "restart", in.Name, func(ctx context.Context, p *api.Provider) (bool, error) {
		return s.cfg.Healer.Restart(context.WithoutCancel(ctx), p.Name)
	})
}

type probeInput struct {
	Named
	Body *api.ProbeAsk
}

func (s *Server) probeProvider(ctx context.Context, in *probeInput) (*answer[api.Provider], error) {
	var body api.ProbeAsk
	if in.Body != nil {
		body = *in.Body
	}
	var depth *health.Depth
	if body.Depth != "" {
		depth = new(health.Depth)
		if err := depth.UnmarshalText([]byte(body.Depth)); err != nil {
			return nil, invalid("body.depth", err.Error())
		}
	}
	return s.act(ctx, "probe", in.Name, func(ctx context.Context, p *api.Provider) (bool, error) {
		if p.Class == drey.Paid && !body.AllowPaid {
			return false, &api.Error{
				Code: api.CodePaidGate, Message: fmt.Sprintf("%s costs money, and a probe of it as well", p.Name),
				Hint: "ask with allow_paid: true (`drey provider probe --paid`)",
			}
		}
		got, err := s.cfg.Healer.Probe(ctx, p.Name, depth)
		p.Probe = &api.Probe{Success: got.OK, Depth: got.Depth.String(), LatencyMS: got.Latency.Milliseconds(), Error: cutText(got.Error)}
		return got.Changed, err
	})
}

type drainInput struct {
	Named
	Body *api.Drain
}

func (s *Server) drainProvider(ctx context.Context, in *drainInput) (*answer[api.Provider], error) {
	timeout, err := drey.ParseDuration(api.DefaultDrain)
	if err != nil {
		return nil, s.refuseControl("drain", err)
	}
	if in.Body != nil && in.Body.Timeout != nil {
		timeout = *in.Body.Timeout
	}
	if timeout < 0 {
		return nil, invalid("body.timeout", "a span that is over before it begins")
	}
	return s.act(ctx, "drain", in.Name, func(ctx context.Context, p *api.Provider) (changed bool, err error) {
		changed, p.InFlightKilled, err = s.cfg.Healer.Drain(ctx, p.Name, timeout.D())
		return changed, err
	})
}
