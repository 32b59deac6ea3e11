package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// childEnv marks the process that TestOrphan kills.
const childEnv = "DREY_PGTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		s, err := Start()
		if err != nil {
			fmt.Println("none:", err)
			os.Exit(1)
		}
		fmt.Println(s.dir)
		select {}
	}
	os.Exit(Main(m))
}

// gone waits until a directory is no more.
func gone(t *testing.T, dir string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s is still there", dir)
		}
	}
}

// TestOrphan: a server does not outlive the process that has started it.
func TestOrphan(t *testing.T) {
	Need(t)
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir := strings.TrimSpace(line)
	if strings.HasPrefix(dir, "none:") {
		t.Skip(dir)
	}
	if err != nil || !strings.HasPrefix(dir, os.TempDir()) {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	gone(t, dir)
}

// TestCrash: what was committed is there after a crash, and nothing is left of a
// server that was closed.
func TestCrash(t *testing.T) {
	Need(t)
	t.Parallel()
	s, err := Start()
	if err != nil {
		t.Skip(err)
	}
	ask := func(query string) (n int) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), s.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if err := c.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if ask(`SELECT CASE WHEN current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on' THEN 1 ELSE 0 END`) != 1 {
		t.Error("the server does not sync")
	}
	c, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), `CREATE TABLE kept AS SELECT 7 AS n`); err != nil {
		t.Fatal(err)
	}
	s.Crash()
	if err := c.Ping(t.Context()); err == nil {
		t.Error("a connection survived the crash")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if n := ask(`SELECT n FROM kept`); n != 7 {
		t.Errorf("%d, want 7", n)
	}
	s.Close()
	gone(t, s.dir)
}

func TestURLs(t *testing.T) {
	one, two := URL(t), URL(t)
	if one == two || !strings.Contains(one, "search_path=test_") {
		t.Errorf("%q and %q, want two schemas", one, two)
	}
	if again, err := InSchema(one, "other"); err != nil || !strings.Contains(again, "search_path=other") || strings.Contains(again, "test_") {
		t.Errorf("%q, %v", again, err)
	}
	if _, err := InSchema("postgres://u:secret%zz@h/d", "s"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
