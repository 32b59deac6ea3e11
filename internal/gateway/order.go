package gateway

import (
	"slices"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/affinity"
	"github.com/dreyhq/drey/internal/route"
)

// What orders the providers of one request besides their health: how each of
// them counts its prompt, whose answers have become worse, and who of a pool
// knows the conversation.

// order fills in what the table that routing reads says about this request.
func (x *exchange) order(live []route.Live) []route.Live {
	for slot, l := range x.gen.lanes {
		live[slot].Tokens = l.tokens(x.head.Tokens)
	}
	for i, w := range x.chain.drift {
		live[x.chain.Members[i].Slot].Drifted = x.demoted(w)
	}
	if x.chain.pooled() && !x.embeds {
		x.talk = affinity.Of(x.req.Wire, x.req.Body, affinity.Session(x.req.Header.Get, x.head.Session))
		x.known = x.g.talks.find(x.now, x.chain, x.talk)
		for _, k := range x.known {
			live[x.chain.Members[k.index].Slot].Affine = true
		}
	}
	return live
}

// pooled reports whether the chain has a pool.
func (c *chain) pooled() bool {
	return slices.ContainsFunc(c.Members, func(m route.Member) bool { return m.Pool > 0 })
}

// talks are the conversations that pools have served. They outlive reloads.
type talks struct {
	mu    sync.Mutex
	table affinity.Table
}

// known is the member of a pool that served the conversation last.
type known struct {
	pool, index int // route.Member.Pool, in Chain.Members
	messages    int // that it has seen of this conversation; 0 = its session alone
}

// find asks each pool of a chain who knows the conversation. A member that the
// pool has no more is nobody.
func (t *talks) find(at time.Time, c *chain, talk affinity.Conversation) []known {
	if talk.Empty() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []known
	last := 0
	for _, m := range c.Members {
		if m.Pool == last || m.Pool == 0 {
			continue
		}
		last = m.Pool
		match, ok := t.table.Find(at, affinity.Pool{Profile: c.ID, N: last}, talk)
		if !ok {
			continue
		}
		i := slices.IndexFunc(c.Members, func(m route.Member) bool { return m.Pool == last && m.ID == match.Provider })
		if i >= 0 {
			out = append(out, known{pool: last, index: i, messages: match.Messages})
		}
	}
	return out
}

// remember keeps who of a pool served the conversation.
func (x *exchange) remember() {
	if x.talk.Empty() {
		return
	}
	for _, m := range x.chain.Members {
		if m.ID == x.rec.Provider && m.Pool > 0 {
			t := &x.g.talks
			t.mu.Lock()
			t.table.Served(x.now, affinity.Pool{Profile: x.chain.ID, N: m.Pool}, x.talk, m.ID)
			t.mu.Unlock()
		}
	}
}

// How the first member of a pool was chosen, as route-resolved says it.
const (
	poolByPrefix  = "prefix"  // it served the beginning of this conversation last
	poolBySession = "session" // it served the same session last
	poolByLoad    = "load"    // it has the fewest answers under way
)

// pooling tells why the first member of a pool that the request will try comes
// first, for the event route-resolved: pool and pool_by, with pool_messages
// where a prefix decided; and where another one knows the conversation, pool_left
// and, if it is there, what kept it: pool_left_for.
func (x *exchange) pooling(p route.Plan, live []route.Live) []drey.Field {
	i := slices.IndexFunc(p.Candidates, func(k route.Candidate) bool { return x.chain.Members[k.Index].Pool > 0 })
	if i < 0 || x.embeds {
		return nil
	}
	first := &p.Candidates[i]
	fields := []drey.Field{drey.F("pool", first.ID)}
	n := slices.IndexFunc(x.known, func(k known) bool { return k.pool == x.chain.Members[first.Index].Pool })
	if n < 0 {
		return append(fields, drey.F("pool_by", poolByLoad))
	}
	switch k := x.known[n]; {
	case k.index != first.Index:
		m := &x.chain.Members[k.index]
		fields = append(fields, drey.F("pool_by", poolByLoad), drey.F("pool_left", m.ID))
		if why := kept(&live[m.Slot]); why != "" {
			fields = append(fields, drey.F("pool_left_for", why))
		}
	case k.messages > 0:
		fields = append(fields, drey.F("pool_by", poolByPrefix), drey.F("pool_messages", k.messages))
	default:
		fields = append(fields, drey.F("pool_by", poolBySession))
	}
	return fields
}

// kept says what kept a provider from being followed; "" if it was left out or
// moved, which is told of it anyway.
func kept(l *route.Live) string {
	switch {
	case l.Busy:
		return string(route.ReasonBusy)
	case l.Ramping:
		return string(route.ReasonRamping)
	case l.Health == route.Degraded:
		return "degraded"
	default:
		return ""
	}
}
