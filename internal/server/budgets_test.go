package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/spend"
)

// A limit of nothing is a limit, and no limit is told as none.
func TestBudgetsOf(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var m spend.Machine
	p := spend.Policy{Global: spend.Limit{Month: spend.CapAt(0)}, Keys: map[string]spend.Limit{"k": {Day: spend.CapAt(1_500_000)}}}
	m.Settle(spend.Settle{Meta: spend.Meta{At: at}, Ticket: spend.Ticket{Payer: spend.Payer{Provider: "a"}}, Cost: 250_000})
	if _, _, refusal := m.Reserve(spend.Reserve{Meta: spend.Meta{At: at}, Payer: spend.Payer{Provider: "a", Key: "k"}, Amount: 500_000}, spend.Policy{Keys: p.Keys}); refusal != nil {
		t.Fatal(refusal)
	}
	const tomorrow, nextMonth = "2026-11-23T00:00:00.000000+00:00", "2026-12-01T00:00:00.000000+00:00"
	want := api.Budgets{
		ReservedUSD: 0.5, Open: 1,
		Budgets: []api.Budget{
			{Scope: "global", Period: "day", SpentUSD: 0.25, ReservedUSD: 0.5, ResetsAt: tomorrow},
			{Scope: "global", Period: "month", SpentUSD: 0.25, ReservedUSD: 0.5, LimitUSD: new(0.0), LeftUSD: new(0.0), ResetsAt: nextMonth},
			{Scope: "provider:a", Period: "day", SpentUSD: 0.25, ReservedUSD: 0.5, ResetsAt: tomorrow},
			{Scope: "provider:a", Period: "month", SpentUSD: 0.25, ReservedUSD: 0.5, ResetsAt: nextMonth},
			{Scope: "key:k", Period: "day", ReservedUSD: 0.5, LimitUSD: new(1.5), LeftUSD: new(1.0), ResetsAt: tomorrow},
			{Scope: "key:k", Period: "month", ReservedUSD: 0.5, ResetsAt: nextMonth},
		},
	}
	if d := cmp.Diff(want, BudgetsOf(m.View(at, p))); d != "" {
		t.Error(d)
	}
	if got := BudgetsOf(spend.View{}); got.Budgets == nil || len(got.Budgets) != 0 {
		t.Errorf("nothing is %+v, and an empty list was wanted", got)
	}
}
