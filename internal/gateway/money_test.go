package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/cashier"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/store"
)

// till is a real cashier that remembers what it was asked.
type till struct {
	*cashier.Cashier
	mu       sync.Mutex
	reserved []spend.Reserve
	settled  []spend.Settle
}

func (c *till) Reserve(ctx context.Context, r spend.Reserve) (spend.Ticket, error) {
	ticket, err := c.Cashier.Reserve(ctx, r)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reserved = append(c.reserved, r)
	}
	return ticket, err
}

func (c *till) Settle(s spend.Settle) {
	c.mu.Lock()
	c.settled = append(c.settled, s)
	c.mu.Unlock()
	c.Cashier.Settle(s)
}

// spent is what the global account has spent today.
func (c *till) spent() spend.MicroUSD {
	for _, b := range c.View(time.Now()).Budgets {
		if b.Scope.Kind == spend.Global && b.Period == spend.Day {
			return b.Spent
		}
	}
	return 0
}

// desk is a journal that commits at once, or refuses everything.
type desk struct{ err error }

func (d desk) Submit(done func(store.Commit, error), _ ...store.Append) { done(store.Commit{}, d.err) }

func (desk) Load(context.Context, string, string) (store.State, error) {
	return store.State{}, store.ErrNotFound
}

// withBudget gives a lab a cashier.
func (l *lab) withBudget(p spend.Policy, d desk) *till {
	l.t.Helper()
	c, err := cashier.New(l.t.Context(), cashier.Config{Journal: d, Bus: l}, p)
	if err != nil {
		l.t.Fatal(err)
	}
	t := &till{Cashier: c}
	l.cashier = t
	return t
}

func perDay(m spend.MicroUSD) spend.Policy {
	return spend.Policy{Global: spend.Limit{Day: spend.CapAt(m)}}
}

// bounded is a prompt whose answer may have 100 tokens.
func bounded(w drey.Wire, stream bool) string {
	key := map[drey.Wire]string{drey.WireAnthropic: "max_tokens", drey.WireChat: "max_tokens", drey.WireResponses: "max_output_tokens"}[w]
	body, _ := sjson.Set(prompt(w, stream), key, 100) // a prompt of ours: it cannot fail
	return body
}

// paid makes a provider one that costs a millionth of a dollar for a token of
// input, ten for one of output and a tenth of one for a token from a cache.
func paid(p *Provider) {
	p.Price = drey.Paid
	p.Cost = spend.Given{Input: new(1.0), Output: new(10.0), CacheRead: new(0.1)}
}

// Every attempt is settled once, however it ends, and charged for what came of
// it.
func TestAttemptsAreCharged(t *testing.T) {
	usage := fake.Usage{Input: 100, Output: 20, CacheRead: 50}
	const whole = 100 + 20*10 + 5 // of usage
	long := fake.Text("one two three four five six seven eight").Reports(usage)
	tests := []struct {
		name    string
		b       fake.Behaviour
		cancel  bool // in the middle
		streams bool // it only happens to streams
		end     spend.Ending
		least   spend.MicroUSD
		most    spend.MicroUSD
		saved   spend.MicroUSD
		guess   bool
	}{
		{name: "a whole answer costs what its provider tells", b: long, end: spend.Complete, least: whole, most: whole, saved: 45},
		{name: "without a report it is estimated", b: fake.Text("one two three").NoUsage(), end: spend.Complete, least: 30, most: 300, guess: true},
		{name: "an empty answer is paid for", b: fake.Empty().Reports(fake.Usage{Input: 7}), end: spend.Complete, least: 7, most: 17},
		{name: "a provider that fails costs nothing", b: fake.ServerError(), end: spend.Failed},
		{name: "a cut before the first token costs nothing", b: fake.Text("one").CutAfter(0, fake.Clean), streams: true, end: spend.Failed},
		{name: "a cut answer costs what came", b: long.CutAfter(6, fake.RST), streams: true, end: spend.Cut, least: 20, most: whole + 100, guess: true},
		{name: "a caller who leaves pays for what came", b: long.Gap(10 * time.Second), cancel: true, streams: true, end: spend.Cancelled, least: 20, most: whole + 100, guess: true},
	}
	for _, tt := range tests {
		for _, w := range callers {
			for _, provider := range bothWires {
				for _, stream := range []bool{true, false} {
					if tt.streams && !stream {
						continue
					}
					t.Run(name(tt.name, " ", w, " ", provider, " ", form(stream)), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							l := newLab(t, func(s *Settings) { s.Profiles[0].Retry.Retries = 0 }, scripted{id: "a", wire: provider, script: fake.Always(tt.b), change: paid})
							c := l.withBudget(perDay(1_000_000), desk{})
							ctx, cancel := context.WithCancel(t.Context())
							defer cancel()
							if tt.cancel {
								time.AfterFunc(35*time.Second, cancel)
							}
							l.ask(ctx, w, prompt(w, stream))
							if len(c.reserved) != 1 || len(c.settled) != 1 {
								t.Fatalf("%d reservations, %d settlements", len(c.reserved), len(c.settled))
							}
							got, r := c.settled[0], l.last()
							if got.Ending != tt.end || got.Cost < tt.least || got.Cost > tt.most || got.Estimated != tt.guess {
								t.Errorf("settled as %s with %s (estimated %v), of at least %s and at most %s", got.Ending, got.Cost, got.Estimated, tt.least, tt.most)
							}
							if r.Cost != got.Cost || r.Attempts[0].Cost != got.Cost || r.Savings != tt.saved && !tt.guess {
								t.Errorf("the row says %s at %s, saved %s", r.Cost, r.Attempts[0].Cost, r.Savings)
							}
							if v := c.View(time.Now()); v.Open != 0 || c.spent() != got.Cost {
								t.Errorf("%d are still open, and %s is spent", v.Open, c.spent())
							}
						})
					})
				}
			}
		}
	}
}

