package gateway

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Read tells what became of a captured request: the facts by its row, and text
// and calls by what the provider that was asked last answered, behind what the
// one had said that broke off where it went on.
func Read(c *api.Capture) api.ReplaySide {
	get := gjson.ParseBytes(c.Row).Get
	count := func(name string) int { return int(get("tokens." + name).Int()) }
	out := api.ReplaySide{
		ID: c.ID, Profile: drey.ProfileID(get("profile").String()), Provider: drey.ProviderID(get("provider").String()),
		Model: get("model_served").String(), Outcome: get("outcome").String(), Status: int(get("status").Int()),
		TTFTMS: get("ttft_ms").Float(), MS: get("ms").Float(),
		Tokens: api.ReplayTokens{
			Input: count("input"), Output: count("output"), CacheRead: count("cache_read"), CacheWrite: count("cache_write"),
			Reasoning: count("reasoning"), Estimated: get("tokens.estimated").Bool(),
		},
		Finish: get("finish").String(), Error: get("error").String(),
	}
	if cost := get("cost_usd"); cost.Exists() {
		usd := cost.Float()
		out.CostUSD = &usd
	}
	for _, a := range get("attempts").Array() {
		out.Way = append(out.Way, a.Get("provider").String()+":"+a.Get("class").String())
	}
	if len(c.Attempts) == 0 {
		return out
	}
	last := &c.Attempts[len(c.Attempts)-1]
	if out.Provider == "" {
		out.Provider = last.Provider
	}
	out.Cut = last.Cut
	if c.Path == embedPath {
		out.Complete = out.Outcome == string(OutcomeOK) // there is nothing to read in numbers
		return out
	}
	var rd reading
	if first := begun(c.Attempts, get("attempts").Array()); first != nil {
		rd.answer(first)
		rd.rest = wire.Continue(wire.Standing{Encoder: &rd, Text: rd.text.String(), Open: rd.words}, wire.Usage{}, 0)
	}
	rd.answer(last)
	out.Text, out.Calls, out.Complete = rd.text.String(), rd.calls, rd.complete
	return out
}

// begun returns who began the answer that the last attempt was to give the rest
// of; nil if that was to give all of it. The row tells, and has attempts that
// never got as far as to be captured.
func begun(captured []api.CaptureAttempt, row []gjson.Result) *api.CaptureAttempt {
	n := len(captured) - 1
	if len(row) == 0 || row[len(row)-1].Get("provider").String() != string(captured[n].Provider) || !row[len(row)-1].Get("resumed").Bool() {
		return nil
	}
	for _, a := range slices.Backward(row) {
		if a.Get("resumed").Bool() {
			continue
		}
		for i := range slices.Backward(captured[:n]) {
			if string(captured[i].Provider) == a.Get("provider").String() {
				return &captured[i]
			}
		}
		break
	}
	return nil
}

// reading is what a person reads in a provider's answer, whole or not.
type reading struct {
	rest     *wire.Continuation // what comes is the rest of an answer; nil = it is all of it
	text     strings.Builder
	calls    []api.ReplayCall
	call     bool // a call is open, or else words, which are not its reasoning
	words    bool
	complete bool
}

// answer reads an attempt's answer as far as it goes. One that is no answer of
// its wire, as that of a failure, has nothing to read.
func (r *reading) answer(a *api.CaptureAttempt) {
	codec := codecs[a.Wire]
	if a.Status/100 != 2 || codec == nil {
		return
	}
	if len(a.Frames) == 0 {
		if made, err := codec.DecodeResponse([]byte(a.Body)); err == nil {
			r.take(wire.Play(nil, made))
		}
		return
	}
	var whole bytes.Buffer
	for _, f := range a.Frames {
		whole.WriteString(f.Raw)
	}
	dec, frames := codec.NewDecoder(), sse.NewReader(&whole, 0)
	for {
		ev, err := frames.Next()
		if err != nil || ev.Partial {
			break
		}
		events, err := dec.Decode(nil, ev)
		r.take(events)
		if err != nil {
			return
		}
	}
	if events, err := dec.Close(nil); err == nil {
		r.take(events)
	}
}

func (r *reading) take(events []wire.Event) {
	for _, ev := range events {
		if r.rest != nil {
			r.rest.Encode(nil, ev)
		} else {
			r.Encode(nil, ev)
		}
	}
}

// Encode reads one event. It makes a reading the wire.Encoder of a person, for
// whom there are no frames.
func (r *reading) Encode(dst []byte, ev wire.Event) []byte {
	switch ev.Kind {
	case wire.BlockStart:
		if r.call = ev.Block.Kind == wire.ToolUse; r.call {
			r.calls = append(r.calls, api.ReplayCall{Name: ev.Block.Name, Arguments: string(ev.Block.Input)})
		} else if r.words = ev.Block.Kind == wire.Text; r.words {
			r.text.WriteString(ev.Block.Text)
		}
	case wire.Delta:
		switch {
		case r.call:
			r.calls[len(r.calls)-1].Arguments += ev.Text
		case r.words:
			r.text.WriteString(ev.Text)
		}
	case wire.BlockStop:
		r.call, r.words = false, false
	case wire.Finish:
		r.complete = true
	}
	return dst
}
