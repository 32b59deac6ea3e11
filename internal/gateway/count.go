package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// countTimeout is how long a provider may take to count; a client asks before
// each turn and must not wait for long. Source: contract §13.
const countTimeout = 2 * time.Second

// CountTokens answers how long a prompt is: by the endpoint of the first
// provider that the request would go to, if that one speaks Anthropic's wire,
// else by estimate. It never spends and is no generation.
func (g *Gateway) CountTokens(ctx context.Context, w http.ResponseWriter, r *Request) {
	gen := g.gen.Load()
	codec := codecs[r.Wire]
	head, choice, refusal := g.choose(gen, codec, r)
	if refusal == nil {
		refusal = countable(r, head)
	}
	if refusal != nil {
		Refuse(w, r.Wire, r.ID, refusal)
		return
	}
	n, from := head.Tokens, drey.ProviderID("")
	c := gen.of(choice)
	plan := route.Resolve(&c.Chain, gen.live(g.healer, c.ID, nil), route.Ask{At: time.Now(), CallerKey: r.Key.Secret != ""})
	if len(plan.Candidates) > 0 {
		l := c.lanes[plan.Candidates[0].Index]
		n = l.tokens(n)
		if counted, ok := g.countAt(ctx, l, codec, r, l.model(choice.Ours)); ok {
			n, from = counted, l.p.ID
		}
	}
	h := w.Header()
	setID(h, r.ID)
	h["Content-Type"] = jsonType
	h["X-Drey-Profile"] = []string{string(choice.Profile)}
	if from != "" {
		h["X-Drey-Provider"] = []string{string(from)}
	}
	body := []byte(`{"input_tokens":` + strconv.Itoa(n) + `}`)
	if r.Wire == drey.WireResponses {
		body = []byte(`{"object":"response.input_tokens","input_tokens":` + strconv.Itoa(n) + `}`)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body) // a caller that is gone has no use for it
}

// countable refuses what no provider could count.
func countable(r *Request, head wire.Head) *Refusal {
	if head.Model == "" {
		return &Refusal{Case: route.CaseBadRequest, Message: "model: is missing; name a model, a profile or drey/PROFILE"}
	}
	if r.Wire == drey.WireResponses {
		if in := gjson.GetBytes(r.Body, "input"); !in.IsArray() && in.Type != gjson.String {
			return &Refusal{Case: route.CaseBadRequest, Message: "input: is missing, or neither a string nor a list; send the conversation to be counted"}
		}
		return nil
	}
	if !gjson.GetBytes(r.Body, "messages").IsArray() {
		return &Refusal{Case: route.CaseBadRequest, Message: "messages: is missing or no list; send the conversation to be counted"}
	}
	return nil
}

// countAt asks a provider about a model, or remembers what it said.
func (g *Gateway) countAt(ctx context.Context, l *lane, codec wire.Codec, r *Request, model string) (int, bool) {
	if l.p.Wire != drey.WireAnthropic || r.Wire != drey.WireAnthropic {
		return 0, false
	}
	body, err := codec.Rewrite(r.Body, wire.Edits{Model: model, StripLines: l.p.StripLines})
	if err != nil {
		return 0, false
	}
	// As the provider gets it: what differs each time is stripped already.
	key := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", l.p.ID, body.Bytes()))
	if n, ok := g.counts.get(key); ok {
		return n, true
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	ans, err := l.up.Do(ctx, upstream.Call{
		Path: "/messages/count_tokens", Body: body, Header: r.Header, CallerKey: r.Key.Secret, FirstToken: countTimeout, Stall: countTimeout,
	})
	if err != nil {
		return 0, false
	}
	var answer struct {
		InputTokens *int `json:"input_tokens"`
	}
	if json.Unmarshal(ans.JSON, &answer) != nil || answer.InputTokens == nil || *answer.InputTokens < 0 {
		return 0, false
	}
	g.counts.put(key, *answer.InputTokens)
	return *answer.InputTokens, true
}

// countCache remembers what providers counted: agents ask for the same prompt
// again and again. It drops everything when it is full, which costs one more
// question each.
type countCache struct {
	mu sync.Mutex
	m  map[[sha256.Size]byte]int
}

const countCacheSize = 1024

func (c *countCache) get(k [sha256.Size]byte) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.m[k]
	return n, ok
}

func (c *countCache) put(k [sha256.Size]byte, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= countCacheSize {
		c.m = map[[sha256.Size]byte]int{}
	}
	c.m[k] = n
}
