package dormancy

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// TestStatus: what comes next is what then happens, and looking changes nothing.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var woke, steps int
		l := newLab(t, nil, func(c *Config) {
			c.Woke = func(took time.Duration) {
				if woke++; took != 0 {
					t.Errorf("it took %v to wake", took)
				}
			}
			c.StepTook = func(step string, took time.Duration) {
				if steps++; took != 3*time.Second {
					t.Errorf("%s took %v", step, took)
				}
			}
		})
		l.blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner}}
		l.start()
		for _, want := range []lifecycle.State{lifecycle.Drowsy, lifecycle.Sleep} {
			pass(0)
			s := l.owner.Status()
			if s.Next == nil {
				t.Fatal("nothing is next")
			}
			pass(time.Until(s.Next.At) - 1)
			if l.state() == want {
				t.Errorf("%v before its time", want)
			}
			pass(1)
			l.want(want)
		}
		pass(4 * time.Second)
		if r := l.owner.Status().Running; r == nil || *r != (Running{Mode: lifecycle.ModeSleep, Step: 2, Name: "retention", Chunk: 1, Of: 6}) {
			t.Errorf("running %+v", r)
		}
		if l.steps.runs.Load() != 2 {
			t.Error("looking interrupted the cycle")
		}
		pass(time.Minute)
		end := l.owner.Begin()
		pass(time.Second)
		if s := l.owner.Status(); s.InFlight != 1 || s.Idle != 0 || s.Running != nil || s.Record.State != lifecycle.Wake {
			t.Errorf("%+v", s)
		}
		end()
		if err := l.close(); err != nil {
			t.Error(err)
		}
		if woke != 1 || steps != 6 {
			t.Errorf("woke %d times and ran %d steps, want 1 and 6", woke, steps)
		}
	})
}

// TestStatusAfterAnAnswer: who looks after their request was answered sees the
// daemon awake, however fast the answer was; and a disk that fails keeps nobody
// from looking.
func TestStatusAfterAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner}}
		l.start()
		for range 200 {
			pass(6 * time.Minute)
			l.owner.Begin()()
			l.owner.CatchUp(t.Context())
			if s := l.owner.Status(); s.Record.State != lifecycle.Wake {
				t.Fatalf("after an answer it says %v", s.Record.State)
			}
		}
		pass(6 * time.Minute)
		l.disk.set(func(d *disk) { d.broken = true })
		l.owner.Begin()()
		l.owner.CatchUp(t.Context())
		if s := l.owner.Status(); s.Record.State != lifecycle.Drowsy {
			t.Errorf("it says %v, and that is not on disk", s.Record.State)
		}
		l.disk.set(func(d *disk) { d.broken = false })
		if err := l.close(); err != nil {
			t.Error(err)
		}
		l.owner.CatchUp(t.Context()) // nobody is there to wait for
	})
}
