package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// script runs SQL on the store's file as another program could.
func script(t *testing.T, s *Store, text string) {
	t.Helper()
	c, err := openConn(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.exec(text), c.close()); err != nil {
		t.Fatal(err)
	}
}

// hold makes the committer wait before its next transaction, so that what is
// submitted meanwhile is there when that gathers.
type hold struct {
	armed          atomic.Bool
	entered, leave chan struct{}
}

func newHold() *hold { return &hold{entered: make(chan struct{}), leave: make(chan struct{})} }

func (h *hold) begin(*writer) {
	if h.armed.Swap(false) {
		h.entered <- struct{}{}
		<-h.leave
	}
}

// TestBatch: what waits shares one commit; a row that the database refuses
// fails alone, and answers keep their order.
func TestBatch(t *testing.T) {
	o, h := options(t.TempDir()), newHold()
	o.test.begin = h.begin
	s := open1(t, o)
	script(t, s, `CREATE TRIGGER bad BEFORE INSERT ON journal WHEN NEW.event = 'bad' BEGIN SELECT RAISE(ABORT, 'a bad row'); END`)
	submit := func(names ...string) (answers []string) {
		first := make(chan error, 1)
		h.armed.Store(true)
		s.Submit(func(_ store.Commit, err error) { first <- err }, store.Append{Machine: "m", ID: "first", Expect: store.AnyVersion, Events: []drey.Event{moved("m", "first")}})
		<-h.entered
		done := make(chan struct{})
		for _, name := range names {
			e := moved("m", name)
			e.Name = name
			s.Submit(func(c store.Commit, err error) {
				text := fmt.Sprintf("%s %d-%d of %d", name, c.First, c.Last, c.Rows)
				if err != nil {
					text = name + " refused"
				}
				if answers = append(answers, text); len(answers) == len(names) {
					close(done)
				}
			}, store.Append{Machine: "m", ID: name, Expect: store.AnyVersion, Events: []drey.Event{e, e}})
		}
		h.leave <- struct{}{}
		<-done
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		return answers
	}
	before := s.Stats()
	if got, want := fmt.Sprint(submit("a", "b", "c")), "[a 2-3 of 7 b 4-5 of 7 c 6-7 of 7]"; got != want {
		t.Errorf("a batch: %s, want %s", got, want)
	}
	if got := s.Stats(); got.Transactions != before.Transactions+1 || got.Rows != before.Rows+7 || got.Retries != 0 {
		t.Errorf("sums %+v after %+v: want one more transaction", got, before)
	}
	if got, want := fmt.Sprint(submit("a", "bad", "c")), "[a 9-10 of 2 bad refused c 11-12 of 2]"; got != want {
		t.Errorf("a batch with a bad row: %s, want %s", got, want)
	}
	if got := s.Stats(); got.Retries != 1 {
		t.Errorf("sums %+v, want one retry", got)
	}
}

// TestFullDisk: the append says so, and the next one works when there is space.
func TestFullDisk(t *testing.T) {
	o := options(t.TempDir())
	var pages atomic.Int64
	o.test.begin = func(w *writer) {
		if n := pages.Swap(0); n != 0 {
			if _, err := w.c.int(fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
				t.Error(err)
			}
		}
	}
	s := open1(t, o)
	long := moved("m", "1")
	long.Fields = []drey.Field{drey.F("text", strings.Repeat("x", 100_000))}
	a := store.Append{Machine: "m", ID: "1", Expect: 0, Events: []drey.Event{long}}
	pages.Store(1)
	_, err := s.Append(t.Context(), a)
	if e, ok := errors.AsType[*drey.Error](err); !ok || e.Code != codeFull || e.Class != drey.Resource || !strings.Contains(drey.HintOf(err), "Free space") {
		t.Fatalf("on a full disk: %v, hint %q", err, drey.HintOf(err))
	}
	if head, err := s.Head(t.Context()); err != nil || head != 0 {
		t.Errorf("head %d, %v", head, err)
	}
	pages.Store(1 << 20)
	if c, err := s.Append(t.Context(), a); err != nil || c.First != 1 {
		t.Errorf("with space again: %+v, %v", c, err)
	}
}

var errLost = errors.New("the result is lost")

