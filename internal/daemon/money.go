package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey/internal/cashier"
)

// unpriced tells of paid providers that a budget reaches over and cannot hold,
// because nobody knows what they cost.
func (d *Daemon) unpriced(gen *generation) {
	if !gen.settings.AllowPaid || !gen.budgets.Any() {
		return
	}
	for i := range gen.settings.Providers {
		p := &gen.settings.Providers[i]
		if p.Unpriced() && reached(gen.file, gen.budgets, p.ID) {
			d.log.Warn("no-price", "provider", p.ID, "model", p.Model,
				"hint", "its answers count as free, and no budget holds them; write cost.input and cost.output")
		}
	}
}

// purse tells Prometheus what the budgets are at.
type purse struct{ *cashier.Cashier }

var (
	descBudgetLeft = prometheus.NewDesc("drey_budget_remaining_usd", "What may still be reserved of a budget.", []string{"scope", "period"}, nil)
	descReserved   = prometheus.NewDesc("drey_reserved_usd", "Held for paid attempts under way.", nil, nil)
)

// Describe implements prometheus.Collector.
func (p purse) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBudgetLeft
	ch <- descReserved
}

// Collect implements prometheus.Collector.
func (p purse) Collect(ch chan<- prometheus.Metric) {
	v := p.View(time.Now())
	ch <- prometheus.MustNewConstMetric(descReserved, prometheus.GaugeValue, v.Reserved.USD())
	for _, b := range v.Budgets {
		if _, ok := b.Cap.Value(); ok {
			ch <- prometheus.MustNewConstMetric(descBudgetLeft, prometheus.GaugeValue, b.Left.USD(), b.Scope.String(), b.Period.String())
		}
	}
}
