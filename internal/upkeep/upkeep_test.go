package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/upkeep"
)

// TestSteps holds what is persisted and what the contract names.
func TestSteps(t *testing.T) {
	var got []string
	for _, s := range newHouse(t).steps(nil) {
		got = append(got, fmt.Sprint(s.Number, " ", s.Name, " ", s.Timeout))
	}
	want := []string{"1 checkpoint 10m0s", "2 retention 10m0s", "3 rollup 10m0s", "4 verify 30m0s", "5 backup 30m0s", "6 optimize 10m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// TestCycle runs two nights: the second finds nothing left of the first.
func TestCycle(t *testing.T) {
	h := newHouse(t)
	h.fill()
	type night map[string]string
	for i, want := range []night{
		{"checkpoint busy": "0", "retention events_removed": "400", "retention events_kept": "200", "retention requests_removed": "0",
			"rollup requests": "300", "verify full": "true", "verify events": "200", "backup as_of_seq": "600"},
		{"checkpoint pages": "0", "retention events_removed": "0", "retention events_kept": "200", "retention requests_removed": "300",
			"rollup requests": "0", "verify full": "false", "verify events": "200", "backup as_of_seq": "none"},
	} {
		got := night{}
		for _, s := range h.steps(nil) {
			r, err := s.Run(t.Context(), nil)
			if err != nil {
				t.Fatalf("night %d, %s: %v", i, s.Name, err)
			}
			if skipped := s.Name == "backup" && i == 1; skipped != (r.Skipped != "") {
				t.Errorf("night %d, %s: skipped %q", i, s.Name, r.Skipped)
			}
			for k := range want {
				if name, key, _ := strings.Cut(k, " "); name == s.Name {
					got[k] = metric(r, key)
				}
			}
		}
		if i == 0 {
			delete(got, "checkpoint pages")
			// What the steps after it wrote is not this night's business.
			if _, err := h.run("checkpoint", nil); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("night %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestKeptForEver: 0 removes nothing of the store.
func TestKeptForEver(t *testing.T) {
	h := newHouse(t)
	h.fill()
	h.set.JournalKeep = 0
	if r, err := h.run("retention", nil); err != nil || metric(r, "events_removed") != "0" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestInterrupt gives way at every chunk of every step, by the pace and by ctx.
// Each step then finds the rest, and the house is as if nobody had come.
func TestInterrupt(t *testing.T) {
	undisturbed := newHouse(t)
	undisturbed.fill()
	want := map[string]int{}
	for _, s := range undisturbed.steps(nil) {
		n := 0
		if _, err := s.Run(t.Context(), func(chunk int) error {
			if chunk != n {
				t.Errorf("%s: chunk %d is numbered %d", s.Name, n, chunk)
			}
			n++
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if n == 0 {
			t.Errorf("%s never asked its pace", s.Name)
		}
		want[s.Name] = n
	}

	h := newHouse(t)
	h.fill()
	comeBack := errors.New("somebody came")
	for _, s := range h.steps(nil) {
		for chunk := range want[s.Name] {
			for _, byContext := range []bool{false, true} {
				ctx, cancel := context.WithCancel(t.Context())
				asked := 0
				_, err := s.Run(ctx, func(int) error {
					if asked++; asked <= chunk {
						return nil
					}
					if byContext {
						cancel()
						return nil
					}
					return comeBack
				})
				cancel()
				if asked > chunk && !errors.Is(err, comeBack) && !errors.Is(err, context.Canceled) {
					t.Errorf("%s at chunk %d: %v", s.Name, chunk, err)
				}
				if asked <= chunk && err != nil {
					t.Errorf("%s has less to do than %d chunks, and: %v", s.Name, chunk, err)
				}
			}
		}
		if _, err := s.Run(t.Context(), nil); err != nil {
			t.Errorf("%s after all interruptions: %v", s.Name, err)
		}
	}
	for _, m := range []string{"m", "log"} {
		a, err1 := undisturbed.store.Snapshots(t.Context(), m)
		b, err2 := h.store.Snapshots(t.Context(), m)
		if diff := cmp.Diff(a, b); diff != "" || err1 != nil || err2 != nil {
			t.Errorf("%v, %v, the states of %s (-undisturbed +interrupted):\n%s", err1, err2, m, diff)
		}
	}
	a, err1 := undisturbed.store.Usage(t.Context(), time.Time{}, time.Time{})
	b, err2 := h.store.Usage(t.Context(), time.Time{}, time.Time{})
	if diff := cmp.Diff(a, b); diff != "" || err1 != nil || err2 != nil {
		t.Errorf("%v, %v, usage (-undisturbed +interrupted):\n%s", err1, err2, diff)
	}
	if got := h.list(h.home.Backups(), ""); len(got) != 1 {
		t.Errorf("backups: %v, want one", got)
	}
}

// TestFailures: fail, run out of time and panic in every step. What comes out
// is what went wrong, and nothing half done is left.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(context.Context) error
		want error
	}{
		{"fails", func(context.Context) error { return fmt.Errorf("store: %w", errBroken) }, errBroken},
		{"is damaged", func(context.Context) error { return fmt.Errorf("store: %w", store.ErrDamaged) }, upkeep.ErrDamaged},
		{"runs out of time", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded},
		{"panics", func(context.Context) error { panic(errBroken) }, errBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			h.touch("backups", "drey-20200101T000000000000Z.db")
			for _, s := range h.steps(broken{h.store, tt.do}) {
				r, err := func() (r upkeep.Result, err error) {
					defer func() {
						if v := recover(); v != nil {
							err = v.(error)
						}
					}()
					ctx, cancel := context.WithDeadline(t.Context(), time.Now())
					defer cancel()
					return s.Run(ctx, nil)
				}()
				if !errors.Is(err, tt.want) || r.Skipped != "" || r.Metrics != nil {
					t.Errorf("%s: %+v, %v", s.Name, r, err)
				}
			}
			if got := h.list(h.home.Backups(), ""); !slices.Equal(got, []string{"drey-20200101T000000000000Z.db"}) {
				t.Errorf("backups: %v; an old copy goes only after a new good one", got)
			}
		})
	}
}

// TestLeftToTheServer: on PostgreSQL some steps are somebody else's.
func TestLeftToTheServer(t *testing.T) {
	h := newHouse(t)
	for _, s := range h.steps(broken{h.store, func(context.Context) error { return store.ErrNotOurs }}) {
		if r, err := s.Run(t.Context(), nil); err != nil || r.Skipped == "" {
			t.Errorf("%s: %+v, %v", s.Name, r, err)
		}
	}
}

// TestAsides: what was set aside goes after 30 days by the time in its name;
// what has another name, or is no file, is never touched.
func TestAsides(t *testing.T) {
	h := newHouse(t)
	gone := []string{
		"telemetry.db.corrupt-20260228T120000.000000", "lifecycle_state.json.foreign-20260301T115959999999Z",
		"lifecycle_state.json.corrupt-20260228T120000000000Z",
	}
	kept := []string{
		"telemetry.db.corrupt-20260302T120000.000000", "telemetry.db.corrupt-mine", "telemetry.db.corrupt-20260228T120000.000000.txt",
		"drey.db.corrupt-20200101T000000.000000", "lifecycle_state.json.foreign-", "notes.corrupt-20200101T000000.000000",
	}
	for _, name := range slices.Concat(gone, kept) {
		h.touch(name)
	}
	if err := os.Mkdir(filepath.Join(h.home.Root(), "telemetry.db.corrupt-20200101T000000.000000"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := h.run("retention", nil)
	if err != nil || metric(r, "files_removed") != fmt.Sprint(len(gone)) {
		t.Errorf("%+v, %v", r, err)
	}
	want := append(kept, "telemetry.db.corrupt-20200101T000000.000000")
	left := slices.Concat(h.list(h.home.Root(), "corrupt"), h.list(h.home.Root(), "foreign"))
	slices.Sort(left)
	slices.Sort(want)
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("files (-want +left):\n%s", diff)
	}
}

// TestEventLog: the step rotates the event log and removes what it must.
func TestEventLog(t *testing.T) {
	h := newHouse(t)
	for _, day := range []string{"2026-03-01", "2026-03-02", "2026-03-31"} {
		h.touch("logs", "lifecycle-events-"+day+".jsonl")
	}
	r, err := h.run("retention", nil)
	if err != nil || metric(r, "logs_compressed") != "1" {
		t.Errorf("%+v, %v", r, err)
	}
	want := []string{"lifecycle-events-2026-03-01.jsonl.gz", "lifecycle-events-2026-03-02.jsonl", "lifecycle-events-2026-03-31.jsonl"}
	if diff := cmp.Diff(want, h.list(h.home.Logs(), "lifecycle")); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

// TestFilesFailTogether: one trouble with files does not keep the others from
// being done, and fails the step.
func TestFilesFailTogether(t *testing.T) {
	h := newHouse(t)
	h.touch("telemetry.db.corrupt-20200101T000000.000000")
	if err := os.RemoveAll(h.home.Wrappers()); err != nil {
		t.Fatal(err)
	}
	h.touch("wrappers") // no directory
	if _, err := h.run("retention", nil); err == nil {
		t.Error("the leases could not be read, and the step says nothing")
	}
	if left := h.list(h.home.Root(), "corrupt"); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}