// TestSettle: a COMMIT whose result is lost is looked up before anything is
// answered.
func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		name      string
		commit    func(*writer) error
		committed bool
	}{
		{"it was committed", func(w *writer) error {
			_, _, err := w.commit.run()
			return errors.Join(errLost, err)
		}, true},
		{"it was not", func(*writer) error { return errLost }, false},
		{"it was rolled back", func(w *writer) error {
			_, _, err := w.rollback.run()
			return errors.Join(errLost, err)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t.TempDir())
			var lose atomic.Bool
			o.test.commit = func(w *writer) error {
				if lose.Swap(false) {
					return tt.commit(w)
				}
				_, _, err := w.commit.run()
				return err
			}
			s := open1(t, o)
			if err := add(s, "m", "1"); err != nil {
				t.Fatal(err)
			}
			lose.Store(true)
			a := store.Append{Machine: "m", ID: "1", Expect: 1, Events: []drey.Event{moved("m", "1")}, Snapshot: []byte(`1`)}
			c, err := s.Append(t.Context(), a)
			if tt.committed != (err == nil) || err != nil && !errors.Is(err, errLost) {
				t.Fatalf("%+v, %v", c, err)
			}
			want := int64(1)
			if tt.committed {
				want = 2
			}
			if got, err := s.Load(t.Context(), "m", "1"); err != nil || got.Version != want {
				t.Errorf("version %d, %v; want %d", got.Version, err, want)
			}
			if !tt.committed {
				a.Expect = 1
				if c, err := s.Append(t.Context(), a); err != nil || c.First != 2 {
					t.Errorf("again: %+v, %v", c, err)
				}
			}
			a.Expect, a.Snapshot = 2, nil
			if c, err := s.Append(t.Context(), a); err != nil || c.First != 3 {
				t.Errorf("the next: %+v, %v", c, err)
			}
		})
	}
}

// TestUnsettled: what cannot be found out stops the store.
func TestUnsettled(t *testing.T) {
	o := options(t.TempDir())
	fatal := make(chan error, 2)
	o.Fatal = func(err error) { fatal <- err }
	o.test.settleFor = time.Millisecond
	o.test.commit = func(w *writer) error {
		w.path = filepath.Join(filepath.Dir(w.path), "none", "drey.db") // nothing to look at any more
		return errLost
	}
	s := open1(t, o)
	for range 2 {
		if err := add(s, "m", "1"); !errors.Is(err, store.ErrUnsettled) || !errors.Is(err, errLost) {
			t.Errorf("%v, want ErrUnsettled", err)
		}
	}
	if err := <-fatal; !errors.Is(err, store.ErrUnsettled) {
		t.Errorf("fatal: %v", err)
	}
	if len(fatal) != 0 {
		t.Error("Fatal was called twice")
	}
}

// TestLockLost: without the home's lock nothing more is written.
func TestLockLost(t *testing.T) {
	o := options(t.TempDir())
	lock := &flag{}
	lock.held.Store(true)
	o.Lock = lock
	s := open1(t, o)
	if err := add(s, "m", "1"); err != nil {
		t.Fatal(err)
	}
	lock.held.Store(false)
	err := add(s, "m", "1")
	if e, ok := errors.AsType[*drey.Error](err); !ok || e.Code != codeLock {
		t.Errorf("%v", err)
	}
	if _, err := s.Append(t.Context(), store.Append{Machine: "m", ID: "1", Snapshot: []byte("{")}); err == nil {
		t.Error("what cannot be encoded succeeds where nothing can be written")
	}
	s.PutRequest(store.RequestRow{ID: "req_1"})
	if err := s.Flush(t.Context()); err == nil || s.Dropped() != 1 {
		t.Errorf("telemetry: %v, %d dropped", err, s.Dropped())
	}
	if head, err := s.Head(t.Context()); err != nil || head != 1 {
		t.Errorf("head %d, %v", head, err)
	}
}

type flag struct{ held atomic.Bool }

func (f *flag) Held() bool { return f.held.Load() }

// TestForgetting: the writer's memory of machines is bounded, and what it has
// forgotten it reads again.
func TestForgetting(t *testing.T) {
	o := options(t.TempDir())
	o.test.begin = func(w *writer) { w.forget() }
	s := open1(t, o)
	for n := range 5 {
		_, err := s.Append(t.Context(), store.Append{Machine: "m", ID: "1", Expect: int64(n), Events: []drey.Event{moved("m", "1"), moved("x", "y")}[:1+n%2]})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTelemetryIsApart: while the journal's commit hangs, request rows are
// written and read.
func TestTelemetryIsApart(t *testing.T) {
	o := options(t.TempDir())
	entered, leave := make(chan struct{}), make(chan struct{})
	o.test.commit = func(w *writer) error {
		entered <- struct{}{}
		<-leave
		_, _, err := w.commit.run()
		return err
	}
	s := open1(t, o)
	result := make(chan error, 1)
	s.Submit(func(_ store.Commit, err error) { result <- err }, store.Append{Machine: "m", ID: "1", Events: []drey.Event{moved("m", "1")}})
	<-entered
	s.PutRequest(store.RequestRow{ID: "req_1"})
	s.AddCounters(map[string]float64{"a": 1})
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Request(t.Context(), "req_1"); err != nil {
		t.Error(err)
	}
	if _, err := s.Head(t.Context()); err != nil { // and readers of the journal do not wait either
		t.Error(err)
	}
	close(leave)
	if err := <-result; err != nil {
		t.Error(err)
	}
}
