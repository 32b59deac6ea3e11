package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/fake"
)

// TestKillWhileExcluded kills a daemon while a provider is out, by its health
// and by a person. The next daemon has it out as well; what is out by its
// health is probed, and comes back when it is well, and what a person took out
// stays out until a person brings it back.
func TestKillWhileExcluded(t *testing.T) {
	t.Parallel() // it waits more than it works
	rounds := 2
	if soak() {
		rounds = 30
	}
	first, second := provider(t, fake.Always(fake.Text("from first"))), provider(t, fake.Always(fake.Text("from second")))
	// Each round begins and goes on as the one before.
	config := chainOfTwo(first.URL(), second.URL(), "logs: {level: error}")
	home := newHome(t, strings.Replace(config, "{probe: {initial: 1s}}", "{probe: {initial: 1s, max: 1s}, ramp: 0}", 1))
	for round := range rounds {
		c := startChild(t, home)
		first.Outage(fake.Refused())
		begun := c.head()
		for range 6 {
			c.chat("hi")
		}
		c.journaled("self-healing-exclude", begun) // routing did not wait for the disk; what must survive did
		if round%2 == 1 {                          // between two probes, and before the first one otherwise
			c.journaled("self-healing-recovery-probe", begun)
		}
		was := c.first()
		if was.State != "EXCLUDED" || was.By != "health" {
			t.Fatalf("round %d: it is %s by %q after six failures", round, was.State, was.By)
		}
		c.kill()
		c.gone()

		c = startChild(t, home)
		again := c.head()
		now := c.first()
		if now.State != "EXCLUDED" || now.By != "health" || now.Phase != "probing" || now.ExcludedForS < was.ExcludedForS {
			t.Errorf("round %d: after a kill it is %+v, and was %+v", round, now, was)
		}
		if a := c.chat("hi"); a.header.Get("X-Drey-Attempts") != "1" || !strings.Contains(a.body, "from second") {
			t.Errorf("round %d: it was tried: %v %s", round, a.header, a.body)
		}
		probe := c.journaled("self-healing-recovery-probe", again)
		if v := string(fieldOf(probe, "success")); v != "false" {
			t.Errorf("round %d: a probe of a closed port says success %s", round, v)
		}
		if err := first.Restore(); err != nil {
			t.Fatal(err)
		}
		c.journaled("self-healing-restore", again)
		if a := c.chat("hi"); !strings.Contains(a.body, "from first") {
			t.Errorf("round %d: it is back and has no traffic: %v %s", round, a.header, a.body)
		}
		c.byHand(home)
	}
}

// byHand has a person take the first provider out, kills the daemon, and brings
// the provider back in the next one, which it kills too.
func (c *child) byHand(home string) {
	c.t.Helper()
	if _, err := c.control().ExcludeProvider(c.t.Context(), "first", api.Exclude{Reason: "new driver", For: drey.Duration(time.Hour)}); err != nil {
		c.t.Fatal(err)
	}
	c.kill() // the answer was the promise that it is written down
	c.gone()
	next := startChild(c.t, home)
	if p := next.first(); p.State != "EXCLUDED" || p.By != "operator" || p.Reason != "new driver" {
		c.t.Errorf("what a person took out is %s by %q (%q) after a kill", p.State, p.By, p.Reason)
	}
	if a := next.chat("hi"); !strings.Contains(a.body, "from second") {
		c.t.Errorf("what a person took out has traffic: %s", a.body)
	}
	if _, err := next.control().RestoreProvider(c.t.Context(), "first"); err != nil {
		c.t.Fatal(err)
	}
	next.kill()
	next.gone()
}

// first is how the first provider stands.
func (c *child) first() api.Provider {
	c.t.Helper()
	p, err := c.control().Provider(c.t.Context(), "first")
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// head is the end of the journal, as the daemon in another process tells it.
func (c *child) head() drey.Seq {
	c.t.Helper()
	page, err := c.control().EventPage(c.t.Context(), client.EventQuery{Limit: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	return page.AsOfSeq
}

// journaled waits for the first event of a name behind a place.
func (c *child) journaled(name string, after drey.Seq) (found drey.Event) {
	c.t.Helper()
	ctl := c.control()
	eventually(c.t, name+" is journaled", func() bool {
		page, err := ctl.EventPage(c.t.Context(), client.EventQuery{After: &after, Event: name, Limit: 1})
		if err != nil {
			c.t.Fatal(err)
		}
		if len(page.Events) == 0 {
			return false
		}
		found = page.Events[0]
		return true
	})
	return found
}
