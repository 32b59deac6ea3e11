package exam

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

const (
	// prefixLength is how many characters two requests share. Source: the
	// gateway contract §18. It is above the 1,024 tokens from which vendors
	// cache.
	prefixLength = 12000
	// tellingTime is how long the first of two calls must have been reading
	// its prompt for the time of the second to tell anything.
	tellingTime = 300 * time.Millisecond
)

// cache sends two requests that begin with the same long text. A cache shows
// in the usage that is told, or in the second answer's being twice as quick to
// begin. A remote server of the chat wire is asked again with the marks by
// which some vendors want to be told what to keep.
func cache(c *chart, got []Answer) (*Ask, []Finding) {
	says := c.Config.Capabilities.Cache
	if stated(says) == route.No {
		return found(Finding{Probe: Cache, Verdict: Unsupported, Stated: true, Text: "it keeps no prompts, as the configuration says; it was not asked"})
	}
	marks := c.Config.DreyWire() == drey.WireChat && !c.local() && !says.Or(false)
	if n := len(got); n > 0 && got[n-1].Failure != nil {
		if n > 2 && got[n-1].refused() { // it does not take the marks
			return found(c.noCache(got))
		}
		return found(c.trouble(Cache, got[n-1].Failure))
	}
	switch n := len(got); {
	case n < 2:
		return c.prefixed("a"+c.salt, n, c.Config.DreyWire() == drey.WireAnthropic || says.Or(false)), nil
	case kept(got[0], got[1]) != "":
		f := Finding{Probe: Cache, Verdict: OK, Text: "it keeps the beginning of prompts: " + kept(got[0], got[1])}
		if c.Config.StripChangingLines == "off" {
			f.Verdict, f.Patch = NeedsTuning, Patch{{[]string{"strip_changing_lines"}, "on"}}
			f.Text += "; the line that agents change with every request would void that, and strip_changing_lines is off"
		}
		return found(f)
	case marks && n < 4:
		return c.prefixed("b"+c.salt, n, true), nil
	case marks && kept(got[2], got[3]) != "":
		return found(Finding{Probe: Cache, Verdict: NeedsTuning, Patch: Patch{{[]string{"capabilities", "cache"}, true}},
			Text: "it keeps the beginning of prompts where cache_control marks it, and drey leaves these marks out unless it is told: " + kept(got[2], got[3])})
	}
	return found(c.noCache(got))
}

// noCache is the finding where nothing shows that prompts are kept.
func (c *chart) noCache(got []Answer) Finding {
	text := "it shows no sign of keeping prompts"
	switch first, second := got[0].First, got[1].First; {
	case first >= tellingTime:
		text += fmt.Sprintf(" (%s to the first token, and again %s)", ms(first), ms(second))
	case c.local() && c.Config.DreyWire() == drey.WireChat, got[1].Response.Usage == (wire.Usage{}):
		// Local servers keep prompts and do not tell.
		return skipped(Cache, "it cannot be told: no usage says so, and the answers begin too soon to tell it by time ("+ms(first)+")")
	}
	return ability(Cache, "cache", c.Config.Capabilities.Cache, false, text)
}

// kept says by what it shows that the second request found the first one's
// prefix; "" if nothing does.
func kept(first, second Answer) string {
	for _, a := range []Answer{second, first} { // the first may have found that of an earlier examination
		if n := a.Response.Usage.CacheRead; n > 0 {
			return fmt.Sprintf("%d tokens came out of a cache", n)
		}
	}
	if first.Streamed && first.First >= tellingTime && second.First <= first.First/2 {
		return fmt.Sprintf("%s to the first token, then %s", ms(first.First), ms(second.First))
	}
	return ""
}

// prefixed is a request that begins with the long text of a name.
func (c *chart) prefixed(name string, n int, mark bool) *Ask {
	a := c.ask(fmt.Sprintf("How many kinds of trees are told of above? This is question %d; answer with a number alone.", n%2+1), 64).streamed()
	var b strings.Builder
	filler(&b, prefixLength, name)
	system := wire.Block{Kind: wire.Text, Text: b.String()}
	if mark {
		a.cache = true
		system.Cache = json.RawMessage(`{"type":"ephemeral"}`)
	}
	a.Request.System = []wire.Block{system}
	return a
}
