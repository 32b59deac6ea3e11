package spend

import (
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// everything is a policy with a budget of each scope, and room for all.
func everything() Policy {
	room := Limit{CapAt(most), CapAt(most)}
	return Policy{
		Global:    room,
		Providers: map[drey.ProviderID]Limit{"openai": room},
		Profiles:  map[drey.ProfileID]Limit{"default": room},
		Keys:      map[string]Limit{"alice": room},
	}
}

func BenchmarkReserveSettle(b *testing.B) {
	payer := Payer{"openai", "default", "alice"}
	for _, bm := range []struct {
		name   string
		policy Policy
	}{
		{"every budget", everything()},
		{"one budget", Policy{Global: Limit{Day: CapAt(most)}}},
		{"no budget", Policy{}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			var m Machine
			meta := Meta{At: time.Unix(1795000000, 0)}
			for b.Loop() {
				t, _, refusal := m.Reserve(Reserve{meta, payer, 1000}, bm.policy)
				if refusal != nil {
					b.Fatal(refusal)
				}
				m.Settle(Settle{Meta: meta, Ticket: t, Cost: 900})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

func BenchmarkCost(b *testing.B) {
	p, _ := PricesOf("claude-sonnet-4-5", Given{})
	u := wire.Usage{Input: 1200, Output: 300, CacheRead: 40000, CacheWrite: 900}
	for b.Loop() {
		p.Cost(u)
	}
}

func BenchmarkRate(b *testing.B) {
	var r Rate
	at := time.Unix(1795000000, 0)
	for b.Loop() {
		at = at.Add(time.Millisecond)
		r.Take(at, 1000)
	}
}
