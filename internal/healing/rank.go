package healing

import (
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
)

// The numbers of adaptive order. Source: the healing contract, §9.
const (
	sampleCount  = 20
	sampleAge    = 600 * time.Second
	slowFactor   = 1.5
	slowSamples  = 3
	faultShare   = 0.10
	faultSamples = 5
	rankPause    = 30 * time.Second // a provider changes rank at most once in it
	rankEvery    = time.Second      // the owner computes ranks at most so often
)

// samples are a provider's last answers, the oldest overwritten first.
type samples struct {
	ring [sampleCount]sample
	n    int // so far
}

type sample struct {
	at     time.Time
	failed bool
	pace   time.Duration // to the first token, per 1,000 tokens of the prompt; 0 = not known
}

// add notes how an attempt ended, if that says something of the provider.
func (s *samples) add(e health.Ending, at time.Time) {
	if !e.OK && !e.Counts {
		return
	}
	v := sample{at: at, failed: !e.OK}
	if e.OK && e.FirstToken > 0 && e.Tokens > 0 {
		v.pace = e.FirstToken * 1000 / time.Duration(e.Tokens)
	}
	s.ring[s.n%sampleCount] = v
	s.n++
}

// median returns the median pace; ok is false if there are too few.
func (s *samples) median(now time.Time) (pace time.Duration, ok bool) {
	var paces []time.Duration
	for _, v := range s.ring {
		if v.pace > 0 && now.Sub(v.at) <= sampleAge {
			paces = append(paces, v.pace)
		}
	}
	return median(paces), len(paces) >= slowSamples
}

// faulty reports whether too many of them failed.
func (s *samples) faulty(now time.Time) bool {
	n, failed := 0, 0
	for _, v := range s.ring {
		if !v.at.IsZero() && now.Sub(v.at) <= sampleAge {
			if n++; v.failed {
				failed++
			}
		}
	}
	return n >= faultSamples && float64(failed) >= faultShare*float64(n)
}

// median is the middle of the values, the mean of the two middle ones; it sorts
// them.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	if m := len(d) / 2; len(d)%2 == 0 {
		return (d[m-1] + d[m]) / 2
	} else {
		return d[m]
	}
}

// rivalry is what adaptive order knows of one profile.
type rivalry struct {
	chain    []drey.ProviderID
	looked   time.Time
	seen     int // answers of its providers by then
	demerits map[drey.ProviderID]int
	moved    map[drey.ProviderID]time.Time
	order    []drey.ProviderID
}

// rerank forgets what was known of profiles that are not adaptive any more, or
// have another chain now.
func (k *Keeper) rerank(t *table) {
	for id, r := range k.rivalry {
		i := slices.IndexFunc(t.settings.Profiles, func(p Profile) bool { return p.ID == id })
		if i >= 0 && t.settings.Profiles[i].Adaptive && slices.Equal(r.chain, t.settings.Profiles[i].Chain) {
			continue
		}
		delete(k.rivalry, id)
		for _, s := range t.order {
			if _, had := s.demerits[id]; had {
				s.demerits = maps.Clone(s.demerits)
				delete(s.demerits, id)
				k.publish(s)
			}
		}
	}
}

// rank brings the order of adaptive profiles up to date.
func (k *Keeper) rank() {
	t := k.table.Load()
	for i := range t.settings.Profiles {
		if p := &t.settings.Profiles[i]; p.Adaptive {
			k.rankProfile(t, p, time.Now())
		}
	}
}

func (k *Keeper) rankProfile(t *table, p *Profile, now time.Time) {
	r := k.rivalry[p.ID]
	if r == nil {
		r = &rivalry{demerits: map[drey.ProviderID]int{}, moved: map[drey.ProviderID]time.Time{}, chain: p.Chain, order: p.Chain}
		k.rivalry[p.ID] = r
	}
	seen := 0
	for _, id := range p.Chain {
		seen += t.seats[id].answers.n
	}
	if seen == r.seen || now.Sub(r.looked) < rankEvery {
		return
	}
	r.seen, r.looked = seen, now

	paces := map[drey.ProviderID]time.Duration{}
	for _, id := range p.Chain {
		if pace, ok := t.seats[id].answers.median(now); ok {
			paces[id] = pace
		}
	}
	typical := median(slices.Collect(maps.Values(paces)))
	next := map[drey.ProviderID]int{}
	for _, id := range p.Chain {
		if pace, ok := paces[id]; ok && len(paces) > 1 && float64(pace) >= slowFactor*float64(typical) {
			next[id]++
		}
		if t.seats[id].answers.faulty(now) {
			next[id] += 2
		}
		if next[id] != r.demerits[id] && !r.moved[id].IsZero() && now.Sub(r.moved[id]) < rankPause {
			next[id] = r.demerits[id]
		}
	}
	order := ranked(t, p.Chain, next)
	for _, id := range p.Chain {
		if next[id] == r.demerits[id] {
			continue
		}
		r.moved[id] = now
		s := t.seats[id]
		s.demerits = maps.Clone(s.demerits)
		if s.demerits == nil {
			s.demerits = map[drey.ProfileID]int{}
		}
		s.demerits[p.ID] = next[id]
		k.publish(s)
	}
	r.demerits = next
	if !slices.Equal(order, r.order) {
		r.order = order
		k.cfg.Bus.Publish(drey.Event{
			At: now, Name: "adaptive-order", Machine: "profile", ID: string(p.ID),
			Fields: []drey.Field{drey.F("profile", p.ID), drey.F("static_order", p.Chain), drey.F("effective_order", order)},
		})
	}
}

// ranked is the chain by demerits, within each price: which places belong to
// which price stays as it is.
func ranked(t *table, chain []drey.ProviderID, demerits map[drey.ProviderID]int) []drey.ProviderID {
	out := slices.Clone(chain)
	for price := drey.Local; price <= drey.Paid; price++ {
		var places []int
		var ids []drey.ProviderID
		for i, id := range chain {
			if t.seats[id].provider.Price == price {
				places, ids = append(places, i), append(ids, id)
			}
		}
		sort.SliceStable(ids, func(a, b int) bool { return demerits[ids[a]] < demerits[ids[b]] })
		for i, at := range places {
			out[at] = ids[i]
		}
	}
	return out
}
