package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
)

// tableMachines are one machine of each kind that can be reached, by the way
// that leads there.
func tableMachines(p Policy) []struct {
	name string
	m    Machine
	p    Policy
} {
	p.Command = "restart"
	noRestart := p
	noRestart.Command = ""
	paid := noRestart
	paid.NoProbe = true
	demote := noRestart
	demote.Excluders, demote.Demote = nil, true

	build := func(p Policy, do func(*rig)) Machine {
		r := newRig(p)
		do(r)
		return r.m
	}
	type row = struct {
		name string
		m    Machine
		p    Policy
	}
	var out []row
	add := func(name string, p Policy, do func(*rig)) { out = append(out, row{name, build(p, do), p}) }
	add("HEALTHY", p, func(*rig) {})
	add("HEALTHY ramping", noRestart, func(r *rig) { r.fail(6); r.tick(); r.probe(true) })
	add("DEGRADED", noRestart, func(r *rig) { r.fail(5) })
	add("UNHEALTHY", func() Policy { q := demote; q.Demote = false; return q }(), func(r *rig) { r.fail(6) })
	add("UNHEALTHY probing", demote, func(r *rig) { r.fail(6) })
	add("EXCLUDED draining", p, func(r *rig) { r.start(); r.fail(6) })
	add("EXCLUDED restarting", p, func(r *rig) { r.fail(6) })
	add("EXCLUDED probing", noRestart, func(r *rig) { r.fail(6) })
	add("EXCLUDED probing, probe runs", noRestart, func(r *rig) { r.fail(6); r.tick() })
	add("EXCLUDED probing, trial open", paid, func(r *rig) { r.fail(6); r.tick() })
	add("EXCLUDED probing, trial runs", paid, func(r *rig) {
		r.fail(6)
		r.tick()
		r.n++
		r.step(AttemptAsked{Meta: r.meta(), Token: Token{Epoch: r.m.Epoch, N: r.n}, For: AskTrial})
	})
	add("EXCLUDED by operator draining", p, func(r *rig) { r.start(); r.step(OperatorExclude{Meta: r.meta(), For: time.Hour}) })
	add("EXCLUDED by operator", p, func(r *rig) { r.step(OperatorExclude{Meta: r.meta(), For: time.Hour}) })
	return out
}

// TestTable prints Step over every kind of machine and every event. The file
// is the document of the machine: read its diff for surprises.
func TestTable(t *testing.T) {
	var b strings.Builder
	at := Meta{At: after(7200), Profile: "main", Rand: 0.5}
	for _, row := range tableMachines(DefaultPolicy("local", "main")) {
		m, p := row.m, row.p
		tok := Token{Provider: "local", Epoch: m.Epoch, N: 1000}
		started, _ := Step(m, AttemptStarted{at, tok}, p)
		onTrial := started
		if m.Trial == TrialRunning {
			tok.N, onTrial = m.TrialN, m
		}
		managed := p
		managed.Command, managed.Managed = "serve", true
		notX := p
		notX.Excluders = nil
		cases := []struct {
			name string
			m    Machine
			ev   Event
			p    Policy
		}{
			{"fail", onTrial, AttemptEnded{Meta: at, Token: tok, Counted: true, Class: drey.Server}, p},
			{"ok", onTrial, AttemptEnded{Meta: at, Token: tok, OK: true}, p},
			{"cancel", onTrial, AttemptEnded{Meta: at, Token: tok, Class: drey.Cancel}, p},
			{"late ok", started, AttemptEnded{Meta: at, Token: Token{Epoch: m.Epoch + 9, N: 1000}, OK: true}, p},
			{"asks slot", m, AttemptAsked{Meta: at, Token: Token{N: 2000}, For: AskSlot}, p},
			{"asks trial", m, AttemptAsked{Meta: at, Token: Token{N: 2000}, For: AskTrial}, p},
			{"asks panic", m, AttemptAsked{Meta: at, Token: Token{N: 2000}, For: AskPanic}, p},
			{"Tick", m, Tick{at}, p},
			{"ProbeEnded ok", m, ProbeEnded{Meta: at, N: m.ProbeN, OK: true}, p},
			{"ProbeEnded failed", m, ProbeEnded{Meta: at, N: m.ProbeN, Class: drey.Transport}, p},
			{"RestartEnded ok", m, RestartEnded{Meta: at, N: m.Restart, OK: true}, p},
			{"RestartEnded failed", m, RestartEnded{Meta: at, N: m.Restart}, p},
			{"ProcessReady", m, ProcessReady{at}, managed},
			{"ProcessExited", m, ProcessExited{at}, managed},
			{"ProcessLooped", m, ProcessLooped{at, "crash loop"}, managed},
			{"ProcessUnloaded", m, ProcessUnloaded{at}, managed},
			{"OperatorExclude", m, OperatorExclude{Meta: at, For: time.Hour}, p},
			{"OperatorDrain", m, OperatorDrain{Meta: at, Timeout: time.Minute}, p},
			{"OperatorRestore", m, OperatorRestore{Meta: at}, p},
			{"OperatorRestart", m, OperatorRestart{Meta: at}, p},
			{"OperatorProbe ok", m, OperatorProbe{Meta: at, OK: true}, p},
			{"OperatorProbe failed", m, OperatorProbe{Meta: at}, p},
			{"PolicyChanged", m, PolicyChanged{Meta: at}, p},
			{"PolicyChanged not X", m, PolicyChanged{Meta: at}, notX},
			{"PolicyChanged gone", m, PolicyChanged{Meta: at, Gone: true}, p},
			{"PolicyChanged replaced", m, PolicyChanged{Meta: at, Replaced: true}, p},
			{"Loaded", m, Loaded{Meta: at, Record: Record{State: Excluded, Phase: Probing}}, p},
			{"ShutdownBegan", m, ShutdownBegan{at}, p},
		}
		fmt.Fprintf(&b, "%s\n", row.name)
		for _, c := range cases {
			next, out := Step(c.m, c.ev, c.p)
			fmt.Fprintf(&b, "  %-23s -> %-48s %s\n", c.name, describe(next), shorts(out))
		}
	}
	golden(t, "table.golden", b.String())
}

func shorts(out []Effect) string {
	var s []string
	for _, e := range out {
		switch e := e.(type) {
		case Emit:
			name := e.Event.Name
			for _, f := range e.Event.Fields {
				if f.Key == "success" || f.Key == "reason" {
					name += fmt.Sprintf("(%v)", f.Value)
				}
			}
			s = append(s, name)
		case ArmTimer:
			s = append(s, fmt.Sprintf("ArmTimer %s", e.At.Sub(after(7200))))
		case Persist:
			if e.Delete {
				s = append(s, "Persist delete")
			} else {
				s = append(s, "Persist")
			}
		case Refuse:
			s = append(s, "Refuse "+e.Reason)
		case Grant:
			s = append(s, "Grant "+e.For.String())
		default:
			s = append(s, strings.TrimPrefix(fmt.Sprintf("%T", e), "health."))
		}
	}
	return "[" + strings.Join(s, ", ") + "]"
}
