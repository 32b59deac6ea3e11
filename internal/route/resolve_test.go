package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// show prints a plan on one line: "a b(moved) | c:reason".
func show(p Plan) string {
	var in, out []string
	for _, c := range p.Candidates {
		s := string(c.ID)
		if c.Trial {
			s += "!"
		}
		if c.Moved != "" {
			s += "(" + string(c.Moved) + ")"
		}
		in = append(in, s)
	}
	for _, s := range p.Skipped {
		out = append(out, string(s.ID)+":"+string(s.Reason))
	}
	s := strings.Join(in, " ") + " | " + strings.Join(out, " ")
	if p.Panic {
		s = "panic " + s
	}
	if p.Queued {
		s = "queued " + s
	}
	return strings.TrimSpace(s)
}

func chainOf(n int) (*Chain, []Live) {
	c := &Chain{Profile: "p", AllowPaid: true, ThinkingOrder: true}
	for i := range n {
		c.Members = append(c.Members, Member{ID: drey.ProviderID('a' + rune(i)), Slot: i, Price: drey.Local, Context: 100000})
	}
	return c, make([]Live, n)
}

func TestResolve(t *testing.T) {
	later := t0.Add(time.Minute)
	for _, tc := range []struct {
		name string
		set  func(c *Chain, l []Live, a *Ask)
		want string
	}{
		{"all well", func(c *Chain, l []Live, a *Ask) {}, "a b c |"},
		{"no credential", func(c *Chain, l []Live, a *Ask) { c.Members[0].Credential = CredentialMissing }, "b c | a:no-credential"},
		{"the caller's credential, not sent", func(c *Chain, l []Live, a *Ask) { c.Members[0].Credential = CredentialCaller }, "b c | a:no-credential"},
		{"the caller's credential", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Credential, a.CallerKey = CredentialCaller, true
		}, "a b c |"},
		{"paid gate closed", func(c *Chain, l []Live, a *Ask) { c.Members[1].Price, c.AllowPaid = drey.Paid, false }, "a c | b:paid-gate"},
		{"the first reason counts", func(c *Chain, l []Live, a *Ask) {
			c.Members[1].Price, c.AllowPaid, l[1].Health = drey.Paid, false, Withdrawn
			c.Members[2].Credential, l[2].Health = CredentialMissing, Restarting
		}, "a | b:paid-gate c:no-credential"},
		{"excluded by health", func(c *Chain, l []Live, a *Ask) { l[0].Health = Excluded }, "b c | a:excluded"},
		{"an open trial at the old place", func(c *Chain, l []Live, a *Ask) { l[1].Health, l[1].Trial = Excluded, true }, "a b! c |"},
		{"excluded where the profile warns", func(c *Chain, l []Live, a *Ask) { l[0].Health, c.Action = Excluded, Warn }, "a b c |"},
		{"excluded where health is off", func(c *Chain, l []Live, a *Ask) { l[0].Health, c.Action = Excluded, Off }, "a b c |"},
		{"demoted", func(c *Chain, l []Live, a *Ask) {
			l[0].Health, l[1].Health, c.Action = Excluded, Unhealthy, Demote
		}, "c b(demoted) a(demoted) |"},
		{"all unhealthy: the order stays", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i].Health = Unhealthy
			}
			c.Action = Demote
		}, "a b c |"},
		{"unhealthy where the profile warns", func(c *Chain, l []Live, a *Ask) { l[0].Health, c.Action = Unhealthy, Warn }, "a b c |"},
		{"restarting and withdrawn, whatever the action", func(c *Chain, l []Live, a *Ask) {
			l[0].Health, l[1].Health, c.Action = Restarting, Withdrawn, Off
		}, "c | a:restarting b:excluded"},
		{"parked", func(c *Chain, l []Live, a *Ask) {
			l[0].Parked, l[0].ParkedUntil = ReasonRateLimit, later
			l[1].Parked, l[1].ParkedUntil = ReasonQuota, later
			l[2].Parked, l[2].ParkedUntil = ReasonAuth, later
		}, "| a:parked-rate-limit b:parked-quota c:parked-auth"},
		{"parking is over", func(c *Chain, l []Live, a *Ask) { l[0].Parked, l[0].ParkedUntil = ReasonAuth, t0 }, "a b c |"},
		{"cooling down", func(c *Chain, l []Live, a *Ask) { l[2].Parked, l[2].ParkedUntil = ReasonResource, later }, "a b | c:resource"},
		{"over budget", func(c *Chain, l []Live, a *Ask) {
			a.OverBudget = func(m *Member) (time.Time, bool) { return time.Time{}, m.ID == "b" }
		}, "a c | b:budget"},
		{"lacks an ability", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Can.Vision, c.Members[1].Can.Tools, a.Needs.Vision = No, No, true
		}, "b c a(capability) |"},
		{"nobody has it: the order stays", func(c *Chain, l []Live, a *Ask) {
			for i := range c.Members {
				c.Members[i].Can.JSONSchema = No
			}
			a.Needs.JSONSchema = true
		}, "a b c |"},
		{"thinking", func(c *Chain, l []Live, a *Ask) { c.Members[0].Can.Thinking, a.Needs.Thinking = No, true }, "b c a(thinking-order) |"},
		{"thinking order off", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Can.Thinking, a.Needs.Thinking, c.ThinkingOrder = No, true, false
		}, "a b c |"},
		{"ability weighs more than health", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Can.Tools, a.Needs.Tools, c.Action, l[1].Health, l[2].Health = No, true, Demote, Unhealthy, Unhealthy
		}, "b c a(capability) |"},
		{"small window", func(c *Chain, l []Live, a *Ask) { c.Members[0].Context, a.Tokens = 8000, 9000 }, "b c | a:context-window"},
		{"small window by its own count", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Context, c.Members[1].Context, a.Tokens = 8000, 8000, 7000
			l[0].Tokens, l[1].Tokens = 9000, 7500
		}, "b c | a:context-window"},
		{"its own count is smaller", func(c *Chain, l []Live, a *Ask) { c.Members[0].Context, a.Tokens, l[0].Tokens = 8000, 9000, 7000 }, "a b c |"},
		{"the largest stays", func(c *Chain, l []Live, a *Ask) { c.Members[0].Context, a.Tokens = 200000, 300000 }, "a | b:context-window c:context-window"},
		{"all equal and too small", func(c *Chain, l []Live, a *Ask) { a.Tokens = 300000 }, "a b c |"},
		{"the larger one is out", func(c *Chain, l []Live, a *Ask) {
			c.Members[2].Context, l[2].Health, a.Tokens = 400000, Restarting, 300000
		}, "a b | c:restarting"},
		{"skips in the chain's order", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Context, a.Tokens, l[1].Health = 8000, 9000, Restarting
		}, "c | a:context-window b:restarting"},
		{"adaptive", func(c *Chain, l []Live, a *Ask) { c.Adaptive, l[0].Demerits, l[1].Demerits = true, 2, 1 }, "c b(adaptive) a(adaptive) |"},
		{"adaptive within a class", func(c *Chain, l []Live, a *Ask) {
			c.Adaptive, l[0].Demerits, c.Members[1].Price = true, 2, drey.Paid
		}, "c b a(adaptive) |"},
		{"adaptive brings back nobody", func(c *Chain, l []Live, a *Ask) {
			c.Adaptive, l[1].Demerits, l[2].Demerits = true, 1, 2
			c.Members[0].Can.Tools, a.Needs.Tools = No, true
		}, "b c a(capability) |"},
		{"drift goes last", func(c *Chain, l []Live, a *Ask) {
			c.DemoteDrift, l[0].Drifted = true, true
			c.Members[1].Can.Tools, a.Needs.Tools = No, true
		}, "c b(capability) a(drift) |"},
		{"drift where the profile does not demote", func(c *Chain, l []Live, a *Ask) { l[0].Drifted = true }, "a b c |"},
		{"all drifted: the order stays", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i].Drifted = true
			}
			c.DemoteDrift = true
		}, "a b c |"},
		{"drift weighs more than affinity", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Pool, c.Members[1].Pool, c.DemoteDrift = 1, 1, true
			l[0].Drifted, l[0].Affine = true, true
		}, "b c a(drift) |"},
		{"pool: fewest in flight", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Pool, c.Members[1].Pool, l[0].InFlight, l[2].InFlight = 1, 1, 3, 0
		}, "b a c |"},
		{"pool: affinity first", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Pool, c.Members[1].Pool, l[1].InFlight, l[1].Affine = 1, 1, 3, true
		}, "b a c |"},
		{"pool: affinity to a full one", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Pool, c.Members[1].Pool, l[1].InFlight, l[1].Affine, l[1].Busy = 1, 1, 3, true, true
		}, "a b c |"},
		{"pool: degraded last", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Pool, c.Members[1].Pool, l[1].InFlight, l[0].Health, l[0].Affine = 1, 1, 3, Degraded, true
		}, "b a c |"},
		{"pool: affinity to one that is brought back slowly", func(c *Chain, l []Live, a *Ask) {
			c.Members[0].Pool, c.Members[1].Pool, l[1].InFlight, l[1].Affine, l[1].Ramping = 1, 1, 3, true, true
		}, "a b c |"},
		{"no affinity outside a pool", func(c *Chain, l []Live, a *Ask) { l[2].Affine = true }, "a b c |"},
		{"degraded outside a pool", func(c *Chain, l []Live, a *Ask) { l[0].Health = Degraded }, "a b c |"},
		{"panic: the soonest probe", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i] = Live{Health: Excluded, Probing: true, NextProbe: later.Add(-time.Duration(i%2) * time.Second)}
			}
		}, "panic b! | a:excluded c:excluded"},
		{"panic: not one that just failed it", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i] = Live{Health: Excluded, Probing: true, NextProbe: later, PanicFrom: t0.Add(time.Duration(1-i) * time.Second)}
			}
		}, "panic b! | a:excluded c:excluded"},
		{"panic overrides no operator, gate or parking", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i] = Live{Health: Excluded, Probing: true}
			}
			l[0].Health = Withdrawn
			c.Members[1].Price, c.AllowPaid = drey.Paid, false
			l[2].Parked, l[2].ParkedUntil = ReasonQuota, later
		}, "| a:excluded b:paid-gate c:parked-quota"},
		{"a process on its way up queues what nobody else can serve", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i] = Live{Health: Restarting, Queues: i > 0}
			}
		}, "queued b! | a:restarting c:restarting"},
		{"and nothing else", func(c *Chain, l []Live, a *Ask) { l[0].Health, l[0].Queues = Restarting, true }, "b c | a:restarting"},
		{"no panic while draining", func(c *Chain, l []Live, a *Ask) {
			for i := range l {
				l[i] = Live{Health: Excluded}
			}
		}, "| a:excluded b:excluded c:excluded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, l := chainOf(3)
			a := Ask{At: t0, Tokens: 100}
			tc.set(c, l, &a)
			if got := show(Resolve(c, l, a)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestEachPoolHasItsAffinity: two pools of one chain know the conversation each.
func TestEachPoolHasItsAffinity(t *testing.T) {
	c, l := chainOf(4)
	for i := range c.Members {
		c.Members[i].Pool = 1 + i/2
	}
	l[1].Affine, l[3].Affine = true, true
	var got []drey.ProviderID
	for _, k := range Resolve(c, l, Ask{At: t0}).Candidates {
		got = append(got, k.ID)
	}
	if want := []drey.ProviderID{"b", "a", "d", "c"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}

// TestResolveLosesNobody: each member is a candidate or skipped, once, and two
// calls agree.
func TestResolveLosesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 7).Draw(t, "n")
		c, l := chainOf(n)
		c.Action = HealthAction(rapid.IntRange(0, 3).Draw(t, "action"))
		c.Adaptive, c.DemoteDrift, c.AllowPaid = rapid.Bool().Draw(t, "adaptive"), rapid.Bool().Draw(t, "drift"), rapid.Bool().Draw(t, "paid")
		a := Ask{At: t0, Tokens: rapid.IntRange(0, 3).Draw(t, "tokens"), Needs: Needs{Tools: rapid.Bool().Draw(t, "tools"), Thinking: rapid.Bool().Draw(t, "thinking")}}
		for i := range l {
			l[i].Affine = rapid.Bool().Draw(t, "affine")
		}
		for i := range n {
			m, s := &c.Members[i], &l[i]
			m.Context, m.Price = rapid.IntRange(0, 3).Draw(t, "context"), drey.Price(rapid.IntRange(0, 2).Draw(t, "price"))
			m.Pool = rapid.IntRange(0, 1).Draw(t, "pool")
			m.Can.Tools, m.Can.Thinking = Ability(rapid.IntRange(0, 2).Draw(t, "can")), Ability(rapid.IntRange(0, 2).Draw(t, "think"))
			s.Health, s.Probing, s.Trial = Health(rapid.IntRange(0, 5).Draw(t, "health")), rapid.Bool().Draw(t, "probing"), rapid.Bool().Draw(t, "trial")
			s.Drifted, s.Demerits, s.InFlight = rapid.Bool().Draw(t, "drifted"), rapid.IntRange(0, 2).Draw(t, "demerits"), rapid.IntRange(0, 2).Draw(t, "inflight")
		}
		p := Resolve(c, l, a)
		var seen []int
		for _, k := range p.Candidates {
			seen = append(seen, k.Index)
		}
		last := -1
		for _, s := range p.Skipped {
			seen = append(seen, s.Index)
			if s.Index <= last || s.Reason == "" {
				t.Fatalf("skips out of order or without a reason: %s", show(p))
			}
			last = s.Index
		}
		slices.Sort(seen)
		for i, at := range seen {
			if i != at {
				t.Fatalf("lost or doubled: %s", show(p))
			}
		}
		if len(seen) != n {
			t.Fatalf("%d of %d: %s", len(seen), n, show(p))
		}
		if q := Resolve(c, l, a); show(q) != show(p) {
			t.Fatalf("two answers: %s, %s", show(p), show(q))
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	c, l := chainOf(3)
	a := Ask{At: t0, Tokens: 4000, Needs: Needs{Tools: true}}
	b.ReportAllocs()
	for b.Loop() {
		if p := Resolve(c, l, a); len(p.Candidates) != 3 {
			b.Fatal(fmt.Sprint(p))
		}
	}
}