// Some servers send many tokens in one frame. A caller who leaves pays for what
// came, and not for how often something came.
func TestLargeFramesAreChargedByWhatTheyHold(t *testing.T) {
	piece := strings.Repeat("word ", 200) // some 250 tokens
	for _, w := range callers {
		for _, provider := range bothWires {
			t.Run(name(w, " ", provider), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := fake.Pieces(piece, piece, piece, "end").NoUsage().Gap(10 * time.Second)
					l := newLab(t, nil, scripted{id: "a", wire: provider, script: fake.Always(b), change: paid})
					c := l.withBudget(perDay(1_000_000), desk{})
					ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
					defer cancel()
					l.ask(ctx, w, prompt(w, true))
					if len(c.settled) != 1 {
						t.Fatalf("%d settlements", len(c.settled))
					}
					if u := l.last().Usage; u.Output < 500 || u.Output > 1000 || !u.Estimated {
						t.Errorf("charged for %+v", u)
					}
				})
			})
		}
	}
}

// An answer that nobody could make ready for the caller is paid for all the
// same; and what several attempts came to is one request's cost.
func TestARequestCostsAllItsAttempts(t *testing.T) {
	l := newLab(t, nil,
		scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Empty().Reports(fake.Usage{Input: 7})), change: paid},
		scripted{id: "b", wire: drey.WireChat, script: fake.Always(fake.Text("hi").Reports(fake.Usage{Input: 8, Output: 1})), change: paid},
	)
	c := l.withBudget(spend.Policy{}, desk{}) // without a budget everything is counted too
	l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false))
	if r := l.last(); r.Cost != 25 || c.spent() != 25 || r.Usage.Input != 8 || r.Attempts[0].Cost != 7 {
		t.Errorf("%s, %s, %+v", r.Cost, c.spent(), r)
	}
	if row := l.last().row(); row.Cost != 0.000025 || row.Attempts[1].Cost != 0.000018 {
		t.Errorf("the row: %+v", row)
	}
}

// A request that was trimmed for one provider goes whole to the next, and that is
// what is reserved for it.
func TestTheNextReservationIsForTheWholeRequest(t *testing.T) {
	l := budgeting(t, guard.BudgetTrim,
		scripted{id: "small", wire: drey.WireChat, script: fake.Always(fake.ServerError()), change: func(p *Provider) {
			paid(p)
			p.ContextTokens = 2400
		}},
		scripted{id: "large", wire: drey.WireChat, script: hello("hi"), change: paid},
	)
	c := l.withBudget(perDay(1_000_000), desk{})
	l.ask(t.Context(), drey.WireChat, talk(drey.WireChat, false))
	const want = 2100 + 100*10
	if len(c.reserved) != 2 || c.reserved[0].Amount != want || c.reserved[1].Amount != want {
		t.Errorf("reserved %v, want %s twice", c.reserved, spend.MicroUSD(want))
	}
}

// A local provider that the configuration gives a price costs it, and no budget
// holds it.
func TestOnlyPaidProvidersAreHeld(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi"), change: func(p *Provider) {
		paid(p)
		p.Price = drey.Local
	}})
	c := l.withBudget(perDay(0), desk{})
	if a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, false)); a.status != 200 || l.last().Cost == 0 || len(c.settled) != 0 {
		t.Errorf("%d, cost %s, %d settlements", a.status, l.last().Cost, len(c.settled))
	}
}

