package dormancy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// TestWorkInterruptsEveryChunk: whatever the cycle is at, work wakes the daemon
// at once, and the next idle period goes on where it gave way.
func TestWorkInterruptsEveryChunk(t *testing.T) {
	for chunk := range 18 {
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil, nil).start()
				pass(30*time.Minute + time.Duration(chunk)*time.Second + 500*time.Millisecond)
				l.want(lifecycle.Sleep)
				l.owner.Begin()()
				pass(0)
				l.want(lifecycle.Wake)
				p := l.disk.look().Progress
				if p == nil || p.LastCompletedStep != chunk/3 || p.Attempt != 0 || p.LastError == nil ||
					*p.LastError != fmt.Sprintf("deferred:step=%s:chunk_idx=%d", stepNames[chunk/3], chunk%3) {
					t.Fatalf("progress %+v", p)
				}
				pass(32 * time.Minute)
				if err := l.close(); !errors.Is(err, ErrHibernated) {
					t.Error(err)
				}
				if n := l.steps.runs.Load(); n != 7 {
					t.Errorf("%d steps ran, want the six and one again", n)
				}
			})
		})
	}
}

// TestTheActivityItselfInterrupts: a step gives way while the owner waits for
// the disk.
func TestTheActivityItselfInterrupts(t *testing.T) {
	w := newLedger()
	gave := make(chan struct{})
	begun, _ := w.look()
	if !w.guard(func() { close(gave) }, begun) {
		t.Fatal("nothing has begun")
	}
	w.begin()() // nobody serves
	select {
	case <-gave:
	default:
		t.Fatal("the step was not told")
	}
	if w.guard(func() {}, begun) {
		t.Error("the activity before the guard was not seen")
	}
}

func TestStepsThatFail(t *testing.T) {
	for name, work := range map[string]func(ctx context.Context) error{
		"error": func(context.Context) error { return errors.New("torn page") },
		"panic": func(context.Context) error { panic("torn page") },
		"timeout": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, nil, func(c *Config) {
					c.Redact = func(text string) string { return strings.ReplaceAll(text, "torn", "[redacted]") }
				})
				var mended atomic.Bool
				l.steps.work = func(step string, ctx context.Context, pace func(int) error) error {
					if step == "verify" && !mended.Load() {
						return work(ctx)
					}
					return nil
				}
				l.start()
				pass(30*time.Minute + time.Second)
				var last time.Time
				for i, apart := range []time.Duration{0, 5 * time.Minute, 30 * time.Minute} {
					for p := l.disk.look().Progress; p.Attempt <= i; p = l.disk.look().Progress {
						pass(time.Second)
					}
					if took := time.Since(last); took < apart-time.Second || i > 0 && took > apart+11*time.Minute {
						t.Errorf("try %d came %v after the one before, want %v", i+1, took, apart)
					}
					last = time.Now()
				}
				r := l.disk.look()
				if last := *r.Progress.LastError; strings.Contains(last, "torn") {
					t.Errorf("the record has it all: %s", last)
				}
				if r.Quarantine == nil || r.Quarantine.Reason != "sleep step 4 (verify) failed 3x" {
					t.Fatalf("quarantine %+v", r.Quarantine)
				}
				runs := l.steps.runs.Load()
				pass(23 * time.Hour)
				if l.steps.runs.Load() != runs || l.state() != lifecycle.Sleep {
					t.Error("something happened in quarantine")
				}
				if _, err := l.owner.Sleep(t.Context(), SleepOptions{}); !errors.Is(err, ErrQuarantined) {
					t.Errorf("sleep: %v", err)
				}
				mended.Store(true)
				pass(2 * time.Hour)
				if err := l.close(); !errors.Is(err, ErrHibernated) {
					t.Errorf("%v; story %q", err, l.disk.story())
				}
				if n := l.disk.count(lifecycle.EventStoreDamaged); n != 3 {
					t.Errorf("%d store_damaged, want 3", n)
				}
			})
		})
	}
}

