package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/wire"
)

// A Cashier keeps the budgets; internal/cashier has one. Calls come
// concurrently.
type Cashier interface {
	// Any reports whether there is a budget at all, and InForce whether one
	// reaches over the payer's attempts. Neither takes a lock.
	Any() bool
	InForce(p spend.Payer) bool
	// Check returns why the budgets have no room for an attempt, nil if they
	// have. It promises nothing.
	Check(r spend.Reserve) *spend.Refusal
	// Reserve holds what an attempt may cost, durably. The error is a
	// *spend.Refusal, the cause of ctx's end, or the journal's.
	Reserve(ctx context.Context, r spend.Reserve) (spend.Ticket, error)
	// Settle charges an attempt that has ended, once.
	Settle(s spend.Settle)
	// View returns what the budgets are at.
	View(at time.Time) spend.View
}

// unlimited is the Cashier where there is none: nothing is held back, and
// nobody adds up.
type unlimited struct{}

func (unlimited) Any() bool                          { return false }
func (unlimited) InForce(spend.Payer) bool           { return false }
func (unlimited) Check(spend.Reserve) *spend.Refusal { return nil }
func (unlimited) Settle(spend.Settle)                {}
func (unlimited) View(time.Time) spend.View          { return spend.View{} }

func (unlimited) Reserve(context.Context, spend.Reserve) (spend.Ticket, error) {
	return spend.Ticket{}, nil
}

// reasonUnwritten says that an attempt did not leave because its reservation
// could not be written down.
const reasonUnwritten route.Reason = "journal"

// money is what an exchange knows of its own cost.
type money struct {
	bill    bill // of the attempt under way or the last one
	refused []overspent
}

// bill is what one attempt costs.
type bill struct {
	lane   *lane // nil = there is none, or it is settled
	prices spend.Prices
	ticket spend.Ticket
	usage  wire.Usage // what it was charged for
	cost   spend.MicroUSD
}

// overspent is a provider that a budget had no room for.
type overspent struct {
	provider drey.ProviderID
	*spend.Refusal
}

// prices are those of an attempt at a provider. Only one that lets the caller's
// model through has to be looked up: the others know theirs.
func (x *exchange) prices(l *lane) spend.Prices {
	if l.p.Model != "" || l.p.Price != drey.Paid {
		return l.prices
	}
	model := x.head.Model
	if x.choice.Ours {
		model = l.anyModel()
	}
	p, known := spend.PricesOf(model, l.p.Cost)
	if !known && x.g.cashier.InForce(x.payer(l)) {
		x.unpriced(l)
	}
	return p
}

// unpriced tells, once for a provider and configuration, that a caller has named
// a model that no budget holds. Which one is the caller's word, and in its row.
func (x *exchange) unpriced(l *lane) {
	if !l.unpriced.CompareAndSwap(false, true) {
		return
	}
	x.emit(drey.Event{
		Name: "no-price", Level: drey.Warn, Machine: "provider", ID: string(l.p.ID),
		Fields: []drey.Field{drey.F("provider", l.p.ID), drey.F("hint", noPrice)},
	})
}

const noPrice = "answers of a model that is not in the table of prices count as free, and no budget holds them; write cost.input and cost.output"

// pricesOf are a provider's, as far as its settings tell. The built-in table is
// for who sells: a server of one's own costs what the configuration says.
func pricesOf(p *Provider) spend.Prices {
	model := p.Model
	if p.Price != drey.Paid {
		model = ""
	}
	prices, _ := spend.PricesOf(model, p.Cost)
	return prices
}

// Unpriced reports whether the price of a provider's answers is known neither
// from its settings nor from the built-in table, so that no budget holds them.
// Of one that lets the caller's model through nobody knows before.
func (p *Provider) Unpriced() bool {
	_, known := spend.PricesOf(p.Model, p.Cost)
	return p.Price == drey.Paid && p.Model != "" && !known
}

func (x *exchange) payer(l *lane) spend.Payer {
	return spend.Payer{Provider: l.p.ID, Profile: x.chain.ID, Key: x.req.Key.Name}
}

// ask is what an attempt at a provider asks of the budgets: its prompt, and all
// the output that it may make, in each of the answers that the caller wants.
func (x *exchange) ask(l *lane, prices spend.Prices, at time.Time) spend.Reserve {
	output := 0
	if !x.embeds {
		output = x.mostOutput(l)
	}
	return spend.Reserve{
		Meta: spend.Meta{At: at, RequestID: x.req.ID}, Payer: x.payer(l), Amount: prices.Reservation(l.tokens(x.prompt()), output),
	}
}

