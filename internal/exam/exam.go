// Package exam examines one provider: it says what to ask it, judges what it
// answers, and writes the lines of configuration that mend what is wrong.
//
// An Exam is a machine. It holds the question that is open; whoever drives it
// (internal/doctor) puts the question to the provider and hands back the
// Answer, until there is no question left and all findings are there. Each
// probe is one function of what was answered to it so far, so that what is
// asked next may depend on it. Nothing here reads a clock, opens a connection
// or draws a random number.
//
// The questions are few and small, since somebody pays for them, and they go
// through the provider's own settings (extra_body, drop_fields, model), as the
// gateway's requests do: an examination sees what agents will see.
package exam

import (
	"github.com/dreyhq/drey/internal/wire"
)

// Verdict is what a probe came to.
type Verdict string

// The verdicts. Source: the gateway contract §18.
const (
	OK          Verdict = "ok"
	NeedsTuning Verdict = "needs_tuning" // the configuration can make it right: see Patch
	Unsupported Verdict = "unsupported"  // the model cannot; the configuration should say so
	AuthFail    Verdict = "auth_fail"
	Unreachable Verdict = "unreachable" // no answer that could be used
	Skip        Verdict = "skip"        // it was not asked, or what came tells nothing
)

// Finding is the outcome of one probe.
type Finding struct {
	Probe   string
	Verdict Verdict
	Text    string // one sentence: what was seen, and what to do beyond the patch
	Patch   Patch  // what to paste; nil where no line of configuration helps
	// Stated says that the configuration says already what was found, so that
	// requests are routed by it and nothing needs to be done.
	Stated bool
}

// probe is one thing to find out. step returns what to ask next, or what was
// found; got are the answers to what it asked so far.
type probe struct {
	name string
	step func(c *chart, got []Answer) (*Ask, []Finding)
}

// Names of the probes, in order. The first three come from one question.
const (
	Reachability = "reachability"
	Auth         = "auth"
	Model        = "model"
	Context      = "context"
	Tools        = "tools"
	Streaming    = "streaming"
	Reasoning    = "reasoning"
	Cache        = "cache"
	Thinking     = "thinking"
	Vision       = "vision"
)

// Probes are the names of all probes, in the order of their findings.
var Probes = []string{Reachability, Auth, Model, Context, Tools, Streaming, Reasoning, Cache, Thinking, Vision}

// probes are what is done, in order.
var probes = []probe{
	{Model, reach}, {Context, window}, {Tools, tools}, {Streaming, streaming}, {Reasoning, leaks}, {Cache, cache}, {Thinking, thinking}, {Vision, vision},
}

// chart is what an Exam knows of its provider.
type chart struct {
	Subject
	Listing
	salt  string // makes prompts new to the provider's cache
	model string // that is asked for
	plain []Answer
	// without are the fields that streamed questions leave out, since with them
	// the streams are broken.
	without  []string
	silences int    // questions that got no answer in time
	over     string // why nothing more is asked; "" = go on
}

// Exam is an examination under way. It belongs to one goroutine.
type Exam struct {
	c        chart
	at       int // in probes
	ask      *Ask
	got      []Answer // of the probe at hand
	findings []Finding
	spent    Spent
}

// Spent is what an examination has used up.
type Spent struct {
	Requests int
	Input    int // tokens, with those that came out of a cache
	Output   int
	Untold   int // requests whose answer told no usage; their tokens are not in the sums
}

// New begins an examination of s, whose server listed its models as l. salt
// makes the prompts of this examination different from those of the last one;
// any text that is new each time will do.
func New(s Subject, l Listing, salt string) *Exam {
	e := &Exam{c: chart{Subject: s, Listing: l, salt: salt}}
	e.c.model = e.c.askedModel()
	e.advance()
	return e
}

// Next returns the question that is to be put to the provider, and the name of
// the probe that wants to know; ok is false at the end.
func (e *Exam) Next() (a Ask, probe string, ok bool) {
	if e.ask == nil {
		return Ask{}, "", false
	}
	return *e.ask, probes[e.at].name, true
}

// Answer takes what came of the question that Next returned.
func (e *Exam) Answer(a Answer) {
	if e.ask == nil {
		return
	}
	e.spent.add(a)
	if len(e.ask.Request.Tools) == 0 && e.ask.Request.Thinking == (wire.Thinking{}) && a.Response != nil {
		e.c.plain = append(e.c.plain, a)
	}
	e.got = append(e.got, a)
	e.advance()
}

// Findings returns what was found so far: all of it once Next has nothing more.
func (e *Exam) Findings() []Finding { return e.findings }

// Spent returns what was used up so far.
func (e *Exam) Spent() Spent { return e.spent }

// advance goes on to the next question, or to the end.
func (e *Exam) advance() {
	e.ask = nil
	for ; e.at < len(probes); e.at++ {
		if e.c.over != "" {
			e.findings = append(e.findings, skipped(probes[e.at].name, e.c.over))
			continue
		}
		ask, found := probes[e.at].step(&e.c, e.got)
		if ask != nil {
			e.ask = ask
			return
		}
		e.findings, e.got = append(e.findings, found...), nil
	}
}

func (s *Spent) add(a Answer) {
	s.Requests++
	if a.Response == nil {
		if a.Streamed { // some of it came, and nobody says how much it was
			s.Untold++
		}
		return
	}
	u := a.Response.Usage
	if u == (wire.Usage{}) {
		s.Untold++
	}
	s.Input += u.Input + u.CacheRead + u.CacheWrite
	s.Output += u.Output
}

// Forgo returns the findings of a provider that is not to be asked at all, and
// true; false says that it may be asked. paid says that paid ones may.
func Forgo(s Subject, paid bool) ([]Finding, bool) {
	switch {
	case s.StandIn:
		return all("no model was found, and the demo stands in for one: start a local server, or set a key"), true
	case s.costs() && !paid:
		return all("it costs money; `drey doctor --paid` asks it"), true
	case s.Config.Key.Caller:
		return all("it is asked with each caller's own credential, and doctor has none (key: caller)"), true
	case s.Missing:
		out := all("there is no credential to ask it with")
		out[1] = Finding{Probe: Auth, Verdict: AuthFail, Patch: s.keyPatch(),
			Text: "the secret that it names, " + s.secretNames() + ", is missing or blank: set it, or name another one"}
		return out, true
	}
	return nil, false
}

func all(why string) []Finding {
	var out []Finding
	for _, name := range Probes {
		out = append(out, skipped(name, why))
	}
	return out
}

func skipped(name, why string) Finding { return Finding{Probe: name, Verdict: Skip, Text: why} }

func found(f Finding) (*Ask, []Finding) { return nil, []Finding{f} }
