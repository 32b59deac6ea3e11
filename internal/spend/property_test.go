package spend

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// attempt is what the twin remembers of one.
type attempt struct {
	payer        Payer
	day          Date // in which it counts
	amount, cost MicroUSD
	open         bool
}

// twin is the deliberately dumb machine: it keeps every attempt for ever and
// adds them up when it is asked.
type twin struct {
	attempts []*attempt
	today    Date
}

// sums returns what a window has spent and holds, and by how much attempts in
// it cost more than was reserved for them.
func (tw *twin) sums(s Scope, p Period, day Date) (spent, reserved, excess MicroUSD) {
	for _, a := range tw.attempts {
		scopes, n := a.payer.scopes()
		for _, one := range scopes[:n] {
			switch {
			case one != s || a.day.index(p) != day.index(p):
			case a.open:
				reserved += a.amount
			default:
				spent += a.cost
				excess += max(a.cost-a.amount, 0)
			}
		}
	}
	return spent, reserved, excess
}

func payers() *rapid.Generator[Payer] {
	return rapid.Custom(func(t *rapid.T) Payer {
		return Payer{
			Provider: rapid.SampledFrom([]drey.ProviderID{"a", "b"}).Draw(t, "provider"),
			Profile:  rapid.SampledFrom([]drey.ProfileID{"", "p", "q"}).Draw(t, "profile"),
			Key:      rapid.SampledFrom([]string{"", "k", "l"}).Draw(t, "key"),
		}
	})
}

func policies() *rapid.Generator[Policy] {
	limit := rapid.Custom(func(t *rapid.T) (l Limit) {
		if rapid.Bool().Draw(t, "day?") {
			l.Day = CapAt(MicroUSD(rapid.Int64Range(0, 200).Draw(t, "day")))
		}
		if rapid.Bool().Draw(t, "month?") {
			l.Month = CapAt(MicroUSD(rapid.Int64Range(0, 600).Draw(t, "month")))
		}
		return l
	})
	return rapid.Custom(func(t *rapid.T) Policy {
		p := Policy{
			Providers: map[drey.ProviderID]Limit{"a": limit.Draw(t, "a")},
			Profiles:  map[drey.ProfileID]Limit{"p": limit.Draw(t, "p")},
			Keys:      map[string]Limit{"k": limit.Draw(t, "k")},
		}
		if rapid.Bool().Draw(t, "global?") {
			p.Global = limit.Draw(t, "global")
		}
		return p
	})
}

// TestMachineAgainstTwin plays any calls, over midnights and a clock that
// jitters, and compares every window after each: the sums are those of the
// attempts, each in the window that it was reserved in, and no window holds more
// than its cap and what attempts cost beyond their reservation.
func TestMachineAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Machine
		var tw twin
		p := policies().Draw(t, "policy")
		now := time.Date(2026, 12, 30, 23, 0, 0, 0, time.UTC)
		tickets := map[Ticket]*attempt{}
		var open []Ticket
		money := rapid.Int64Range(0, 120)
		count := func(a *attempt, at time.Time) {
			a.day = max(tw.today, dateOf(at))
			tw.today = a.day
			tw.attempts = append(tw.attempts, a)
		}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			at := now.Add(-time.Duration(rapid.IntRange(0, 120).Draw(t, "late")) * time.Second)
			switch rapid.SampledFrom([]string{"reserve", "reserve", "settle", "free", "time"}).Draw(t, "do") {
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(0, 40*60).Draw(t, "minutes")) * time.Minute)
			case "reserve":
				a := &attempt{payer: payers().Draw(t, "payer"), amount: MicroUSD(money.Draw(t, "amount")), open: true}
				ask := Reserve{Meta{At: at}, a.payer, a.amount}
				before := m.Check(ask, p)
				ticket, row, refusal := m.Reserve(ask, p)
				fits := true
				scopes, n := a.payer.scopes()
				day := max(tw.today, dateOf(at))
				for _, s := range scopes[:n] {
					for period := range periods {
						spent, reserved, _ := tw.sums(s, period, day)
						limit, ok := p.limit(s).cap(period).Value()
						fits = fits && (!ok || spent+reserved+a.amount <= limit)
					}
				}
				if (refusal == nil) != fits || (before == nil) != fits {
					t.Fatalf("refused with %v, checked with %v; it fits: %v", refusal, before, fits)
				}
				switch {
				case refusal != nil:
				case row.Kind == NoRow:
					if p.InForce(a.payer) {
						t.Fatal("a budget is in force, and nothing was reserved")
					}
				default:
					count(a, at)
					tickets[ticket] = a
					open = append(open, ticket)
				}
				if refusal != nil && len(refusal.Rows)+len(before.Rows) > 0 {
					tw.today = day // telling is counting too
				}
			case "settle":
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				ticket := open[i]
				a := tickets[ticket]
				cost := MicroUSD(money.Draw(t, "cost"))
				m.Settle(Settle{Meta: Meta{At: at}, Ticket: ticket, Cost: cost})
				if a.open { // or it is settled a second time, which is nothing
					a.open, a.cost = false, cost
				}
				if rapid.Bool().Draw(t, "forget") {
					open = append(open[:i], open[i+1:]...)
				}
			case "free":
				a := &attempt{payer: Payer{Provider: "c"}, cost: MicroUSD(money.Draw(t, "cost"))}
				if p.InForce(a.payer) || a.cost == 0 {
					continue // a Ticket without a reservation comes from where no budget is
				}
				m.Settle(Settle{Meta: Meta{At: at}, Ticket: Ticket{Payer: a.payer}, Cost: a.cost})
				count(a, at)
			}
			held := MicroUSD(0)
			for _, a := range tw.attempts {
				if a.open {
					held += a.amount
				}
			}
			if got := m.View(now, p).Reserved; got != held {
				t.Fatalf("%d reserved, want %d", got, held)
			}
			for _, s := range append(p.scopes(), m.scopes()...) {
				for period := range periods {
					spent, reserved, excess := tw.sums(s, period, tw.today)
					w := m.accounts[s].at(period, tw.today)
					if w.spent != spent || w.reserved != reserved {
						t.Fatalf("%s, %s: spent %d and reserved %d, want %d and %d", s, period, w.spent, w.reserved, spent, reserved)
					}
					if limit, ok := p.limit(s).cap(period).Value(); ok && spent+reserved > limit+excess {
						t.Fatalf("%s, %s: %d spent and %d reserved of %d; %d cost more than foreseen", s, period, spent, reserved, limit, excess)
					}
				}
			}
		}
	})
}

