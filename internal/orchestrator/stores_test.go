package orchestrator

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// locked is the lock of a home that a test has to itself.
type locked bool

func (l locked) Held() bool { return bool(l) }

// opener opens the store of a directory. A second process that opens it is the
// successor of the first.
type opener func(ctx context.Context, dir string) (store.Store, error)

func openSQLite(ctx context.Context, dir string) (store.Store, error) {
	return sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "drey.db"), Lock: locked(true)})
}

// openPostgres opens the store in the schema that belongs to the directory.
func openPostgres(ctx context.Context, dir string) (store.Store, error) {
	url, err := pgtest.For(dir)
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Options{URL: url, Holder: dir})
}

// backend is where operations can be kept.
type backend struct {
	name string
	open opener           // nil: nowhere
	need func(testing.TB) // skips what cannot be tested here; nil = all can
}

var (
	onSQLite   = backend{"sqlite", openSQLite, nil}
	onPostgres = backend{"postgres", openPostgres, pgtest.Need}
	onNothing  = backend{"no store", nil, nil}
)

// everywhere runs a test on SQLite, on PostgreSQL and without a store. The
// subtests run beside each other.
func everywhere(t *testing.T, f func(t *testing.T, at *place)) {
	for _, b := range []backend{onSQLite, onPostgres, onNothing} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			f(t, newPlace(t, b))
		})
	}
}

// place is one home of operations, over all its restarts.
type place struct {
	t    testing.TB
	open opener
	dir  string
	st   store.Store // the last that was opened
	h    *house      // and who serves on it
}

func newPlace(t testing.TB, b backend) *place {
	t.Helper()
	if b.need != nil {
		b.need(t)
	}
	p := &place{t: t, open: b.open, dir: t.TempDir()}
	t.Cleanup(p.close)
	return p
}

// keeps reports whether anything outlives the process here.
func (p *place) keeps() bool { return p.open != nil }

// start starts Operations; again, as the next process does. Without a store
// that one begins anew.
func (p *place) start(cfg Config) *house {
	p.t.Helper()
	p.close()
	if p.open != nil {
		var err error
		if p.st, err = p.open(context.Background(), p.dir); err != nil {
			p.t.Fatal(err)
		}
		cfg.Journal = p.st
	}
	p.h = open(p.t, cfg)
	return p.h
}

// close stops what start has started.
func (p *place) close() {
	if p.h != nil {
		p.h.stop()
		p.h = nil
	}
	if p.st != nil {
		if err := p.st.Close(); err != nil {
			p.t.Errorf("close: %v", err)
		}
		p.st = nil
	}
}

// lastSeq is the last event that readers can know of.
func (h *house) lastSeq() drey.Seq {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.head
}

// settled returns when the owner has seen to all that it was told before.
func (h *house) settled(t testing.TB) {
	t.Helper()
	if err := h.Apply(t.Context(), h.policy); err != nil {
		t.Fatal(err)
	}
}

// rowsAfter returns what the journal has of operations behind a seq.
func rowsAfter(t testing.TB, j Journal, after drey.Seq) []drey.Event {
	t.Helper()
	var out []drey.Event
	for q := (store.Query{Machine: operation.MachineName, After: after, Limit: store.MaxLimit}); ; {
		page, err := j.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Events...)
		if page.Next == 0 {
			return slices.Clip(out)
		}
		q.After = page.Next
	}
}
