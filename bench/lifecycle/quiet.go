package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// idlers is how many clients hold an idle lease in each home.
const idlers = 10

// settle is how long a process is left alone in its state before it is watched.
const settle = 10 * time.Second

// quiet is a process that nobody uses.
type quiet struct {
	what   string
	pid    int
	cpu    float64 // limit in ms/s; 0 = none
	memory float64 // limit in MB; 0 = none
}

// measureQuiet measures what a daemon costs that nobody uses, in each of its
// states, and its waker when the daemon is gone. All are watched in the same
// window.
func (l *lab) measureQuiet(ctx context.Context) (err error) {
	var quiets []quiet
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			if uerr := undo[i](); err == nil {
				err = uerr
			}
		}
	}()
	pid, stop, err := l.startBare(ctx)
	if err != nil {
		return err
	}
	undo = append(undo, stop)
	quiets = append(quiets, quiet{what: "idle net/http server", pid: pid})

	for _, c := range []struct {
		name, conf, what string
		there            func(api.Lifecycle) bool
		cpu, memory      float64
	}{
		{"q-wake", `drowsy_after: 24h, sleep_after: 48h, hibernate_after: 48h`, "WAKE, no requests", isAwake, 0, 0},
		{"q-drowsy", `boot_grace: 10ms, drowsy_after: 1s, sleep_after: 24h, hibernate_after: 24h`, "DROWSY", isDrowsy, 0.5, 25},
		{"q-sleep", `boot_grace: 10ms, drowsy_after: 1s, sleep_after: 2s, hibernate_after: 24h`, "SLEEP, cycle clean", isClean, 0.5, 0},
	} {
		d, err := l.serve(ctx, c.name, *rows, c.conf)
		if err != nil {
			return err
		}
		undo = append(undo, d.close)
		if err := crowd(ctx, d.addr); err != nil {
			return err
		}
		drop, err := holdLeases(d.home)
		if err != nil {
			return err
		}
		undo = append(undo, drop)
		if err := d.reach(ctx, c.what, c.there); err != nil {
			return err
		}
		quiets = append(quiets, quiet{c.what, d.cmd.Process.Pid, c.cpu, c.memory})
	}

	pid, stop, err = l.startWaker(ctx)
	if err != nil {
		return err
	}
	undo = append(undo, stop)
	quiets = append(quiets, quiet{"the waker, the daemon hibernates", pid, 0, 8})
	if err := wait(ctx, settle); err != nil {
		return err
	}
	return tellQuiet(ctx, quiets)
}

// tellQuiet watches processes and prints what they used.
func tellQuiet(ctx context.Context, quiets []quiet) error {
	before := make([]time.Duration, len(quiets))
	for i, q := range quiets {
		var err error
		if before[i], err = cpu(q.pid); errors.Is(err, errors.ErrUnsupported) {
			fmt.Println("this system does not tell of other processes: nothing measured of quiet ones")
			return nil
		} else if err != nil {
			return err
		}
	}
	begun := time.Now()
	if err := wait(ctx, *watch); err != nil {
		return err
	}
	fmt.Printf("%-52s %10s %12s %12s\n", fmt.Sprintf("nobody there for %v, %d idle leases", *watch, idlers), "CPU ms/s", "resident MB", "of it own")
	for i, q := range quiets {
		used, err := cpu(q.pid)
		if err != nil {
			return err
		}
		all, own, err := resident(q.pid)
		if err != nil {
			return err
		}
		rate := float64((used - before[i]).Microseconds()) / 1000 / time.Since(begun).Seconds()
		var limits []string
		if q.cpu > 0 {
			limits = append(limits, limit{fmt.Sprintf("≤ %g ms/s", q.cpu), rate <= q.cpu}.String())
		}
		if q.memory > 0 {
			limits = append(limits, limit{fmt.Sprintf("≤ %g MB", q.memory), all <= q.memory}.String())
		}
		fmt.Printf("%-52s %10.3f %12.1f %12.1f   %s\n", q.what, rate, all, own, strings.Join(limits, ", "))
	}
	return nil
}

func isAwake(l api.Lifecycle) bool { return l.State == "WAKE" }

// crowd makes a daemon do some work, so that it has something to give back.
func crowd(ctx context.Context, addr string) error {
	const workers, calls = 16, 100
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range calls {
				if _, err := post(ctx, addr); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// holdLeases has clients in a home that do nothing.
func holdLeases(h statedir.Home) (drop func() error, err error) {
	var held []*statedir.LeaseHolder
	drop = func() error {
		var errs []error
		for _, l := range held {
			errs = append(errs, l.Close())
		}
		return errors.Join(errs...)
	}
	for range idlers {
		l, err := statedir.HoldLease(h, "bench", false)
		if err != nil {
			return nil, errors.Join(err, drop())
		}
		held = append(held, l)
	}
	return drop, nil
}

// startBare starts the reference, which serves nobody.
func (l *lab) startBare(ctx context.Context) (pid int, stop func() error, err error) {
	h, err := statedir.Open(filepath.Join(l.dir, "idle"))
	if err != nil {
		return 0, nil, err
	}
	s, err := l.newStarter(h, l.self, "-role", "bare")
	if err != nil {
		return 0, nil, err
	}
	cmd := s.act.Command(ctx, nil, s.argv...)
	if err := cmd.Start(); err != nil {
		return 0, nil, errors.Join(err, s.act.Close())
	}
	return cmd.Process.Pid, func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		return s.act.Close()
	}, nil
}

// startWaker starts `drey up` on a home where nobody wants anything, and returns
// when its daemon has gone.
func (l *lab) startWaker(ctx context.Context) (pid int, stop func() error, err error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, nil, err
	}
	h, err := l.newHome("q-waker", addr, `boot_grace: 10ms, drowsy_after: 200ms, sleep_after: 400ms, hibernate_after: 600ms`)
	if err != nil {
		return 0, nil, err
	}
	cmd := exec.CommandContext(ctx, l.drey, "up", "--home", h.Root())
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	stop = func() error {
		if err := end(cmd); err != nil {
			return fmt.Errorf("%w\n%s", err, &said)
		}
		return nil
	}
	err = until(ctx, func() (bool, error) {
		r, err := statedir.ReadLifecycle(h, time.Now())
		if err != nil || r.State != lifecycle.Hibernation {
			return false, nil // it is not there yet
		}
		_, held, err := statedir.Locked(h.Lock())
		return !held, err
	})
	if err != nil {
		return 0, nil, errors.Join(fmt.Errorf("wait for HIBERNATION: %w\n%s", err, &said), stop())
	}
	return cmd.Process.Pid, stop, nil
}
