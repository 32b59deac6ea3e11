package spend

import (
	"testing"
	"time"

	"github.com/dreyhq/drey"
)

func TestExhausted(t *testing.T) {
	tonight, newYear := time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(k ScopeKind, name string, p Period, limit Cap, spent, reserved MicroUSD) Budget {
		resets := tonight
		if p == Month {
			resets = newYear
		}
		return Budget{Scope: Scope{k, name}, Period: p, Cap: limit, Spent: spent, Reserved: reserved, Resets: resets}
	}
	tests := []struct {
		name    string
		budgets []Budget
		until   time.Time
		ok      bool
	}{
		{"no budgets", nil, time.Time{}, false},
		{"no cap", []Budget{at(Global, "", Day, Cap{}, 9, 0)}, time.Time{}, false},
		{"something is left", []Budget{at(Global, "", Day, CapAt(10), 9, 0)}, time.Time{}, false},
		{"the rest is reserved, and may come back", []Budget{at(Global, "", Day, CapAt(10), 9, 1)}, time.Time{}, false},
		{"all is spent", []Budget{at(Global, "", Day, CapAt(10), 10, 0)}, tonight, true},
		{"more is spent", []Budget{at(ByProvider, "p", Day, CapAt(10), 11, 0)}, tonight, true},
		{"the one that lasts longest", []Budget{at(Global, "", Month, CapAt(10), 10, 0), at(ByProfile, "f", Day, CapAt(5), 5, 0)}, newYear, true},
		{"there never is any", []Budget{at(Global, "", Month, CapAt(0), 0, 0), at(ByProfile, "f", Day, CapAt(5), 5, 0)}, time.Time{}, true},
		{"somebody else's", []Budget{at(ByProvider, "q", Day, CapAt(10), 10, 0), at(ByProfile, "g", Day, CapAt(5), 5, 0), at(ByKey, "k", Day, CapAt(0), 0, 0)}, time.Time{}, false},
	}
	for _, tt := range tests {
		until, ok := View{Budgets: tt.budgets}.Exhausted(Payer{Provider: drey.ProviderID("p"), Profile: "f"})
		if ok != tt.ok || !until.Equal(tt.until) {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, until, ok, tt.until, tt.ok)
		}
	}
}
