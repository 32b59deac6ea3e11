package route

import "github.com/dreyhq/drey"

// ReasonRoom moves a provider back whose window the request nearly fills
// (context_budget: route).
const ReasonRoom Reason = "context-budget"

// PreferRoom orders a resolved plan by the room that the request leaves in the
// candidates' windows, and returns who stands behind others for it. order is
// given candidates in their order and returns their indices as they are to be
// tried. It is asked only about those whom all passes that move hold for
// equal: a large window makes up neither for ill health nor for a missing
// ability.
func (p *Plan) PreferRoom(c *Chain, live []Live, n Needs, order func(equals []Candidate) []int) (back []drey.ProviderID) {
	weight := func(k *Candidate) uint8 {
		m := &c.Members[k.Index]
		return weigh(c, m, &live[m.Slot], n)
	}
	ks := p.Candidates
	for from := 0; from < len(ks); {
		to := from + 1
		for to < len(ks) && weight(&ks[to]) == weight(&ks[from]) {
			to++
		}
		equals := append([]Candidate(nil), ks[from:to]...)
		furthest := -1 // of those before
		for at, i := range order(equals) {
			k := equals[i]
			if i < furthest && (k.Moved == "" || k.Moved == ReasonAdaptive) {
				k.Moved = ReasonRoom
			}
			furthest = max(furthest, i)
			ks[from+at] = k
		}
		from = to
	}
	p.forgetIdleMoves()
	for i := range ks {
		if ks[i].Moved == ReasonRoom {
			back = append(back, ks[i].ID)
		}
	}
	return back
}