// The budget is spent: 402 in the words of each wire, which tells agents not to
// come back, and which budget it is.
func TestBudgetSpent(t *testing.T) {
	types := map[drey.Wire]string{drey.WireAnthropic: "billing_error", drey.WireChat: "insufficient_quota", drey.WireResponses: "insufficient_quota"}
	for _, w := range callers {
		for _, stream := range []bool{true, false} {
			l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi"), change: paid})
			l.withBudget(spend.Policy{Providers: map[drey.ProviderID]spend.Limit{"a": {Day: spend.CapAt(50_000), Month: spend.CapAt(60)}}}, desk{})
			a := l.ask(t.Context(), w, bounded(w, stream))
			if a.status != http.StatusPaymentRequired || a.errorType() != types[w] {
				t.Errorf("%s: %d %s", w, a.status, a.body)
			}
			if a.header.Get("X-Should-Retry") != "false" || a.header.Get("Retry-After") != "" || a.header.Get("X-Drey-Fallback-Reason") != "budget" {
				t.Errorf("%s: %v", w, a.header)
			}
			for path, want := range map[string]string{
				"detail.skipped.0.reason": "budget", "detail.budgets.0.scope": "provider:a", "detail.budgets.0.period": "month",
				"detail.budgets.0.limit_usd": "0.00006", "detail.budgets.0.left_usd": "0.00006",
			} {
				if got := gjson.Get(a.body, path).String(); got != want {
					t.Errorf("%s: %s is %q, want %q, in %s", w, path, got, want, a.body)
				}
			}
			for _, part := range []string{"the budget of provider a", "$0.00006 a month", "local or free"} {
				if !strings.Contains(gjson.Get(a.body, "error.message").Str, part) {
					t.Errorf("%s: no %q in %s", w, part, a.body)
				}
			}
			if r := l.last(); r.Outcome != OutcomeRefused || len(r.Attempts) != 0 || len(l.fakes["a"].Calls()) != 0 {
				t.Errorf("%s: %+v", w, r)
			}
			if got := l.emitted(); !slices.Contains(got, "budget-exceeded") {
				t.Errorf("%s: %v", w, got)
			}
		}
	}
}

// One who is over its budget is passed over, and the next one serves.
func TestBudgetFallsBack(t *testing.T) {
	l := newLab(t, nil,
		scripted{id: "cloud", wire: drey.WireChat, script: hello("dear"), change: paid},
		scripted{id: "local", wire: drey.WireChat, script: hello("cheap")})
	c := l.withBudget(perDay(5000), desk{})
	for range 20 {
		l.ask(t.Context(), drey.WireChat, `{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`)
	}
	c.Apply(perDay(0))
	a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
	if text, _ := a.text(drey.WireChat); a.status != 200 || text != "cheap" || a.header.Get("X-Drey-Fallback-Reason") != "budget" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	i := slices.IndexFunc(l.last().Events, func(ev drey.Event) bool { return ev.Name == "provider-skipped" })
	line, err := l.last().Events[i].MarshalJSON()
	if err != nil || gjson.GetBytes(line, "scope").Str != "global" || gjson.GetBytes(line, "left_usd").Raw != "0" {
		t.Errorf("%s %v", line, err)
	}
	c.Apply(perDay(1_000_000))
	if text, _ := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true)).text(drey.WireChat); text != "dear" {
		t.Errorf("the budget was raised, and %q serves", text)
	}
}

