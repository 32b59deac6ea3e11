package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// window is how long each of the rates is measured at a time.
const window = 200 * time.Millisecond

// measureDispatches measures how many durable dispatches a second there are,
// beside what the disk can do: an append with its sync, and the system calls
// of a dispatch with nothing around them.
func (l *lab) measureDispatches(ctx context.Context) error {
	dir := filepath.Join(l.dir, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	appended, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer appended.Close()
	h, err := statedir.Open(filepath.Join(l.dir, "dispatches"))
	if err != nil {
		return err
	}
	lock, err := statedir.TryLock(h.Lock())
	if err != nil {
		return err
	}
	defer lock.Release()
	var trouble error
	life, err := statedir.OpenLifecycle(statedir.LifecycleConfig{Home: h, Lock: lock, Warn: func(err error) { trouble = err }})
	if err != nil {
		return err
	}
	dispatch := func(name lifecycle.EventName) func() error {
		return func() error {
			_, err := life.Dispatch(lifecycle.Event{Name: name, At: time.Now()}, lifecycle.DefaultPolicy())
			if err == nil {
				err = trouble
			}
			return err
		}
	}
	record, line := make([]byte, 600), make([]byte, 140) // as long as the real ones
	rows := []struct {
		what string
		once func() error
		rate sample
	}{
		{"append, fsync", func() error { return appendSynced(appended, line) }, nil},
		{"create, write, fsync, rename, fsync directory", func() error { return replaceSynced(dir, record) }, nil},
		{"  and the append with its fsync", func() error {
			if err := replaceSynced(dir, record); err != nil {
				return err
			}
			return appendSynced(appended, line)
		}, nil},
		{"dispatch, bookkeeping only", dispatch(lifecycle.HeartbeatRefresh), nil},
		{"dispatch, a transition", dispatch(lifecycle.RequestArrived), nil},
	}
	for i := -1; i < *rounds; i++ { // the first is to warm up
		for j := range rows {
			r := &rows[j]
			n, begun := 0, time.Now()
			for ; time.Since(begun) < window && ctx.Err() == nil; n++ {
				if err := r.once(); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if i >= 0 {
				r.rate = append(r.rate, float64(n)/time.Since(begun).Seconds())
			}
		}
	}
	fsyncs := rows[0].rate.median()
	fmt.Printf("%-52s %s\n", "durable on this disk, one writer", fmt.Sprintf("per second, median of %d windows (lowest to highest)", *rounds))
	for j, r := range rows {
		var lim limit
		// The contract's: 2,000 a second, or a share of what a slow disk can do.
		for k, syncs := range map[int]float64{3: 2, 4: 3} {
			if least := min(2000, 0.6*fsyncs/syncs); k == j {
				lim = limit{fmt.Sprintf("≥ %.0f", least), r.rate.median() >= least}
			}
		}
		fmt.Printf("%-52s %-28s %v\n", r.what, r.rate.spread("%.0f"), lim)
	}
	return nil
}

func appendSynced(f *os.File, line []byte) error {
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

// replaceSynced is what it takes to replace a file so that a power cut leaves
// the old or the new one.
func replaceSynced(dir string, content []byte) error {
	f, err := os.CreateTemp(dir, "record")
	if err != nil {
		return err
	}
	defer f.Close() // a second time, which is harmless
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, "record")); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // only synced
	return d.Sync()
}