// What a caller asks for is bounded before it is multiplied: more answers no
// provider gives, and none is as long.
const (
	mostChoices = 128
	mostAnswer  = 1 << 23
)

// mostOutput is how many tokens a provider may make for the request: each of the
// answers that are asked for at once may be as long as the caller allows. A
// limit that is none ("-1"), or that is dropped on the way, is the provider's.
func (x *exchange) mostOutput(l *lane) int {
	each := x.maxTokens()
	if each <= 0 || slices.ContainsFunc(l.p.Drop, isLimit) {
		each = l.facts().maxOutput
	}
	return min(each, mostAnswer) * min(max(x.head.Choices, 1), mostChoices)
}

// isLimit reports whether a field of a request bounds its answer, on any wire.
func isLimit(field string) bool {
	return field == "max_tokens" || field == "max_completion_tokens" || field == "max_output_tokens"
}

// overBudget is what routing asks of the budgets; nil where there are none.
func (x *exchange) overBudget() func(*route.Member) (time.Time, bool) {
	if !x.g.cashier.Any() {
		return nil
	}
	return func(m *route.Member) (until time.Time, over bool) {
		l := x.gen.lanes[m.Slot]
		if m.Price != drey.Paid || !x.g.cashier.InForce(x.payer(l)) {
			return time.Time{}, false
		}
		refusal := x.g.cashier.Check(x.ask(l, x.prices(l), x.now))
		if refusal == nil {
			return time.Time{}, false
		}
		x.money.refused = append(x.money.refused, overspent{m.ID, refusal})
		return refusal.Until, true
	}
}

// broke is what routing asks of the budgets where there is no request: whether
// one of the provider, of a profile or of everybody is spent to its end. What a
// key may spend is between it and its requests.
func (g *Gateway) broke(gen *generation, profile drey.ProfileID, at time.Time) func(*route.Member) (time.Time, bool) {
	if !g.cashier.Any() {
		return nil
	}
	view := g.cashier.View(at)
	return func(m *route.Member) (until time.Time, over bool) {
		l := gen.lanes[m.Slot]
		if m.Price != drey.Paid || l.p.Model != "" && l.prices == (spend.Prices{}) {
			return time.Time{}, false // it goes on no bill, or nobody knows its price
		}
		return view.Exhausted(spend.Payer{Provider: m.ID, Profile: profile})
	}
}

// reserve holds what a paid attempt may cost, and opens its bill. An event is
// how the attempt ended where there is no room.
func (x *exchange) reserve(ctx context.Context, l *lane, t route.Try) route.Event {
	b := bill{lane: l, prices: x.prices(l)}
	if payer := x.payer(l); l.p.Price == drey.Paid && x.g.cashier.InForce(payer) {
		asked := time.Now()
		ticket, err := x.g.cashier.Reserve(ctx, x.ask(l, b.prices, asked))
		x.waited += time.Since(asked)
		if err != nil {
			return x.unpaid(ctx, t, err)
		}
		b.ticket = ticket
	} else {
		b.ticket.Payer = payer
	}
	x.money.bill = b
	return nil
}

// unpaid is the event of an attempt that was let go and does not leave after
// all.
func (x *exchange) unpaid(ctx context.Context, t route.Try, err error) route.Event {
	x.now = time.Now()
	x.settle(result{verdict: route.Verdict{Class: drey.Cancel}}, 0) // its place is given back, and counts for nothing
	refusal, over := errors.AsType[*spend.Refusal](err)
	switch {
	case over:
		x.money.refused = append(x.money.refused, overspent{t.ID, refusal})
		return x.stays(ctx, t, &health.Refused{Reason: string(route.ReasonBudget), Until: refusal.Until})
	case ctx.Err() == nil:
		return x.stays(ctx, t, &health.Refused{Reason: string(reasonUnwritten)})
	}
	return x.stays(ctx, t, err)
}

// charge settles the bill of the attempt under way, as soon as its end is
// known. Later calls change nothing.
func (x *exchange) charge(res result) {
	b := &x.money.bill
	l := b.lane
	if l == nil {
		return
	}
	b.lane = nil
	end := endingOf(res)
	b.usage = x.used(end, l, res)
	b.cost = b.prices.Cost(b.usage)
	x.rec.Cost += b.cost
	x.rec.Savings += b.prices.Savings(b.usage)
	if l.p.Price == drey.Paid {
		x.g.cashier.Settle(spend.Settle{
			Meta: spend.Meta{At: time.Now(), RequestID: x.req.ID}, Ticket: b.ticket,
			Cost: b.cost, Estimated: b.usage.Estimated, Ending: end,
		})
	}
}

