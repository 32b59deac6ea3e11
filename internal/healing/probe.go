package healing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
)

// generations are where each wire is asked for a token, and how it is read.
var generations = map[drey.Wire]struct {
	path  string
	codec wire.Codec
}{
	drey.WireAnthropic: {"/messages", anthropic.Codec{}},
	drey.WireChat:      {"/chat/completions", openai.Chat{}},
}

// look probes a provider: a ladder that ends at the depth, or at the first rung
// that breaks.
//
//  1. liveness: a connection and any HTTP answer;
//  2. models: 200, and the model is among them, if there are any;
//  3. generation: one token on the provider's wire, well formed; it may be
//     empty.
//
// A process that does not run is not asked, since that would start nothing and
// prove nothing.
func (k *Keeper) look(ctx context.Context, p *published, depth health.Depth, timeout time.Duration) ProbeResult {
	start := time.Now()
	l := ladder{p: p, timeout: timeout}
	if p.process != nil {
		if l.port = p.process.Port; p.process.State != health.Ready {
			return ProbeResult{Depth: health.DepthLiveness, Class: drey.Loading, Error: "the process is " + p.process.State.String()}
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, upstream.ErrTotalTimeout)
	defer cancel()
	r := ProbeResult{Depth: health.DepthLiveness}
	err := l.models(ctx, depth == health.DepthLiveness)
	if depth != health.DepthLiveness && (err == nil || answered(err)) {
		r.Depth = health.DepthModels
	}
	if err == nil && depth == health.DepthGeneration {
		r.Depth = health.DepthGeneration
		r.Model, err = l.generation(ctx)
	}
	r.Latency, r.OK = time.Since(start), err == nil
	if err != nil {
		r.Class, r.Error = classOf(err), k.oneLine(textOf(err))
	}
	return r
}

// ladder is one probe on its way up.
type ladder struct {
	p       *published
	port    int
	timeout time.Duration
	first   string // the first model of the list
}

// models asks for the list, which may be empty. With anyAnswer it asks for
// nothing but an answer.
func (l *ladder) models(ctx context.Context, anyAnswer bool) error {
	ans, err := l.do(ctx, upstream.Call{Method: http.MethodGet, Path: "/models"})
	switch {
	case err != nil && anyAnswer && answered(err):
		return nil
	case err != nil:
		return err
	case anyAnswer:
		return nil
	}
	want, found, n := l.p.provider.Model, false, 0
	gjson.GetBytes(ans.JSON, "data").ForEach(func(_, m gjson.Result) bool {
		if id := m.Get("id").String(); id != "" {
			if n++; n == 1 {
				l.first = id
			}
			found = found || sameModel(id, want)
		}
		return true
	})
	if want != "" && n > 0 && !found {
		return &probeError{drey.Auth, fmt.Sprintf("model %q is not among the %d that the server lists", want, n)}
	}
	return nil
}

// generation asks for one token, and returns who says that it gave it.
func (l *ladder) generation(ctx context.Context) (model string, err error) {
	p := l.p.provider
	g, ok := generations[p.Wire]
	if !ok {
		return "", &probeError{drey.Internal, "no probe speaks this wire"}
	}
	name := p.Model
	if name == "" {
		name = l.first
	}
	body, err := g.codec.Rewrite([]byte(`{"model":"default","max_tokens":1,"messages":[{"role":"user","content":"ping"}]}`), wire.Edits{
		Model: name, Extra: p.Extra, Drop: p.Drop, MaxTokensKey: p.MaxTokensKey,
	})
	if err != nil {
		return "", err
	}
	ans, err := l.do(ctx, upstream.Call{Path: g.path, Body: body})
	if err != nil {
		return "", err
	}
	rep, err := g.codec.Inspect(ans.JSON)
	if err != nil {
		return "", &probeError{drey.BadOutput, err.Error()}
	}
	return rep.Model, nil
}

func (l *ladder) do(ctx context.Context, c upstream.Call) (*upstream.Answer, error) {
	c.Port, c.FirstToken, c.Stall = l.port, l.timeout, l.timeout
	return l.p.up.Do(ctx, c)
}

// probeError is a probe that was answered, and not well.
type probeError struct {
	class drey.Class
	text  string
}

func (e *probeError) Error() string { return e.text }

// answered reports whether a failure came with an HTTP answer.
func answered(err error) bool {
	if f, ok := errors.AsType[*upstream.Failure](err); ok {
		return f.Fault == route.NoFault && f.Status != 0
	}
	_, ok := errors.AsType[*probeError](err)
	return ok
}

func classOf(err error) drey.Class {
	if f, ok := errors.AsType[*upstream.Failure](err); ok {
		return f.Class
	}
	if e, ok := errors.AsType[*probeError](err); ok {
		return e.class
	}
	return drey.Internal
}

func textOf(err error) string {
	if f, ok := errors.AsType[*upstream.Failure](err); ok && f.Text != "" {
		return f.Text
	}
	return err.Error()
}

// sameModel reports whether a server's id is the model that was asked for.
func sameModel(id, asked string) bool {
	return id == asked || id == asked+":latest" || id+":latest" == asked
}

// oneLine makes a text fit to be told: redacted, on one line, bounded.
func (k *Keeper) oneLine(s string) string {
	s = strings.Join(strings.Fields(k.cfg.Redact(s)), " ")
	if r := []rune(s); len(r) > 1024 {
		s = string(r[len(r)-1024:]) // its end says what went wrong
	}
	return s
}
