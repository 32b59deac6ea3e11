package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// newHome makes a home whose one provider is the upstream. conf is the
// configuration's section lifecycle.
func (l *lab) newHome(name, addr, conf string) (statedir.Home, error) {
	h, err := statedir.Open(filepath.Join(l.dir, name))
	if err != nil {
		return h, err
	}
	return h, os.WriteFile(h.Config(), fmt.Appendf(nil, `version: 1
listen: {addr: %q}
providers:
  bench: {wire: openai, url: "http://%s/v1", model: bench}
profiles:
  default: {chain: [bench]}
lifecycle: {%s}
`, addr, l.upstream, conf), 0o600)
}

// fill gives a home a past: rows of a thousand machines that nobody takes up at
// a start, each with its snapshot, and some of the lifecycle and of the daemon
// between them.
func fill(ctx context.Context, h statedir.Home, rows int) (err error) {
	lock, err := statedir.TryLock(h.Lock())
	if err != nil {
		return err
	}
	defer lock.Release()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: h.DB(), Lock: lock})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}()
	const machines, batch = 1000, 500
	at := time.Now().Add(-24 * time.Hour) // young enough for upkeep to wait until it is called for
	for n := 0; n < rows; n += batch {
		appends := make([]store.Append, 0, batch)
		for i := range min(batch, rows-n) {
			at = at.Add(50 * time.Millisecond)
			a := store.Append{Machine: "past", ID: fmt.Sprintf("past-%04d", (n+i)%machines), Expect: store.AnyVersion}
			switch i % 50 {
			case 0:
				a.Machine, a.ID = "lifecycle", ""
			case 1:
				a.Machine, a.ID = "daemon", ""
			default:
				a.Snapshot = json.RawMessage(`{"state":"running","attempt":1,"input":"dolor sit amet"}`)
			}
			a.Events = []drey.Event{{
				At: at, Name: a.Machine + ".moved", Machine: a.Machine, ID: a.ID, From: "ready", To: "running", Trigger: "start",
				RequestID: drey.RequestID(fmt.Sprintf("req-%08d", n+i)), Fields: []drey.Field{drey.F("attempt", 1), drey.F("note", "lorem ipsum dolor sit amet")},
			}}
			appends = append(appends, a)
		}
		if _, err := s.Append(ctx, appends...); err != nil {
			return err
		}
	}
	return nil
}

// hibernating is the record of a home that sleeps until somebody calls.
func hibernating(h statedir.Home) ([]byte, error) {
	p := lifecycle.DefaultPolicy()
	err := statedir.Offline(statedir.LifecycleConfig{Home: h}, func(l *statedir.Lifecycle) error {
		for _, ev := range []lifecycle.Event{
			{Name: lifecycle.Idle5Min}, {Name: lifecycle.Idle30Min, Guards: lifecycle.Guards{SleepEligible: true}}, {Name: lifecycle.SleepCycleDone, Guards: lifecycle.Guards{StillIdle: true}},
		} {
			ev.At = time.Now()
			if _, err := l.Dispatch(ev, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r, err := statedir.ReadLifecycle(h, time.Now()); err != nil || r.State != lifecycle.Hibernation {
		return nil, fmt.Errorf("bring %s into HIBERNATION: it is in %v, %w", h.Root(), r.State, err)
	}
	return os.ReadFile(h.Lifecycle())
}

func copyFile(to, from string, mode os.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync() // what is not on disk cannot be dropped from memory
}