// endingOf says how an attempt ended in the words of money.
func endingOf(res result) spend.Ending {
	switch {
	case res.ok:
		return spend.Complete
	case res.verdict.Class == drey.Cancel:
		return spend.Cancelled
	case res.contents > 0:
		return spend.Cut
	default:
		return spend.Failed
	}
}

// used is what an attempt that ended so has used. What the provider did not
// tell is estimated: the prompt, and of the answer what came (result.seen).
func (x *exchange) used(end spend.Ending, l *lane, res result) wire.Usage {
	var m spend.Meter
	if u := res.usage; u != nil && *u != (wire.Usage{}) {
		m.Report(u)
	}
	u := m.Usage(end, l.tokens(x.prompt()), res.seen())
	if end == spend.Complete && u.Output == 0 && res.contents > 0 && !x.embeds {
		u.Output, u.Estimated = res.seen(), true // it told of the prompt alone
	}
	return u
}

// billed notes what the attempt that has ended came to. The rest of an answer is
// added to its beginning.
func (x *exchange) billed(rec *AttemptRecord) {
	rec.Usage, rec.Cost = x.money.bill.usage, x.money.bill.cost
	switch {
	case x.rescue.resuming():
		x.rec.Usage = x.rescue.before.Add(rec.Usage)
	case rec.Usage != (wire.Usage{}):
		x.rec.Usage = rec.Usage
	}
}

// refusalOf is why the budgets had no room for a provider; nil if they had.
func (x *exchange) refusalOf(id drey.ProviderID) *spend.Refusal {
	for _, r := range x.money.refused {
		if r.provider == id {
			return r.Refusal
		}
	}
	return nil
}

// budgetFields are what is told of a provider that was passed over for its
// cost, besides the reason.
func (x *exchange) budgetFields(id drey.ProviderID) []drey.Field {
	r := x.refusalOf(id)
	if r == nil {
		return nil
	}
	return []drey.Field{
		drey.F("scope", r.Scope.String()), drey.F("period", r.Period.String()), drey.F("limit_usd", r.Cap.USD()),
		drey.F("left_usd", r.Left.USD()), drey.F("asked_usd", r.Want.USD()),
	}
}

// budgetDetail is one budget in the detail of an answer 402.
type budgetDetail struct {
	Provider drey.ProviderID `json:"provider"`
	Scope    string          `json:"scope"`
	Period   string          `json:"period"`
	LimitUSD float64         `json:"limit_usd"`
	LeftUSD  float64         `json:"left_usd"`
	AskedUSD float64         `json:"asked_usd"`
	Until    string          `json:"until,omitempty"`
}

// spent tells a caller which budgets had no room for its request.
func (x *exchange) spent(f route.Fail, e *wire.Error) {
	detail := struct {
		route.Detail
		Budgets []budgetDetail `json:"budgets"`
	}{f.Detail(x.walk, x.redact), []budgetDetail{}}
	for _, r := range x.money.refused {
		d := budgetDetail{
			r.provider, r.Scope.String(), r.Period.String(), r.Cap.USD(), r.Left.USD(), r.Want.USD(), "",
		}
		if !r.Until.IsZero() {
			d.Until = drey.FormatTime(r.Until)
		}
		detail.Budgets = append(detail.Budgets, d)
	}
	e.Detail, _ = json.Marshal(detail) // names, numbers and texts: it cannot fail
	if len(x.money.refused) > 0 {
		e.Message = x.money.refused[0].message()
	}
}

// message says to a person which budget it is and what to do.
func (o overspent) message() string {
	whose := "the budget of " + strings.Replace(o.Scope.String(), ":", " ", 1)
	if o.Scope.Kind == spend.Global {
		whose = "the budget of all paid providers"
	}
	said := fmt.Sprintf("%s, %s a %s (UTC), has %s left, and this request may cost %s at %s; ", whose, o.Cap, o.Period, o.Left, o.Want, o.provider)
	if o.Until.IsZero() {
		return said + "ask for fewer tokens (max_tokens), raise the budget, or add a local or free provider"
	}
	return said + "wait until " + o.Until.UTC().Format("2006-01-02 15:04") + " UTC, raise it, or add a local or free provider"
}
