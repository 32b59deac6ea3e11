package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// attempt is one try at one provider.
type attempt struct {
	*lane
	start time.Time
	codec wire.Codec // the provider's
	same  bool       // the provider speaks the caller's wire
	// streamed says that the provider is asked to stream. It is, whatever the
	// caller asked, where a local one stands behind a translation: it is
	// silent until it is done otherwise.
	streamed bool
	encoded  *wire.Encoded // across wires
	context  string        // X-Drey-Context-Budget
	stage    *stage.Stage  // mends the answer; nil = it needs none
}

var paths = map[drey.Wire]string{
	drey.WireAnthropic: "/messages", drey.WireChat: "/chat/completions", drey.WireResponses: "/responses",
}

// speaks reports whether the provider takes requests of a wire as they are.
func (p *Provider) speaks(w drey.Wire) bool {
	return p.Wire == w || w == drey.WireResponses && p.Responses && p.Wire == drey.WireChat
}

// try performs one attempt and tells how it ended.
func (x *exchange) try(ctx context.Context, l *lane) (res result) {
	a := &attempt{lane: l, start: time.Now(), codec: codecs[l.p.Wire]}
	if a.same = l.p.speaks(x.req.Wire); a.same {
		a.codec = x.codec
	}
	a.streamed = x.head.Stream || (!a.same && l.p.Price == drey.Local)
	x.fill(a)
	body, err := x.body(a)
	if err != nil {
		return x.refusedHere(err)
	}
	path := paths[a.codec.Wire()]
	if x.embeds {
		path = embeddingsPath
	}
	call := upstream.Call{
		Path: path, Body: body, Header: x.req.Header, CallerKey: x.req.Key.Secret, Stream: a.streamed, Port: x.pass.Port,
	}
	call.Tap = x.capture.tap(a)
	if a.same {
		call.Query = x.req.Query
	}
	call.Connect, call.FirstToken, call.Stall, _ = x.chain.timeouts(l.p)
	if call.FirstToken == 0 {
		l.mu.Lock()
		prompt, output := l.prompt, l.output
		l.mu.Unlock()
		call.FirstToken = route.FirstToken(l.p.Price, prompt, l.tokens(x.prompt()))
		if !a.streamed {
			call.FirstToken += route.Unstreamed(output, x.maxTokens())
		}
	}
	x.heard = x.listen(a)
	asked := time.Now()
	ans, err := l.up.Do(ctx, call)
	x.waited += time.Since(asked)
	if err != nil {
		return x.cannotEmbed(x.failed(err))
	}
	if ans.Stream == nil {
		x.heard.whole(a.codec, ans.JSON)
	}
	x.mend(a, ans.Stream == nil || !x.head.Stream)
	defer func() { x.mended(a, res) }()
	switch {
	case ans.Stream != nil && x.head.Stream:
		return x.pump(a, ans.Stream, x.relay(a))
	case ans.Stream != nil:
		return x.assemble(a, ans.Stream)
	case x.head.Stream:
		return x.play(a, ans.JSON)
	default:
		return x.whole(a, ans.JSON)
	}
}

// failed is the result of an attempt that gave no answer.
func (x *exchange) failed(err error) result {
	f, ok := errors.AsType[*upstream.Failure](err)
	if !ok {
		return result{verdict: route.Verdict{Class: drey.Internal, Text: err.Error()}}
	}
	return result{verdict: f.Verdict, fault: f.Fault}
}

// refusedHere is the result where a request cannot be told to this provider at
// all: that is the caller's affair. No other provider would take it either,
// except one that speaks the caller's own wire.
func (x *exchange) refusedHere(err error) result {
	v := route.Verdict{Class: drey.Caller, Status: 400, Text: err.Error()}
	if slices.ContainsFunc(x.chain.lanes, func(l *lane) bool { return l.p.speaks(x.req.Wire) }) {
		v.Sub = route.Unsupported
	}
	x.untold = v
	return result{verdict: v}
}

// body builds the request in the provider's wire.
func (x *exchange) body(a *attempt) (*wire.Body, error) {
	p := a.p
	system := p.AppendSystem
	if own := x.chain.AppendSystem; own != nil {
		system = *own
	}
	model := a.model(x.choice.Ours)
	extra, drop := x.additions(a)
	if a.same {
		return x.codec.Rewrite(x.req.Body, wire.Edits{
			Model: model, Extra: extra, Drop: drop, AppendSystem: system, MaxTokensKey: p.MaxTokensKey,
			IncludeUsage: x.head.Stream, UserRoles: x.head.OddRoles && p.Price != drey.Paid, StripLines: p.StripLines,
			Prefill: x.rescue.prefill,
		})
	}
	if x.decoded == nil {
		r, err := x.codec.DecodeRequest(x.req.Body)
		if err != nil {
			return nil, err
		}
		x.decoded = r
	}
	f := a.facts()
	enc, err := a.codec.EncodeRequest(x.toEncode(), wire.Target{
		Model: model, Price: p.Price, MaxTokensKey: p.MaxTokensKey, MaxOutputTokens: f.maxOutput,
		Documents: f.can.Documents == route.Yes, Cache: p.Cache, JSONSchema: f.can.JSONSchema == route.Yes,
		ReasoningHistory: p.ReasoningBack, OpenAIHost: openAIHost(p.URL), AppendSystem: system,
		Stream: a.streamed, StripLines: p.StripLines, Extra: extra, Drop: drop,
	})
	if err != nil {
		return nil, err
	}
	a.encoded = enc
	x.notes(p.ID, x.decoded.Notes)
	x.notes(p.ID, enc.Notes)
	body := wire.NewBody(enc.Body)
	enc.Body = nil // what else is in it is needed to the answer's end
	return body, nil
}
