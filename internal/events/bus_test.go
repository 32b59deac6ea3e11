package events

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// journal commits what it is given, in order, when it is told to.
type journal struct {
	store.Journal
	mu    sync.Mutex
	seq   drey.Seq
	held  []func()
	hold  bool
	fails error
}

func (j *journal) Submit(done func(store.Commit, error), appends ...store.Append) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	c, err := store.Commit{First: j.seq, Last: j.seq, Rows: 1}, j.fails
	if j.hold {
		j.held = append(j.held, func() { done(c, err) })
		return
	}
	done(c, err)
}

func (j *journal) release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.held {
		f()
	}
	j.held = nil
}

type lines struct{ bytes.Buffer }

func (l *lines) Append(row []byte) bool { l.Buffer.Write(append(row, 0x0a)); return true }

// start runs a bus; the returned function stops it and waits.
func start(t *testing.T, cfg Config) (*Bus, func()) {
	t.Helper()
	b := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	return b, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

var at = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func event(name string, fields ...drey.Field) drey.Event {
	return drey.Event{At: at, Name: name, Machine: "provider", ID: "lab", Fields: fields}
}

func TestEveryReaderSeesTheSameEvent(t *testing.T) {
	var audit lines
	var people bytes.Buffer
	b, stop := start(t, Config{
		Journal: &journal{}, Audit: &audit,
		Log:    slog.New(slog.NewTextHandler(&people, nil)),
		Redact: func(p []byte) []byte { return bytes.ReplaceAll(p, []byte("HUSH"), []byte("[redacted]")) },
	})
	sub := b.Subscribe()
	b.Emit(event("provider-parked", drey.F("provider", "lab"), drey.F("reason", "HUSH")))
	stop()

	got, err := sub.Next(t.Context())
	if err != nil || got.Seq != 1 || got.Name != "provider-parked" {
		t.Errorf("live reader got %+v, %v", got, err)
	}
	want := `{"seq":1,"ts":"2026-11-22T10:00:00.000000+00:00","event":"provider-parked","level":"info","machine":"provider","id":"lab","provider":"lab","reason":"[redacted]"}` + "\n"
	if audit.String() != want {
		t.Errorf("audit line\n got %s\nwant %s", audit.String(), want)
	}
	if s := people.String(); !strings.Contains(s, "msg=provider-parked provider=lab reason=") || strings.Count(s, "provider=lab") != 1 {
		t.Errorf("log line %q", s)
	}
}

func TestAnEventIsNotShownBeforeItIsJournaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{hold: true}
		b, stop := start(t, Config{Journal: j})
		sub := b.Subscribe()
		b.Emit(event("config-loaded"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if ev, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shown too early: %+v, %v", ev, err)
		}
		j.release()
		if ev, err := sub.Next(t.Context()); err != nil || ev.Seq != 1 {
			t.Errorf("after the commit: %+v, %v", ev, err)
		}
		stop()
	})
}

func TestAnEventThatCannotBeJournaledIsShownAllTheSame(t *testing.T) {
	var people bytes.Buffer
	b, stop := start(t, Config{Journal: &journal{fails: errors.New("disk full")}, Log: slog.New(slog.NewTextHandler(&people, nil))})
	sub := b.Subscribe()
	b.Emit(event("provider-parked"))
	stop()
	if ev, err := sub.Next(t.Context()); err != nil || ev.Seq != 0 || ev.Name != "provider-parked" {
		t.Errorf("live reader got %+v, %v", ev, err)
	}
	if s := people.String(); !strings.Contains(s, "event-not-journaled") || !strings.Contains(s, "disk full") {
		t.Errorf("log says %q", s)
	}
}

func TestServeDeliversWhatIsStillInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{hold: true}
		var audit lines
		b, stop := start(t, Config{Journal: j, Audit: &audit})
		b.Emit(event("drey-shutdown"))
		time.AfterFunc(time.Second, j.release)
		stop()
		if !strings.Contains(audit.String(), "drey-shutdown") {
			t.Errorf("the last event is missing: %q", audit.String())
		}
		b.Emit(event("after the end")) // goes nowhere, and harms nobody
		if _, err := b.Subscribe().Next(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("a late subscriber got %v", err)
		}
	})
}

func TestAReaderThatFallsBehindIsEndedAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, Config{Journal: &journal{}})
		slow, quick := b.Subscribe(), b.Subscribe()
		for range buffer {
			b.Publish(event("try-provider"))
			if _, err := quick.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b.Publish(event("one too many"))
		if _, err := quick.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		var n int
		var err error
		for err == nil {
			if _, err = slow.Next(t.Context()); err == nil {
				n++
			}
		}
		if n != buffer || !errors.Is(err, ErrOverflow) {
			t.Errorf("slow reader got %d events, then %v", n, err)
		}
		slow.Close()
		quick.Close()
		quick.Close()
		stop()
	})
}