// A thousand requests at once do not pass a limit together: what is spent goes
// beyond it by what attempts cost more than anybody could foresee, and by no
// more. Where nothing of that kind happens, not at all.
func TestABurstStaysWithinTheBudget(t *testing.T) {
	for _, tt := range []struct {
		name string
		most int // tokens of output that a provider reports, of 100 that were asked for
	}{{"honest", 100}, {"dearer than foreseen", 300}} {
		t.Run(tt.name, func(t *testing.T) {
			const limit = 100_000 // room for about a hundred at the most that they may cost
			random := func(_ int, r fake.Request) fake.Behaviour {
				return fake.Text("some words of an answer").Reports(fake.Usage{Input: rand.IntN(3), Output: rand.IntN(tt.most + 1)})
			}
			l := newLab(t, nil,
				scripted{id: "a", wire: drey.WireChat, script: random, change: paid},
				scripted{id: "b", wire: drey.WireAnthropic, script: random, change: paid})
			c := l.withBudget(perDay(limit), desk{})
			var wg sync.WaitGroup
			status := make([]int, 1000)
			for i := range status {
				wg.Go(func() {
					w := callers[i%len(callers)]
					rec := httptest.NewRecorder()
					l.Generate(t.Context(), rec, &Request{ID: drey.RequestID(fmt.Sprint("req_", i)), At: time.Now(), Wire: w, Body: []byte(bounded(w, i%2 == 0)), Header: http.Header{}})
					status[i] = rec.Code
				})
			}
			wg.Wait()
			var rows, excess spend.MicroUSD
			for _, r := range l.records {
				rows += r.Cost
			}
			type one struct {
				request  drey.RequestID
				provider drey.ProviderID
			}
			held := map[one]spend.MicroUSD{}
			for _, r := range c.reserved {
				held[one{r.RequestID, r.Payer.Provider}] = r.Amount
			}
			for _, s := range c.settled {
				excess += max(s.Cost-held[one{s.RequestID, s.Ticket.Payer.Provider}], 0)
			}
			told := map[int]int{}
			for _, code := range status {
				told[code]++
			}
			if told[200] == 0 || told[402] == 0 || told[200]+told[402] != len(status) {
				t.Errorf("answers by status: %v", told)
			}
			if got := c.spent(); got != rows || got > limit+excess || tt.most <= 100 && excess > 0 {
				t.Errorf("spent %s of %s; the rows say %s, and %s was above what was held", got, spend.MicroUSD(limit), rows, excess)
			}
			if v := c.View(time.Now()); v.Open != 0 || v.Reserved != 0 {
				t.Errorf("when all have ended %d hold %s", v.Open, v.Reserved)
			}
		})
	}
}

// What cannot be written down does not leave: whoever costs nothing serves, and
// where there is nobody else the caller may come back.
func TestAReservationThatIsNotWritten(t *testing.T) {
	full := desk{errors.New("the disk is full")}
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("dear"), change: paid}, scripted{id: "b", wire: drey.WireChat, script: hello("cheap")})
	l.withBudget(perDay(1_000_000), full)
	a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
	if text, _ := a.text(drey.WireChat); text != "cheap" || a.header.Get("X-Drey-Fallback-Reason") != "journal" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	l = newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("dear"), change: paid})
	l.withBudget(perDay(1_000_000), full)
	if a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true)); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if len(l.fakes["a"].Calls()) != 0 || l.view("a").InFlight != 0 || len(l.view("a").Failures) != 0 {
		t.Errorf("it was asked, or keeps its place: %+v", l.view("a"))
	}
}

// What is reserved is what the attempt may come to.
func TestReservations(t *testing.T) {
	words := strings.Repeat("word ", 400)
	for _, tt := range []struct {
		name, body string
		change     func(*Provider)
		want       spend.MicroUSD
	}{
		{"the prompt, and all that may be answered", `{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"` + words + `"}]}`, nil, 500 + 10_000},
		{"without max_tokens, what the model can", `{"model":"m","messages":[{"role":"user","content":"` + words + `"}]}`, func(p *Provider) { p.MaxOutputTokens = 300 }, 500 + 3000},
		{"several answers", `{"model":"m","n":3,"max_tokens":1000,"messages":[{"role":"user","content":"` + words + `"}]}`, nil, 500 + 30_000},
		{"several answers, said twice", `{"model":"m","n":1,"max_tokens":1000,"messages":[{"role":"user","content":"` + words + `"}],"n":3}`, nil, 500 + 30_000},
		{"a limit that is none", `{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":"` + words + `"}]}`, func(p *Provider) { p.MaxOutputTokens = 300 }, 500 + 3000},
		{"a limit that is dropped", `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"` + words + `"}]}`, func(p *Provider) { p.MaxOutputTokens, p.Drop = 300, []string{"max_tokens"} }, 500 + 3000},
		{"a limit beyond all numbers", `{"model":"m","n":2,"max_tokens":9223372036854775807,"messages":[{"role":"user","content":"` + words + `"}]}`, nil, 500 + 2*mostAnswer*10},
		{"the model of the caller", `{"model":"claude-sonnet-4-5","max_tokens":1000,"messages":[{"role":"user","content":"` + words + `"}]}`, func(p *Provider) { p.Model, p.Cost = "", spend.Given{} }, 500*3 + 15_000},
		{"a model that nobody knows", `{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"` + words + `"}]}`, func(p *Provider) { p.Model, p.Cost = "", spend.Given{} }, 0},
	} {
		l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi"), change: func(p *Provider) {
			paid(p)
			if tt.change != nil {
				tt.change(p)
			}
		}})
		c := l.withBudget(perDay(1_000_000_000), desk{})
		if a := l.ask(t.Context(), drey.WireChat, tt.body); a.status != 200 {
			t.Fatalf("%s: %d %s", tt.name, a.status, a.body)
		}
		if got := c.reserved[0].Amount; got < tt.want || got > tt.want+20 {
			t.Errorf("%s: %s, want %s and a little for the frame", tt.name, got, tt.want)
		}
	}
}

