package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/store/storetest"
)

// locked is the lock of a home that a test has to itself.
type locked bool

func (l locked) Held() bool { return bool(l) }

func options(dir string) Options {
	return Options{Path: filepath.Join(dir, "drey.db"), Lock: locked(true)}
}

func opener(ctx context.Context, dir string) (store.Store, error) { return Open(ctx, options(dir)) }

func TestMain(m *testing.M) {
	storetest.CrashChild(opener)
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) { storetest.Run(t, opener) }

func TestCrash(t *testing.T) {
	storetest.Crash(t, opener, func(t *testing.T, dir string) {
		for _, name := range []string{"drey.db", "telemetry.db"} {
			path := filepath.Join(dir, name)
			if _, err := os.Stat(path); err != nil {
				continue // killed before it was made
			}
			if got := ask(t, path, "PRAGMA integrity_check"); got != "ok" {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// ask opens the file as anybody could and returns the first value of a query.
func ask(t *testing.T, path, query string) any {
	t.Helper()
	c, err := openConn(path)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	defer c.close()
	v, err := c.value(query)
	if err != nil {
		t.Fatalf("%s: %s: %v", path, query, err)
	}
	return v
}
