package cashier

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/spend"
)

// Whatever attempts do, and whenever the process is killed with some of its last
// rows unwritten: an attempt that left is charged with what it cost, or with
// all that was held for it; and nothing was ever let through for which there was
// no room.
func TestNoChargeIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 1000
		j := &memory{}
		c, err := New(context.Background(), Config{Journal: j, Bus: &bus{}}, perDay(limit))
		if err != nil {
			t.Fatal(err)
		}
		type attempt struct {
			ticket spend.Ticket
			amount spend.MicroUSD
		}
		var flying []attempt
		var sure, excess spend.MicroUSD // charged at least; and above what was held
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"reserve", "reserve", "settle", "kill"}).Draw(t, "step") {
			case "reserve":
				amount := spend.MicroUSD(rapid.IntRange(0, 400).Draw(t, "amount"))
				spent, reserved := c.today()
				ticket, err := c.Reserve(context.Background(), asks(amount))
				if fits := spent+reserved+amount <= limit; fits != (err == nil) {
					t.Fatalf("%d of %d with %d spent and %d held: %v", amount, limit, spent, reserved, err)
				}
				if err == nil {
					flying = append(flying, attempt{ticket, amount})
				}
			case "settle":
				if len(flying) == 0 {
					continue
				}
				a := flying[0]
				flying = flying[1:]
				cost := spend.MicroUSD(rapid.IntRange(0, 450).Draw(t, "cost"))
				c.Settle(settles(a.ticket, cost))
				sure += cost
				excess += max(cost-a.amount, 0)
			case "kill":
				for _, a := range flying {
					sure += a.amount
				}
				flying = nil
				var err error
				if c, err = New(context.Background(), Config{Journal: j, Bus: &bus{}}, perDay(limit)); err != nil {
					t.Fatal(err)
				}
			}
			spent, reserved := c.today()
			if spent != sure {
				t.Fatalf("%d is charged, and attempts came to %d", spent, sure)
			}
			if spent+reserved > limit+excess {
				t.Fatalf("%d spent and %d held, of %d and an excess of %d", spent, reserved, limit, excess)
			}
		}
	})
}

// The same where the settling rows of a process were on their way when it was
// killed: each of those attempts is charged in full.
func TestUnwrittenSettlementsAreChargedInFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := &memory{}
		c, _ := New(context.Background(), Config{Journal: j, Bus: &bus{}}, perDay(1_000_000))
		n := rapid.IntRange(1, 20).Draw(t, "attempts")
		tickets := make([]spend.Ticket, n)
		for i := range tickets {
			var err error
			if tickets[i], err = c.Reserve(context.Background(), asks(100)); err != nil {
				t.Fatal(err)
			}
		}
		j.held = true
		for _, ticket := range tickets {
			c.Settle(settles(ticket, 10))
		}
		written := rapid.IntRange(0, n).Draw(t, "written")
		j.commit(written)
		j.waiting, j.held = nil, false // the rest dies with the process
		after, err := New(context.Background(), Config{Journal: j, Bus: &bus{}}, perDay(1_000_000))
		if err != nil {
			t.Fatal(err)
		}
		want := spend.MicroUSD(10*written + 100*(n-written))
		if spent, reserved := after.today(); spent != want || reserved != 0 {
			t.Fatalf("%d of %d settlements were written: spent %d, held %d; want %d", written, n, spent, reserved, want)
		}
	})
}
