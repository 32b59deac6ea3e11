package sqlite

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/backlog"
)

// TestTelemetryTimer: a row is on disk half a second later without anybody
// asking, and an idle store waits for nothing.
func TestTelemetryTimer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), options(dir))
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			id := drey.RequestID(fmt.Sprintf("req_%d", n))
			s.PutRequest(store.RequestRow{ID: id})
			synctest.Wait()
			if _, err := s.Request(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("at once: %v, want it to wait for others", err)
			}
			time.Sleep(backlog.FlushEvery)
			synctest.Wait()
			if _, err := s.Request(t.Context(), id); err != nil {
				t.Errorf("after %v: %v", backlog.FlushEvery, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTelemetryQueue: while the file cannot be written the queue keeps what it
// can, drops and counts the rest, and writes what it kept when the file can be
// written again.
func TestTelemetryQueue(t *testing.T) {
	s := open1(t, options(t.TempDir()))
	other, err := openConn(s.telemetry.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	// The file is held by another writer; the writer of telemetry waits for it
	// and the callers do not.
	for n := range 2*backlog.MaxRows + backlog.FlushRows {
		s.PutRequest(store.RequestRow{ID: drey.RequestID(fmt.Sprintf("req_%d", n))})
	}
	dropped := s.Dropped()
	if dropped == 0 {
		t.Error("nothing was dropped of more than the queue holds")
	}
	if err := other.exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, s.telemetry.path, `SELECT count(*) FROM requests`); got != int64(2*backlog.MaxRows+backlog.FlushRows)-int64(dropped) {
		t.Errorf("%v rows, and %d were dropped", got, dropped)
	}
}
