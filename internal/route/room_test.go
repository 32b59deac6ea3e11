package route

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// smallLast orders candidates of a window of 1 behind all others.
func smallLast(equals []Candidate) []int {
	var order, small []int
	for i, c := range equals {
		if c.Context == 1 {
			small = append(small, i)
		} else {
			order = append(order, i)
		}
	}
	return append(order, small...)
}

func TestPreferRoom(t *testing.T) {
	small, large := Member{Context: 1}, Member{Context: 2}
	blind := func(m Member) Member { m.Can.Tools = No; return m }
	tests := []struct {
		name    string
		members []Member
		want    string // the order, those that stand back for their window marked
	}{
		{"all have room", []Member{large, large}, "a b"},
		{"none has", []Member{small, small}, "a b"},
		{"the second has", []Member{small, large}, "b a*"},
		{"the last has", []Member{small, small, large}, "c a* b*"},
		{"the one that has stands first", []Member{large, small, large}, "a c b*"},
		{"a window makes up for no ability", []Member{small, blind(large)}, "a b"},
		{"but it does among those that lack it", []Member{small, blind(small), blind(large)}, "a c b*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Chain{Profile: "p", Members: name(tt.members)}
			live := make([]Live, len(c.Members))
			a := Ask{Needs: Needs{Tools: true}}
			p := Resolve(c, live, a)
			back := p.PreferRoom(c, live, a.Needs, smallLast)
			got := ""
			for _, k := range p.Candidates {
				got += " " + string(k.ID)
				if slices.Contains(back, k.ID) {
					got += "*"
				}
			}
			if got[1:] != tt.want {
				t.Errorf("%s, want %s", got[1:], tt.want)
			}
		})
	}
}

// name gives members their names and slots.
func name(ms []Member) []Member {
	ms = slices.Clone(ms)
	for i := range ms {
		ms[i].ID, ms[i].Slot = drey.ProviderID(rune('a'+i)), i
	}
	return ms
}

// Nobody is lost or tried twice, who is reported to stand back does so, and
// where there is room everywhere nothing changes.
func TestPreferRoomKeepsEverybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ms []Member
		for range rapid.IntRange(1, 6).Draw(t, "members") {
			ms = append(ms, Member{
				Context: rapid.IntRange(1, 3).Draw(t, "window"), Pool: rapid.IntRange(0, 1).Draw(t, "pool"),
				Can: Abilities{Tools: Ability(rapid.IntRange(0, 2).Draw(t, "tools"))},
			})
		}
		c := &Chain{Profile: "p", Members: name(ms), Adaptive: rapid.Bool().Draw(t, "adaptive")}
		live := make([]Live, len(ms))
		for i := range live {
			live[i].Demerits = rapid.IntRange(0, 2).Draw(t, "demerits")
		}
		p := Resolve(c, live, Ask{Needs: Needs{Tools: true}})
		before := slices.Clone(p.Candidates)
		back := p.PreferRoom(c, live, Needs{Tools: true}, smallLast)
		byIndex := func(ks []Candidate) (out []int) {
			for _, k := range ks {
				out = append(out, k.Index)
			}
			slices.Sort(out)
			return out
		}
		if !slices.Equal(byIndex(before), byIndex(p.Candidates)) {
			t.Fatalf("%+v became %+v", before, p.Candidates)
		}
		for _, id := range back {
			at := slices.IndexFunc(p.Candidates, func(k Candidate) bool { return k.ID == id })
			if k := p.Candidates[at]; k.Context != 1 || !slices.ContainsFunc(p.Candidates[:at], func(o Candidate) bool { return o.Index > k.Index }) {
				t.Fatalf("%s stands back for nothing: %+v", id, p.Candidates)
			}
		}
		if !slices.ContainsFunc(before, func(k Candidate) bool { return k.Context == 1 }) && !slices.Equal(before, p.Candidates) {
			t.Fatalf("%+v became %+v", before, p.Candidates)
		}
	})
}

// Every pass at once: money leaves out, windows and drift and missing abilities
// each keep their place, a pool keeps its affinity behind whoever has more room;
// and when health leaves nobody, the panic rule picks among those alone whom no
// other pass has left out.
func TestPassesTogether(t *testing.T) {
	no := Abilities{Tools: No}
	c := &Chain{Profile: "p", AllowPaid: true, DemoteDrift: true, Action: Exclude, Adaptive: true, Members: name([]Member{
		{Context: 2, Price: drey.Paid},              // a: over its budget
		{Context: 2},                                // b: drifts, in a large window
		{Context: 1, Pool: 1},                       // c
		{Context: 1, Pool: 1},                       // d: knows the conversation
		{Context: 2, Can: no},                       // e: cannot call tools
		{Context: 2},                                // f: has room
		{Context: 2, Credential: CredentialMissing}, // g
	})}
	live := make([]Live, len(c.Members))
	live[1].Drifted, live[3].Affine, live[3].InFlight = true, true, 5
	ask := Ask{Needs: Needs{Tools: true}, OverBudget: func(m *Member) (time.Time, bool) { return time.Time{}, m.Price == drey.Paid }}
	resolve := func() (order []string, p Plan) {
		p = Resolve(c, live, ask)
		p.PreferRoom(c, live, ask.Needs, smallLast)
		for _, k := range p.Candidates {
			order = append(order, string(k.ID)+":"+string(k.Moved))
		}
		return order, p
	}
	order, p := resolve()
	if want := []string{"f:", "d:context-budget", "c:context-budget", "e:capability", "b:drift"}; !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
	if len(p.Skipped) != 2 || p.Skipped[0] != (Skip{ID: "a", Reason: ReasonBudget}) || p.Skipped[1] != (Skip{ID: "g", Index: 6, Reason: ReasonCredential}) {
		t.Errorf("left out: %v", p.Skipped)
	}

	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range live { // the paid one would be looked at first, and then g
		live[i].Health, live[i].Probing, live[i].NextProbe = Excluded, true, at.Add(time.Duration(10-i)*time.Second)
	}
	live[0].NextProbe = at
	if order, p = resolve(); !p.Panic || !slices.Equal(order, []string{"f:"}) {
		t.Errorf("panic %v: %v", p.Panic, order)
	}
	for _, s := range p.Skipped {
		if want := map[drey.ProviderID]Reason{"a": ReasonBudget, "g": ReasonCredential}[s.ID]; want != "" && s.Reason != want || want == "" && s.Reason != ReasonExcluded {
			t.Errorf("%s is left out as %s", s.ID, s.Reason)
		}
	}
}
