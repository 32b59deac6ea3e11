package postgres

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
	"github.com/dreyhq/drey/internal/store/storetest"
)

// opener opens the store in the schema that belongs to a directory. The
// directory is the holder, as in earnest: a second process on the same home is
// the successor of the first.
func opener(ctx context.Context, dir string) (store.Store, error) {
	url, err := pgtest.For(dir)
	if err != nil {
		return nil, err
	}
	return Open(ctx, Options{URL: url, Holder: dir})
}

func TestMain(m *testing.M) {
	storetest.CrashChild(opener)
	leaseChild()
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	pgtest.Need(t)
	storetest.Run(t, opener)
}

func TestCrash(t *testing.T) {
	t.Parallel()
	pgtest.Need(t)
	storetest.Crash(t, opener, nil)
}

// options are those of a store in an empty schema.
func options(t testing.TB) Options {
	return Options{URL: pgtest.URL(t), Holder: "here"}
}

func open1(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrUnsettled) {
			t.Errorf("close: %v", err)
		}
	})
	return s
}
