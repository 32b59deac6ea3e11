package config

import (
	"fmt"

	"github.com/dreyhq/drey"
)

// Cost holds what a provider charges, in USD per million tokens, and its
// budget. A price that is nil is the built-in table's, where the model is in
// it.
type Cost struct {
	Input      *float64 `yaml:"input" range:"0.." doc:"USD per million tokens of input; by default that of the built-in table for the model"`
	Output     *float64 `yaml:"output" range:"0.." doc:"USD per million tokens of output; by default that of the built-in table"`
	CacheRead  *float64 `yaml:"cache_read" range:"0.." doc:"input read from a cache; by default 0.1 of input"`
	CacheWrite *float64 `yaml:"cache_write" range:"0.." doc:"input written to a cache; by default 1.25 of input"`
	USDDay     *float64 `yaml:"usd_day" range:"0.." doc:"the most that this provider may cost per day (UTC)"`
	USDMonth   *float64 `yaml:"usd_month" range:"0.." doc:"the most that this provider may cost per month (UTC)"`
}

// Budget is the provider's budget, with a limit or without.
func (c *Cost) Budget() Budget { return Budget{c.USDDay, c.USDMonth} }

// Budget limits what may be spent, by UTC day and month. What is nil is no
// limit.
type Budget struct {
	USDDay   *float64 `yaml:"usd_day" range:"0.." doc:"USD per day"`
	USDMonth *float64 `yaml:"usd_month" range:"0.." doc:"USD per month"`
}

// money holds budgets against each other and against what they are of.
func (c *checker) money() {
	c.budget("budget", c.f.Budget)
	for i := range c.f.Providers {
		c.cost(&c.f.Providers[i])
	}
	for i := range c.f.Profiles {
		p := &c.f.Profiles[i]
		c.budget(join("profiles", string(p.Name))+".budget", p.Budget)
	}
	for i := range c.f.Keys {
		c.budget(fmt.Sprintf("keys[%d].budget", i), c.f.Keys[i].Budget)
	}
}

// cost refuses a budget that would hold nothing: only what is paid for is
// counted.
func (c *checker) cost(p *Provider) {
	path := join("providers", string(p.Name)) + ".cost"
	if p.Class != drey.Paid {
		for _, key := range []string{".usd_day", ".usd_month"} {
			if c.was(path + key) {
				c.faulty(path+key, "a budget of a provider whose class is "+p.Class.String()+" holds nothing", "write class: paid, or remove it")
			}
		}
		return
	}
	b := p.Cost.Budget()
	c.limits(path, &b)
}

func (c *checker) budget(path string, b *Budget) {
	if b == nil {
		return
	}
	if b.USDDay == nil && b.USDMonth == nil && c.sound(path) {
		c.warn(path, "a budget without a limit holds nothing", "write usd_day or usd_month")
	}
	c.limits(path, b)
}

// limits warns of a day's limit that no day can reach.
func (c *checker) limits(path string, b *Budget) {
	if b.USDDay != nil && b.USDMonth != nil && *b.USDDay > *b.USDMonth && *b.USDMonth > 0 {
		c.warn(path+".usd_day", "a day may cost more than the month", "lower it, or raise usd_month")
	}
}