// TestReplay plays any calls, under budgets that change and a clock that jumps
// either way, and holds that the rows make the same machine again, from the
// beginning and from a snapshot taken anywhere.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Machine
		var rows []drey.Event
		snapshot, snapshotAt := []byte(nil), 0
		tell := func(list ...Row) {
			for i := range list {
				if list[i].Kind == NoRow {
					continue
				}
				b, err := list[i].Event().MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				var e drey.Event
				if err := json.Unmarshal(b, &e); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, e)
			}
		}
		p := policies().Draw(t, "policy")
		now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
		var tickets []Ticket
		money := rapid.Int64Range(0, 120)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			meta := Meta{At: now, RequestID: "req_1"}
			switch rapid.SampledFrom([]string{"reserve", "reserve", "reserve", "settle", "time", "reload", "snapshot", "recover"}).Draw(t, "do") {
			case "reserve":
				ticket, row, refusal := m.Reserve(Reserve{meta, payers().Draw(t, "payer"), MicroUSD(money.Draw(t, "amount"))}, p)
				tell(row)
				if refusal != nil {
					tell(refusal.Rows...)
				} else {
					tickets = append(tickets, ticket)
				}
			case "settle":
				if len(tickets) > 0 {
					tell(m.Settle(Settle{Meta: meta, Ticket: rapid.SampledFrom(tickets).Draw(t, "ticket"), Cost: MicroUSD(money.Draw(t, "cost"))}))
				}
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "hours")) * time.Hour)
			case "reload":
				p = policies().Draw(t, "policy")
			case "snapshot":
				snapshot, snapshotAt = mustJSON(t, &m), len(rows)
			case "recover":
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					tell(m.Recover(meta)...)
				}
			}
		}
		var again, later Machine
		if err := again.Replay(rows); err != nil {
			t.Fatal(err)
		}
		if got, want := mustJSON(t, &again), mustJSON(t, &m); !bytes.Equal(got, want) {
			t.Fatalf("from the beginning\n got %s\nwant %s", got, want)
		}
		if snapshot != nil {
			if err := json.Unmarshal(snapshot, &later); err != nil {
				t.Fatal(err)
			}
			if err := later.Replay(rows[snapshotAt:]); err != nil {
				t.Fatal(err)
			}
			if got, want := mustJSON(t, &later), mustJSON(t, &m); !bytes.Equal(got, want) {
				t.Fatalf("from a snapshot\n got %s\nwant %s", got, want)
			}
		}
		// What the snapshot leaves out follows from what is in it.
		for _, twin := range []*Machine{&again, &later} {
			if twin == &later && snapshot == nil {
				continue
			}
			for s, a := range m.accounts {
				if b := twin.accounts[s]; b == nil || a.windows != b.windows {
					t.Fatalf("%s: %+v, want %+v", s, b, a)
				}
			}
			if twin.reserved != m.reserved {
				t.Fatalf("%d reserved, want %d", twin.reserved, m.reserved)
			}
		}
	})
}

func mustJSON(t *rapid.T, m *Machine) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBurst lets 1,000 attempts ask, leave and end in any order, and holds the
// budget at each step.
func TestBurst(t *testing.T) {
	for seed := range uint64(20) {
		const each, room = 1000, 250
		r := rand.New(rand.NewPCG(seed, 1))
		var m Machine
		p := daily(room * each)
		meta := Meta{At: noon}
		var flying []Ticket
		var charged MicroUSD
		asked, left := 0, 0
		for asked < 1000 || len(flying) > 0 {
			if asked < 1000 && (len(flying) == 0 || r.IntN(3) > 0) {
				asked++
				ticket, _, refusal := m.Reserve(Reserve{meta, alice, each}, p)
				if refusal == nil {
					flying = append(flying, ticket)
					left++
				} else if charged+MicroUSD(len(flying))*each+each <= room*each {
					t.Fatalf("seed %d: refused although there was room: %v", seed, refusal)
				}
			} else {
				i := r.IntN(len(flying))
				cost := MicroUSD(r.IntN(each + 1))
				if r.IntN(4) == 0 {
					cost = 0 // failed before any token
				}
				if row := m.Settle(Settle{Meta: meta, Ticket: flying[i], Cost: cost}); row.Kind != RowSettled {
					t.Fatal("not settled")
				}
				charged += cost
				flying[i] = flying[len(flying)-1]
				flying = flying[:len(flying)-1]
			}
			b := m.View(noon, p).Budgets[0]
			if b.Spent != charged || b.Reserved != MicroUSD(len(flying))*each || b.Spent+b.Reserved > room*each {
				t.Fatalf("seed %d: %+v, want %d spent and %d in flight", seed, b, charged, len(flying))
			}
		}
		if left < room || m.View(noon, p).Open != 0 {
			t.Errorf("seed %d: %d left", seed, left)
		}
	}
}
