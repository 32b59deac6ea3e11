package health

import (
	"fmt"
	"testing"
)

// TestHotRowsDoNotAllocate holds the healing contract §13 for rows 1 and 17, with the
// attempt's start.
func TestHotRowsDoNotAllocate(t *testing.T) {
	p := DefaultPolicy("local", "main")
	var m Machine
	n := uint64(0)
	run := func(counted bool) {
		n++
		tok := Token{Provider: "local", N: n}
		m, _ = Step(m, AttemptStarted{meta(0), tok}, p)
		m, _ = Step(m, AttemptEnded{Meta: meta(0), Token: tok, OK: !counted, Counted: counted}, p)
	}
	if a := testing.AllocsPerRun(100, func() { m.ConsecutiveFailures, m.Ratio, m.window = 0, false, window{}; run(true) }); a != 0 {
		t.Errorf("row 1 allocates %v times", a)
	}
	if a := testing.AllocsPerRun(100, func() { run(false) }); a != 0 {
		t.Errorf("row 17 allocates %v times", a)
	}
}

func BenchmarkStep(b *testing.B) {
	p := DefaultPolicy("local", "main")
	for _, ok := range []bool{true, false} {
		b.Run(fmt.Sprintf("ok=%t", ok), func(b *testing.B) {
			b.ReportAllocs()
			var m Machine
			at := meta(0)
			for n := uint64(1); b.Loop(); n++ { // two steps each
				tok := Token{Provider: "local", N: n}
				m, _ = Step(m, AttemptStarted{at, tok}, p)
				m, _ = Step(m, AttemptEnded{Meta: at, Token: tok, OK: ok, Counted: !ok}, p)
				if !ok {
					m.ConsecutiveFailures, m.Ratio, m.window.failed = 0, false, 0
				}
			}
		})
	}
}
