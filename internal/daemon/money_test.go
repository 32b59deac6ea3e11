package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

// paidConfig is the configuration of a paid provider "cloud" that costs a
// millionth of a dollar for a token of input and ten for one of output.
func paidConfig(url string, more ...string) string {
	return fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
allow_paid: true
providers:
  cloud: {wire: openai, url: %q, class: paid, model: m, cost: {input: 1, output: 10}}
profiles: {default: {chain: [cloud], retry: {same_provider: 0}}}
`, url) + strings.Join(more, "\n") + "\n"
}

// pays is an answer that reports so many tokens.
func pays(input, output int) fake.Script {
	return fake.Always(fake.Text("it was worth it").Reports(fake.Usage{Input: input, Output: output}))
}

// bounded is a request whose answer may have 100 tokens.
const bounded = `{"model":"any","max_tokens":100,"stream":%v,"messages":[{"role":"user","content":"hi"}]}`

// buy sends one, and returns the status.
func (h *house) buy(headers ...string) answer {
	h.t.Helper()
	return h.do(http.MethodPost, "/v1/chat/completions", fmt.Sprintf(bounded, false), headers...)
}

// budget is what one scope has spent in a period.
func (h *house) budget(scope, period string) api.Budget {
	h.t.Helper()
	b, err := h.control().Budgets(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, one := range b.Budgets {
		if one.Scope == scope && one.Period == period {
			return one
		}
	}
	return api.Budget{}
}

// metric is the value of a series of /metrics, -1 if there is none.
func (h *house) metric(series string) float64 {
	h.t.Helper()
	for line := range strings.Lines(h.do(http.MethodGet, "/metrics", "").body) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

// near is equality of sums of money, which metrics add up as fractions.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// What is spent is held to the budgets of the configuration in force, and goes
// on over restarts, on both stores.
func TestMoney(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { moneyOn(t, "", func(*Options) {}) })
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.URL(t)
		moneyOn(t, "store: env:DREY_STORE", func(o *Options) {
			o.Env = environment(map[string]string{"DREY_STORE": url})
			o.test.standBy = time.Millisecond
		})
	})
}

func moneyOn(t *testing.T, storeLine string, change func(*Options)) {
	cloud := provider(t, pays(50, 20)) // $0.00025
	home := newHome(t, paidConfig(cloud.URL(), storeLine, "budget: {usd_month: 0.002, usd_day: 1}"))
	h := openAt(t, home, change)
	if a := h.buy(); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if b := h.budget("global", "month"); !near(b.SpentUSD, 0.00025) || b.ReservedUSD != 0 || b.LeftUSD == nil || !near(*b.LeftUSD, 0.00175) {
		t.Errorf("%+v", b)
	}
	if b := h.budget("provider:cloud", "month"); !near(b.SpentUSD, 0.00025) || b.LimitUSD != nil {
		t.Errorf("%+v", b)
	}
	var last answer
	for last.status != http.StatusPaymentRequired { // each asks for $0.001 and a little
		last = h.buy()
		if last.status != 200 && last.status != http.StatusPaymentRequired {
			t.Fatalf("%d %s", last.status, last.body)
		}
	}
	if last.header.Get("X-Should-Retry") != "false" || last.header.Get("Retry-After") != "" || !strings.Contains(last.body, "all paid providers") {
		t.Errorf("%v %s", last.header, last.body)
	}
	h.buy()
	h.event("budget-exceeded", 0)
	if n := len(h.events(store.Query{Event: "budget-exceeded"})); n != 1 {
		t.Errorf("it is told %d times that the budget is exceeded", n)
	}
	eventually(t, "the audit log has it, and nothing of each attempt", func() bool {
		rows, _ := readLog(t, h.home.Audit())
		all := strings.Join(rows, "\n")
		return strings.Contains(all, `"budget-exceeded"`) && strings.Contains(all, `"limit_usd":0.002`) && !strings.Contains(all, "budget-settled")
	})
	st, err := h.control().Status(t.Context())
	if err != nil || len(st.Budgets) != 2 || st.Budgets[0].Scope != "global" || st.Budgets[1].Period != "month" {
		t.Errorf("%+v, %v", st.Budgets, err)
	}

	writeConfig(t, home, paidConfig(cloud.URL(), storeLine, "budget: {usd_month: 0.01}"))
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := h.buy(); a.status != 200 {
		t.Errorf("the budget was raised: %d %s", a.status, a.body)
	}
	spent := h.budget("global", "month").SpentUSD
	if left := h.metric(`drey_budget_remaining_usd{period="month",scope="global"}`); !near(left, 0.01-spent) {
		t.Errorf("the metric says %v, and %v of 0.01 are spent", left, spent)
	}
	cost := `drey_cost_usd_total{provider="cloud"}`
	eventually(t, "all is counted", func() bool { return near(h.metric(cost), spent) })
	if v := h.metric("drey_reserved_usd"); v != 0 {
		t.Errorf("%v is held for nobody", v)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}

	writeConfig(t, home, paidConfig(cloud.URL(), storeLine, "budget: {usd_month: 0}"))
	h = openAt(t, home, change)
	if b := h.budget("global", "month"); !near(b.SpentUSD, spent) || b.ReservedUSD != 0 || *b.LeftUSD != 0 {
		t.Errorf("after a restart: %+v, of %v spent", b, spent)
	}
	if v := h.metric(cost); !near(v, spent) {
		t.Errorf("after a restart the total is %v, of %v spent", v, spent)
	}
	if a := h.buy(); a.status != http.StatusPaymentRequired {
		t.Errorf("no money: %d %s", a.status, a.body)
	}
	h.broke(`{"provider":"cloud","reason":"budget"}`)
	writeConfig(t, home, paidConfig(cloud.URL(), storeLine, "budget: {usd_month: 0.001}")) // more is spent
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.broke(fmt.Sprintf(`{"provider":"cloud","reason":"budget","until":%q}`, h.budget("global", "month").ResetsAt))
}

// broke fails the test unless the house says at all its doors that it has no
// money left, for the reason.
func (h *house) broke(reason string) {
	h.t.Helper()
	if a := h.do(http.MethodGet, "/readyz", ""); a.status != http.StatusServiceUnavailable || a.body != `{"status":"not ready","reasons":[`+reason+`]}` {
		h.t.Errorf("/readyz: %d %s", a.status, a.body)
	}
	if v := h.metric(`drey_profile_ready{profile="default"}`); v != 0 {
		h.t.Errorf("the metric says that the profile is ready: %v", v)
	}
	st, err := h.control().Status(h.t.Context())
	if err != nil || st.Profiles[0].Ready {
		h.t.Errorf("the status says that the profile is ready: %+v, %v", st, err)
	}
}

// A request's row says what it cost, and drey why tells it.
func TestWhatARequestCost(t *testing.T) {
	cloud := provider(t, fake.Always(fake.Text("yes").Reports(fake.Usage{Input: 50, Output: 20, CacheRead: 100})))
	h := open(t, strings.Replace(paidConfig(cloud.URL(), "budget: {usd_day: 1}"), "output: 10", "output: 10, cache_read: 0.5", 1))
	id := drey.RequestID(h.buy().header.Get("X-Request-Id"))
	h.row(string(id))
	raw, err := h.control().Request(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var row struct {
		Cost    float64 `json:"cost_usd"`
		Savings float64 `json:"savings_usd"`
	}
	if err := json.Unmarshal(raw, &row); err != nil || !near(row.Cost, 0.0003) || !near(row.Savings, 0.00005) {
		t.Errorf("%+v, %v: %s", row, err, raw)
	}
	w, err := h.control().WhyRequest(t.Context(), id)
	if err != nil || !strings.Contains(w.Steps[len(w.Steps)-1].Text, "for $0.0003 (the prompt cache saved $0.00005)") {
		t.Errorf("%+v, %v", w, err)
	}
	for _, s := range w.Steps {
		if strings.HasPrefix(s.Event, "budget-") {
			t.Errorf("a step of bookkeeping: %+v", s)
		}
	}
	eventually(t, "the cache is counted", func() bool { return near(h.metric("drey_cache_savings_usd_total"), 0.00005) })
	if v := h.metric(`drey_cache_hit_ratio{provider="cloud"}`); !near(v, 100.0/150) {
		t.Errorf("the cache hit ratio is %v", v)
	}
}

// Keys have budgets and rates of their own.
func TestKeysAndMoney(t *testing.T) {
	cloud := provider(t, pays(1, 1))
	h := open(t, paidConfig(cloud.URL(), `keys:
  - {name: poor, secret: env:POOR, budget: {usd_month: 0.0001}}
  - {name: slow, secret: env:SLOW, requests_per_minute: 2}`), func(o *Options) {
		o.Env = environment(map[string]string{"POOR": "poor-secret", "SLOW": "slow-secret"})
	})
	as := func(secret string) answer { return h.buy("Authorization", "Bearer "+secret) }
	if a := as("poor-secret"); a.status != http.StatusPaymentRequired || !strings.Contains(a.body, "the budget of key poor") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for range 2 {
		if a := as("slow-secret"); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	a := as("slow-secret")
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 60 || strings.Contains(a.body, "secret") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if b := h.budget("key:slow", "month"); !near(b.SpentUSD, 0.000022) {
		t.Errorf("%+v", b)
	}
}

// A provider whose price nobody knows is told of, where a budget is meant to
// hold it.
func TestNoPrice(t *testing.T) {
	config := `version: 1
listen: {addr: "127.0.0.1:0"}
allow_paid: true
providers:
  known: {wire: openai, url: "demo:echo", class: paid, model: gpt-5}
  odd: {wire: openai, url: "demo:echo", class: paid, model: nobody-knows-it}
  aside: {wire: openai, url: "demo:echo", class: paid, model: nor-this}
profiles:
  default: {chain: [known, odd]BUDGET}
  other: {chain: [aside]}
`
	for budget, want := range map[string]int{"": 0, ", budget: {usd_day: 1}": 1} {
		h := open(t, strings.Replace(config, "BUDGET", budget, 1))
		if got := strings.Count(h.log.String(), `"no-price"`); got != want {
			t.Errorf("%q: it is told %d times, want %d", budget, got, want)
		}
		if want > 0 && !strings.Contains(h.log.String(), `"model":"nobody-knows-it"`) {
			t.Errorf("the log does not say which: %s", h.log)
		}
	}
}

// TestKillWithMoneyUnderWay kills a daemon in the middle of paid answers, over
// and over on one home. No attempt has left without its reservation, each is
// settled once, and what is charged is at least what the provider asks for, and
// no more than the budget.
func TestKillWithMoneyUnderWay(t *testing.T) {
	t.Parallel() // it waits more than it works
	rounds := 3
	if soak() {
		rounds = 60
	}
	const limit = 100.0
	var owed atomic.Int64 // in micro-USD, by the provider's own count
	var calls atomic.Int64
	cloud := provider(t, func(n int, _ fake.Request) fake.Behaviour {
		calls.Add(1)
		owed.Add(int64(3 + 10*(n%100)))
		return fake.Text("an answer of some words that takes its time").Gap(time.Millisecond).Reports(fake.Usage{Input: 3, Output: n % 100})
	})
	home := newHome(t, paidConfig(cloud.URL(), "logs: {level: error}", fmt.Sprintf("budget: {usd_month: %v}", limit)))
	began := time.Now().UTC().Month()
	for round := range rounds {
		c := startChild(t, home)
		served := spendUntilKilled(t, c, 10+rand.Int64N(60))
		c.gone()

		c = startChild(t, home)
		spent, reserved := c.settled()
		if n := int(calls.Load()); n > reserved || served == 0 {
			t.Errorf("round %d: %d attempts left with %d reservations; %d were served", round, n, reserved, served)
		}
		if want := owed.Load(); spent < want || float64(spent) > limit*1e6 {
			t.Errorf("round %d: %d is charged, and the provider asks for %d", round, spent, want)
		}
		if b := c.budget("global", "month"); time.Now().UTC().Month() == began && (!near(b.SpentUSD, float64(spent)/1e6) || b.ReservedUSD != 0) {
			t.Errorf("round %d: the rows say %d, and the budget %+v", round, spent, b)
		}
		c.kill()
		c.gone()
	}
}

// spendUntilKilled keeps 16 callers buying and kills the daemon when so many
// answers have come. It returns how many that were in the end.
func spendUntilKilled(t *testing.T, c *child, answers int64) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	var got atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(bounded, i%2 == 0)))
				if err != nil {
					return
				}
				resp, err := c.http.Do(req)
				if err != nil {
					return // it has been killed
				}
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err == nil && resp.StatusCode == 200 && got.Add(1) == answers {
					c.kill()
				}
			}
		})
	}
	wg.Wait()
	return got.Load()
}

// settled reads the rows of the budget in the journal: every reservation has one
// settlement and no more. It returns what was charged, and how many
// reservations there were.
func (c *child) settled() (micro int64, reservations int) {
	c.t.Helper()
	ctl := c.control()
	after := drey.Seq(0)
	open := map[string]bool{}
	for {
		page, err := ctl.EventPage(c.t.Context(), client.EventQuery{After: &after, Event: "budget-*", Limit: store.MaxLimit})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, ev := range page.Events {
			after = ev.Seq
			id := string(fieldOf(ev, "reservation"))
			switch ev.Name {
			case "budget-reserved":
				reservations++
				open[id] = true
			case "budget-settled":
				if !open[id] {
					c.t.Errorf("seq %d settles reservation %s, which is not open", ev.Seq, id)
				}
				delete(open, id)
				n, err := strconv.ParseInt(string(fieldOf(ev, "cost_micro_usd")), 10, 64)
				if err != nil {
					c.t.Error(err)
				}
				micro += n
			}
		}
		if page.NextCursor == "" {
			break
		}
	}
	if len(open) > 0 {
		c.t.Errorf("%d reservations are open for ever", len(open))
	}
	return micro, reservations
}