// TestADiskThatFails: requests never wait, the saves are tried again, and in the
// end everything is as if nothing had been.
func TestADiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		pass(30*time.Minute + 4*time.Second) // in the middle of a cycle
		l.disk.set(func(d *disk) { d.broken = true })
		began := time.Now()
		l.owner.Begin()()
		if took := time.Since(began); took != 0 {
			t.Errorf("a request waited for %v", took)
		}
		pass(2 * time.Minute)
		l.want(lifecycle.Sleep)
		if l.steps.running.Load() != 0 {
			t.Error("the step did not give way")
		}
		l.disk.set(func(d *disk) { d.broken = false })
		pass(time.Minute)
		l.want(lifecycle.Wake)
		if p := l.disk.look().Progress; p == nil || p.LastError == nil || !strings.HasPrefix(*p.LastError, "deferred:") {
			t.Errorf("progress %+v", p)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOperatorsAndADiskThatFails: they are told what the disk says, and however
// often they ask, the daemon's own next try is not put off.
func TestOperatorsAndADiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner}}
		l.start()
		pass(time.Hour)
		l.want(lifecycle.Sleep)
		l.disk.set(func(d *disk) { d.broken = true })
		for range 20 {
			_, err := l.owner.Wake(t.Context(), "test")
			if _, ok := errors.AsType[*SaveError](err); !ok || !errors.Is(err, errDisk) {
				t.Fatalf("wake: %v", err)
			}
			if _, err := l.owner.Sleep(t.Context(), SleepOptions{}); !errors.Is(err, errDisk) {
				t.Fatalf("sleep: %v", err)
			}
		}
		l.disk.set(func(d *disk) { d.broken = false })
		pass(firstRetry)
		l.want(lifecycle.Wake)
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStopInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil).start()
		pass(30*time.Minute + 4*time.Second)
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		l.want(lifecycle.Sleep)
		if l.steps.running.Load() != 0 {
			t.Error("a step runs on")
		}
		l = newLab(t, l.disk, nil).start()
		pass(2 * time.Minute)
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
		if n := l.steps.runs.Load(); n != 5 {
			t.Errorf("%d steps after the restart, want 5", n)
		}
	})
}

func TestOperatorsSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.blocks = []lifecycle.Block{{Code: lifecycle.BlockNoOwner}}
		l.start()
		end := l.owner.Begin()
		if _, err := l.owner.Sleep(t.Context(), SleepOptions{}); err == nil || err.Error() != "work is going on: 1 in flight" {
			t.Errorf("sleep beside work: %v", err)
		}
		forced, err := l.owner.Sleep(t.Context(), SleepOptions{Force: true})
		if err != nil || forced.Mode != lifecycle.ModeForced || forced.Took < 18*time.Second+12*rest {
			t.Errorf("forced: %+v, %v", forced, err)
		}
		l.want(lifecycle.Wake)
		end()
		var told int
		rep, err := l.owner.Sleep(t.Context(), SleepOptions{Progress: func(r StepReport) {
			if told++; r.Number != told || r.Of != 6 || r.Took != 3*time.Second {
				t.Errorf("%+v", r)
			}
		}})
		if err != nil || told != 6 || len(rep.Steps) != 6 || rep.Mode != lifecycle.ModeSleep {
			t.Errorf("sleep: %+v, %v", rep, err)
		}
		l.want(lifecycle.Sleep)
		if rep, err := l.owner.Sleep(t.Context(), SleepOptions{}); err != nil || !rep.Clean {
			t.Errorf("sleep again: %+v, %v", rep, err)
		}
		go func() {
			time.Sleep(7 * time.Second)
			l.owner.Begin()()
		}()
		if _, err := l.owner.Wake(t.Context(), "test"); err != nil {
			t.Error(err)
		}
		if rep, err := l.owner.Sleep(t.Context(), SleepOptions{}); !errors.Is(err, ErrInterrupted) || len(rep.Steps) != 3 {
			t.Errorf("interrupted: %+v, %v", rep, err)
		}
		l.block()
		if err := l.owner.Hibernate(t.Context()); err != nil {
			t.Errorf("hibernate: %v", err)
		}
		if err := l.close(); !errors.Is(err, ErrHibernated) {
			t.Error(err)
		}
	})
}
