// Package pgtest gives tests a real PostgreSQL server. It starts one itself, in
// a directory of its own, on a Unix socket, with fsync on as in earnest, and
// ends it with the tests, also when their process is killed.
//
// A package's TestMain makes it available and its tests ask for URLs:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		url := pgtest.URL(t) // an empty schema of this test alone
//	}
//
// The environment decides what happens where none can be started:
// DREY_TEST_POSTGRES=postgres://… is a server that is there already,
// DREY_TEST_POSTGRES=required fails tests that would be skipped otherwise.
package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Env is the environment's variable: a URL, "required", or nothing. The server
// that Main starts is written into it, so that processes which a test starts
// find the same one.
const Env = "DREY_TEST_POSTGRES"

const required = "required"

// shared is the server of this process's tests.
var shared struct {
	sync.Once
	url    string
	err    error // why there is none
	server *Server

	mu      sync.Mutex
	schemas map[string]bool // to be dropped at the end
}

// Main runs the tests and ends the server, if one of them has started it. It
// returns the code for os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Do(func() { shared.err = errors.New("the tests are over") })
	if shared.server != nil {
		shared.server.Close()
		return code
	}
	if err := dropAll(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
	}
	return code
}

// base returns the URL of the server, which it starts with the first call.
func base() (string, error) {
	shared.Do(func() {
		want := os.Getenv(Env)
		if strings.Contains(want, "://") {
			shared.url = want
			return
		}
		if shared.server, shared.err = Start(); shared.err != nil {
			return
		}
		shared.url = shared.server.URL()
		shared.err = os.Setenv(Env, shared.url)
	})
	return shared.url, shared.err
}

// Need skips the test where no server can be had, or fails it if one is
// required.
func Need(t testing.TB) {
	t.Helper()
	must := os.Getenv(Env) == required
	if _, err := base(); err != nil {
		if must {
			t.Fatalf("a PostgreSQL server is required: %v", err)
		}
		t.Skipf("no PostgreSQL server: %v (install PostgreSQL, or set %s to the URL of a server)", err, Env)
	}
}

// URL returns the URL of an empty schema of this test alone.
func URL(t testing.TB) string {
	t.Helper()
	Need(t)
	u, err := For(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// For returns the URL of the schema that belongs to a directory: the same for
// the same directory, in every process that has the server in its environment.
// It is for tests that think of a store as a directory.
func For(dir string) (string, error) {
	server, err := base()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(dir))
	schema := "test_" + hex.EncodeToString(sum[:8])
	shared.mu.Lock()
	if shared.schemas == nil {
		shared.schemas = map[string]bool{}
	}
	shared.schemas[schema] = true
	shared.mu.Unlock()
	return InSchema(server, schema)
}

// InSchema returns a server's URL with its search_path set.
func InSchema(server, schema string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("the URL in %s cannot be parsed", Env)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// dropAll drops the schemas of this process on a server that it has not
// started.
func dropAll() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if len(shared.schemas) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, shared.url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for schema := range shared.schemas {
		if _, err := c.Exec(ctx, `DROP SCHEMA IF EXISTS `+schema+` CASCADE`); err != nil {
			return err
		}
	}
	return nil
}
