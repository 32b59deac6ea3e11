package postgres

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

var errLost = errors.New("the connection is lost")

// TestSettle: a COMMIT whose result is lost is looked up before anything is
// answered, and tried again if it was not one.
func TestSettle(t *testing.T) {
	t.Parallel()
	const taken = `UPDATE leases SET epoch = epoch + 1, fenced = txn, txn = txn + 7, holder = 'there'`
	for _, tt := range []struct {
		name      string
		commit    bool   // before the connection is lost
		meanwhile string // what others do
		version   int64  // of the machine afterwards
		err       error
		next      error // of the append after it
	}{
		{"it was committed", true, ``, 2, nil, nil},
		{"it was not, and is then", false, ``, 2, nil, nil},
		{"it was committed, and the lease taken", true, taken, 2, nil, store.ErrEpoch},
		{"it was not, and the lease is taken", false, taken, 1, store.ErrEpoch, store.ErrEpoch},
		{"it was committed, and the lease taken twice", true, taken + `;` + taken, 2, store.ErrUnsettled, store.ErrUnsettled},
		{"it was not, and the lease is taken twice", false, taken + `;` + taken, 1, store.ErrUnsettled, store.ErrUnsettled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			var lose atomic.Bool
			o.test.commit = func(w *writer, do func() error) error {
				if !lose.Swap(false) {
					return do()
				}
				if tt.commit {
					if err := do(); err != nil {
						return err
					}
				}
				closeConn(w.c)
				if tt.meanwhile != "" {
					script(t, o.URL, tt.meanwhile)
				}
				return errLost
			}
			s := open1(t, o)
			if err := add(s, "m", "1"); err != nil {
				t.Fatal(err)
			}
			lose.Store(true)
			_, err := s.Append(t.Context(), store.Append{Machine: "m", ID: "1", Expect: 1, Events: []drey.Event{moved("m", "1")}, Snapshot: []byte(`1`)})
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if got, err := s.Load(t.Context(), "m", "1"); err != nil || got.Version != tt.version {
				t.Errorf("version %d, %v; want %d", got.Version, err, tt.version)
			}
			_, err = s.Append(t.Context(), store.Append{Machine: "m", ID: "1", Expect: tt.version, Events: []drey.Event{moved("m", "1")}})
			if !errors.Is(err, tt.next) {
				t.Errorf("the next append: %v, want %v", err, tt.next)
			}
		})
	}
}

// TestUnsettled: what cannot be found out stops the store, and says so once.
func TestUnsettled(t *testing.T) {
	t.Parallel()
	o := options(t)
	fatal := make(chan error, 2)
	o.Fatal = func(err error) { fatal <- err }
	o.test.settleFor = time.Millisecond
	o.test.commit = func(w *writer, _ func() error) error {
		closeConn(w.c)
		nowhere := *w.at
		nowhere.config = nowhere.config.Copy()
		nowhere.config.Host = "/nonexistent"
		w.at = &nowhere
		return errLost
	}
	s := open1(t, o)
	for range 2 {
		if err := add(s, "m", "1"); !errors.Is(err, store.ErrUnsettled) || !errors.Is(err, errLost) {
			t.Errorf("%v, want ErrUnsettled", err)
		}
	}
	if err := <-fatal; !errors.Is(err, store.ErrUnsettled) || len(fatal) != 0 {
		t.Errorf("fatal: %v, and %d more", err, len(fatal))
	}
}

// TestBadRow: a row that the database refuses fails alone, and the others of
// its batch are committed, in order.
func TestBadRow(t *testing.T) {
	t.Parallel()
	o := options(t)
	var armed atomic.Bool
	entered, leave := make(chan struct{}), make(chan struct{})
	o.test.begin = func(*writer) {
		if armed.Swap(false) {
			entered <- struct{}{}
			<-leave
		}
	}
	s := open1(t, o)
	script(t, o.URL, `ALTER TABLE journal ADD CHECK (event <> 'bad')`)
	armed.Store(true)
	s.Submit(func(store.Commit, error) {}, store.Append{Machine: "m", ID: "first", Events: []drey.Event{moved("m", "first")}})
	<-entered
	var answers []string
	done := make(chan struct{})
	for _, name := range []string{"a", "bad", "zero\x00byte", "c"} {
		e := moved("m", "1")
		e.Name = name
		s.Submit(func(_ store.Commit, err error) {
			if err != nil {
				name += " refused"
			}
			if answers = append(answers, name); len(answers) == 4 {
				close(done)
			}
		}, store.Append{Machine: "m", ID: "1", Expect: store.AnyVersion, Events: []drey.Event{e}})
	}
	leave <- struct{}{}
	<-done
	if got, want := strings.Join(answers, ", "), "a, bad refused, zero\x00byte refused, c"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := s.Stats(); got.Retries != 1 {
		t.Errorf("%+v, want one batch taken apart", got)
	}
	if v, err := s.Verify(t.Context(), store.Check{}, nil); err != nil || v.Events != 3 {
		t.Errorf("%+v, %v; want 3 rows", v, err)
	}
}

// TestConflict: 40001, as a serializable server answers, is tried again.
func TestConflict(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := open1(t, o)
	script(t, o.URL, `
		CREATE SEQUENCE tries;
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') <= 3 THEN RAISE EXCEPTION 'restart transaction' USING ERRCODE = '40001'; END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION refuse()`)
	if err := add(s, "m", "1"); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Conflicts != 3 || got.Retries != 0 || got.Transactions != 1 {
		t.Errorf("%+v, want three conflicts and one transaction", got)
	}
}
