package guard_test

import (
	"fmt"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
)

// night is a request of 1 MB with 500 tool turns, as a long session sends it.
func night(of drey.Wire) []byte {
	steps := []step{user("fix it all")}
	for n := range 500 {
		steps = append(steps, calls(fmt.Sprintf(`Edit {"path":"f%d.go","old":%q,"new":%q}`, n, text(220), text(220))))
	}
	return conversation(of, steps...)
}

// BenchmarkInspect is what the guards cost a request on the hot path. Target:
// 1 MB in less than 5 ms.
func BenchmarkInspect(b *testing.B) {
	on := guard.Policy{Profile: "p", Cap: guard.Cap{Action: guard.Warn, Limit: 50}, Loop: loop}
	for _, of := range wires {
		body := night(of)
		for name, p := range map[string]guard.Policy{"on": on, "off": {Profile: "p"}} {
			b.Run(of.String()+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					guard.Inspect(of, body, p)
				}
			})
		}
	}
}

func BenchmarkTrim(b *testing.B) {
	for _, of := range wires {
		body := night(of)
		f := fit(b, of, body, 200_000)
		b.Run(of.String(), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if guard.Trim(codecs[of], body, f, budget).Body == nil {
					b.Fatal("nothing to trim")
				}
			}
		})
	}
}

// TestOffCostsNothing holds that a guard that is off does not look at the body.
func TestOffCostsNothing(t *testing.T) {
	body := night(drey.WireAnthropic)
	p := guard.Policy{Profile: "p", Cap: guard.Cap{Action: guard.Warn}, Loop: guard.Loop{Window: 20, Threshold: 3}}
	if !p.Off() {
		t.Fatal("a cap without a limit is on")
	}
	if n := testing.AllocsPerRun(10, func() { guard.Inspect(drey.WireAnthropic, body, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
