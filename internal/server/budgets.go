package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/spend"
)

// Budgets is what the control API asks of the money. Calls come concurrently.
type Budgets interface {
	// View returns the windows that are open at a time.
	View(at time.Time) spend.View
}

// budgetRoutes are the operations on money.
func (s *Server) budgetRoutes(a huma.API) {
	huma.Register(a, operation(http.MethodGet, "/budgets", "budgets", "What was spent, and what may still be"), s.getBudgets)
}

func (s *Server) getBudgets(context.Context, *nothing) (*answer[api.Budgets], error) {
	if s.cfg.Budgets == nil {
		return &answer[api.Budgets]{api.Budgets{Budgets: []api.Budget{}}}, nil
	}
	return &answer[api.Budgets]{BudgetsOf(s.cfg.Budgets.View(time.Now()))}, nil
}

// BudgetsOf returns a view of the budgets as the control API tells it, in the
// same order. The daemon's Status is made with it too.
func BudgetsOf(v spend.View) api.Budgets {
	out := api.Budgets{Budgets: make([]api.Budget, 0, len(v.Budgets)), ReservedUSD: v.Reserved.USD(), Open: v.Open}
	for _, b := range v.Budgets {
		one := api.Budget{
			Scope: b.Scope.String(), Period: b.Period.String(), SpentUSD: b.Spent.USD(), ReservedUSD: b.Reserved.USD(),
			ResetsAt: drey.FormatTime(b.Resets),
		}
		if limit, ok := b.Cap.Value(); ok {
			one.LimitUSD, one.LeftUSD = new(limit.USD()), new(b.Left.USD())
		}
		out.Budgets = append(out.Budgets, one)
	}
	return out
}