// Embeddings have no output, and are paid for too.
func TestEmbeddingsAreCharged(t *testing.T) {
	const answered = `{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":40,"total_tokens":40}}`
	a := embedder("a", &server{status: 200, kind: "application/json", body: answered})
	way := a.change
	a.change = func(p *Provider) {
		way(p)
		paid(p)
	}
	l := newLab(t, nil, a)
	c := l.withBudget(perDay(1000), desk{})
	got := l.embed(`{"model":"e","input":"some text of eight words, or of nine"}`)
	if got.status != 200 || len(c.settled) != 1 || c.settled[0].Cost != 40 || c.reserved[0].Amount > 40 || l.last().Cost != 40 {
		t.Errorf("%d %s: %+v %+v", got.status, got.body, c.reserved, c.settled)
	}
}

// A key has its requests of a minute and no more; others have theirs.
func TestRequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi")})
		ask := func(w drey.Wire, key string) answer {
			return l.ask(t.Context(), w, prompt(w, true), func(r *Request) { r.Key = Key{Name: key, PerMinute: 2} })
		}
		for range 2 {
			if a := ask(drey.WireChat, "night"); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		for _, w := range callers {
			a := ask(w, "night")
			if a.status != 429 || !strings.Contains(a.errorType(), "rate_limit") || !strings.Contains(a.body, "night") {
				t.Errorf("%s: %d %s", w, a.status, a.body)
			}
			if s := a.header.Get("Retry-After"); s != "60" {
				t.Errorf("%s: Retry-After %q", w, s)
			}
			want := drey.FormatTime(time.Now().Add(61 * time.Second)) // a minute, in whole seconds of the clock
			if d := gjson.Get(a.body, "detail"); d.Get("retry_at").Str != want || !d.Get("attempts").IsArray() || !d.Get("skipped").IsArray() {
				t.Errorf("%s: the detail is %s, want to come again at %s", w, d.Raw, want)
			}
			if r := l.last(); r.Outcome != OutcomeRefused || r.Status != 429 || r.Key != "night" {
				t.Errorf("%s: %+v", w, r)
			}
		}
		if a := ask(drey.WireChat, "day"); a.status != 200 {
			t.Errorf("another key: %d", a.status)
		}
		time.Sleep(61 * time.Second)
		if a := ask(drey.WireChat, "night"); a.status != 200 {
			t.Errorf("a minute later: %d", a.status)
		}
	})
}

// A caller may name a model that is not in the table: that is told once.
func TestAModelWithoutAPrice(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi"), change: func(p *Provider) { p.Price, p.Model = drey.Paid, "" }})
	c := l.withBudget(spend.Policy{}, desk{})
	ask := func(model string) {
		if a := l.ask(t.Context(), drey.WireChat, `{"model":"`+model+`","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	told := func() int {
		n := 0
		for _, name := range l.emitted() {
			if name == "no-price" {
				n++
			}
		}
		return n
	}
	ask("odd") // there is no budget, and nothing to warn of
	c.Apply(perDay(1_000_000))
	ask("gpt-5")
	if n := told(); n != 0 {
		t.Errorf("told %d times of a model with a price, or without a budget", n)
	}
	ask("odd")
	ask("odder")
	if n := told(); n != 1 {
		t.Errorf("told %d times", n)
	}
	if l.last().Cost != 0 {
		t.Errorf("it costs %s", l.last().Cost)
	}
}

func TestUnpriced(t *testing.T) {
	for _, tt := range []struct {
		p    Provider
		want bool
	}{
		{Provider{}, false},
		{func() (p Provider) { p.Price, p.Model = drey.Paid, "gpt-5"; return }(), false},
		{func() (p Provider) { p.Price, p.Model = drey.Paid, "nobody"; return }(), true},
		{func() (p Provider) { paid(&p); p.Model = "nobody"; return }(), false},
		{func() (p Provider) { p.Price = drey.Paid; return }(), false},
		{func() (p Provider) { p.Model = "nobody"; return }(), false},
	} {
		if got := tt.p.Unpriced(); got != tt.want {
			t.Errorf("%s %q: %v", tt.p.Price, tt.p.Model, got)
		}
	}
}
