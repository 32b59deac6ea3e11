package dormancy

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

func TestWorkAtEachDoorTurnsBack(t *testing.T) {
	hold := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, door := range map[string]func(*lab){
		"pause":  func(l *lab) { l.doors.pause = hold },
		"settle": func(l *lab) { l.doors.settle = hold },
	} {
		for what, come := range map[string]func(*lab){
			"a request":     func(l *lab) { l.owner.Begin()() },
			"a wake signal": func(l *lab) { l.signal() },
			"an operator":   func(l *lab) { _, _ = l.owner.Wake(context.Background(), "test") },
		} {
			t.Run(what+" in "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, nil, nil)
					door(l)
					l.start()
					pass(30*time.Minute + 20*time.Second)
					if !l.doors.paused.Load() {
						t.Fatalf("doors %q: none is closed", l.doors.seen())
					}
					l.want(lifecycle.Sleep)
					come(l)
					pass(0)
					l.want(lifecycle.Wake)
					if moves := l.doors.seen(); moves[len(moves)-1] != "resume" || l.doors.paused.Load() {
						t.Errorf("doors %q: they are not open", moves)
					}
					if err := l.close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestWorkBetweenTheLastLookAndTheSave: the record says HIBERNATION for a
// moment, and the process lives on.
func TestWorkBetweenTheLastLookAndTheSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(c *Config) { c.State = &beginsAtSave{State: c.State} })
		l.owner.cfg.State.(*beginsAtSave).begin = func() { l.owner.Begin()() }
		l.start()
		pass(31 * time.Minute)
		l.want(lifecycle.Wake)
		story := l.disk.story()
		if got := story[len(story)-2:]; !slices.Equal(got, []string{"SLEEP>HIBERNATION sleep_cycle_done", "HIBERNATION>WAKE request_arrived"}) {
			t.Errorf("story ends with %q", got)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

type beginsAtSave struct {
	State
	begin func()
}

func (s *beginsAtSave) Dispatch(ev lifecycle.Event, p lifecycle.Policy) (d dispatched, err error) {
	if ev.Name == lifecycle.SleepCycleDone {
		s.begin()
	}
	return s.State.Dispatch(ev, p)
}

func TestWhatHoldsHibernationBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner, Text: "nobody would wake it"}}
		l.disk.stuck = true
		l.start()
		pass(3 * time.Hour)
		l.want(lifecycle.Sleep)
		if n := l.disk.count(lifecycle.EventCycleCompleted); n != 1 {
			t.Errorf("%d cycles, want 1", n)
		}
		var codes []string
		for _, b := range l.owner.Status().Blocks {
			codes = append(codes, b.Code)
		}
		if !slices.Equal(codes, []string{lifecycle.BlockSignal, lifecycle.BlockNoOwner}) {
			t.Errorf("blocks %q", codes)
		}
		if err := l.owner.Hibernate(t.Context()); err == nil {
			t.Error("an operator got past them")
		}
		l.disk.set(func(d *disk) { d.stuck = false })
		l.block()
		pass(0)
		l.want(lifecycle.Hibernation)
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
	})
}

// TestASignalThatCannotBeConsumedGoesAway: nobody tells of that, and the daemon
// sees it all the same.
func TestASignalThatCannotBeConsumedGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		pass(time.Minute)
		l.disk.set(func(d *disk) { d.stuck = true })
		l.notify()
		pass(3 * time.Hour)
		l.want(lifecycle.Sleep)
		l.disk.set(func(d *disk) { d.stuck = false })
		pass(trapAgain)
		l.want(lifecycle.Hibernation)
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
	})
}

func TestADoorThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.doors.pause = func(context.Context) error {
			if len(l.doors.seen()) == 1 {
				panic("a door")
			}
			return nil
		}
		l.start()
		pass(31 * time.Minute)
		l.want(lifecycle.Sleep)
		if next := l.owner.Status().Next; next == nil || next.Event != lifecycle.SleepCycleDone || !next.At.After(time.Now()) {
			t.Errorf("at %v it is to be tried again: %+v", time.Now(), next)
		}
		pass(time.Minute)
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
		if want := []string{"pause", "resume", "pause", "settle"}; !slices.Equal(l.doors.seen(), want) {
			t.Errorf("doors %q, want %q", l.doors.seen(), want)
		}
	})
}

func TestNoHibernationWithoutItsSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.doors.settle = func(context.Context) error {
			first := len(l.doors.seen()) == 2
			l.disk.set(func(d *disk) { d.broken = first })
			return nil
		}
		l.start()
		pass(31 * time.Minute)
		if l.gone() {
			t.Fatal("gone without a record that says so")
		}
		l.want(lifecycle.Sleep)
		l.disk.set(func(d *disk) { d.broken = false })
		pass(2 * time.Minute)
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
	})
}

func TestAShadowRunLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, func(c *Config) { c.Policy.ShadowRun = true })
		l.blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner}}
		l.start()
		pass(2 * time.Hour)
		l.want(lifecycle.Hibernation)
		if n := l.disk.count(lifecycle.EventShadowRun); n != 1 || len(l.doors.seen()) != 0 || l.gone() {
			t.Errorf("%d warnings, doors %q", n, l.doors.seen())
		}
		l.owner.Begin()()
		pass(0)
		l.want(lifecycle.Wake)
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNoFlapping: from the third wake without work on, HIBERNATION is held
// back; a request ends that.
func TestNoFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{record: lifecycle.Default(time.Now())}
		for wake := range 4 {
			l := newLab(t, d, nil).start()
			began := time.Now()
			for !l.gone() {
				pass(time.Minute)
			}
			_ = l.close()
			want := 31 * time.Minute
			if wake == 3 {
				want = time.Hour
			}
			if took := time.Since(began); took != want {
				t.Errorf("wake %d: hibernated after %v, want %v", wake, took, want)
			}
			if n := d.look().WorklessWakes; n != wake {
				t.Errorf("wake %d: workless_wakes is %d", wake, n)
			}
		}
		l := newLab(t, d, nil).start()
		l.want(lifecycle.Wake)
		l.owner.Begin()()
		pass(31 * time.Second) // coalesced with the wake
		if n := d.look().WorklessWakes; n != 0 {
			t.Errorf("after work workless_wakes is %d", n)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}
