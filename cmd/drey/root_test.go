package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/statedir"
)

// TestHelpTree holds every help text in one file, so that a change to what
// users read is read by a reviewer.
func TestHelpTree(t *testing.T) {
	var got strings.Builder
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		var out bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := run(t.Context(), args, strings.NewReader(""), &out, &out); code != exitOK {
			t.Errorf("drey %s exited with %d", strings.Join(args, " "), code)
		}
		fmt.Fprintf(&got, "======== %s\n%s\n", cmd.CommandPath(), out.String())
		if cmd.Example == "" {
			t.Errorf("%s: help shows no example", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newCLI(nil, nil, nil).root())

	golden := filepath.Join("testdata", "help.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("help has changed; if it should have, run go test ./cmd/drey -update (-want +got):\n%s", diff)
	}
}

// TestFlagsAreCompleted keeps the shells from offering file names as values of
// flags that take none.
func TestFlagsAreCompleted(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, name := range []string{"after", "filter", "request", "tail", "since", "home", "config"} {
			if cmd.Flag(name) == nil {
				continue
			}
			if _, ok := cmd.GetFlagCompletionFunc(name); !ok {
				t.Errorf("%s: nothing completes --%s", cmd.CommandPath(), name)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newCLI(nil, nil, nil).root())
}

func TestExitCode(t *testing.T) {
	coded := func(code string) error { return &drey.Error{Code: code, Err: errors.New("x")} }
	for name, row := range map[string]struct {
		err  error
		want int
	}{
		"an unnamed failure":             {errors.New("x"), exitFailed},
		"how it was called":              {coded(codeUsage), exitUsage},
		"a bad configuration":            {coded("config"), exitUsage},
		"a rejected reload":              {coded(api.CodeConfigRejected), exitUsage},
		"an argument that was refused":   {coded(api.CodeInvalidArgument), exitUsage},
		"no place for a home":            {coded("no_home"), exitUsage},
		"too long a path":                {coded("socket_path_too_long"), exitUsage},
		"an id that is not there":        {coded(api.CodeNotFound), exitFailed},
		"nobody answers":                 {coded(client.CodeNoDaemon), exitNoDaemon},
		"it cannot start":                {coded(api.CodeNotStarted), exitNoDaemon},
		"the home is taken":              {coded("locked"), exitLocked},
		"a code under an error with Op":  {&drey.Error{Op: "boot", Err: coded("locked")}, exitLocked},
		"a code under a wrapping":        {fmt.Errorf("boot: %w", coded("config")), exitUsage},
		"time over":                      {fmt.Errorf("wait: %w", context.DeadlineExceeded), exitTimedOut},
		"a status with no more to say":   {exitStatus(5), 5},
		"Ctrl-C where it is no answer":   {context.Canceled, exitFailed},
		"a code that this knows nothing": {coded("of_a_newer_daemon"), exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exitCode(row.err); got != row.want {
				t.Errorf("exitCode(%v) = %d, want %d", row.err, got, row.want)
			}
		})
	}
}

// TestADaemonThatHangs: it holds the home and its socket, and answers nobody, as
// a stopped process does. Who looks is told, and no one waits for ever.
func TestADaemonThatHangs(t *testing.T) {
	root, err := os.MkdirTemp("", "drey") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	home := statedir.At(root)
	lock, err := statedir.TryLock(home.Lock())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	socket, err := home.Socket()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket) // its backlog takes whoever comes
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, command := range []string{"status", "lifecycle status", "lifecycle wake"} {
		var out, errs bytes.Buffer
		c := newCLI(nil, &out, &errs)
		c.answerIn = 10 * time.Millisecond
		code := c.run(t.Context(), append(strings.Fields(command), "--home", root))
		if want := fmt.Sprintf("the daemon does not answer (pid %d, home %s)", os.Getpid(), root); code != exitNoDaemon || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit %d, %q, %q", command, code, out.String(), errs.String())
		}
	}
}

// TestStatusOfAHeldHome: somebody holds the home and does not answer, as a
// daemon does for a moment when it starts and when it stops.
func TestStatusOfAHeldHome(t *testing.T) {
	t.Setenv(noStartEnv, "1") // what would be started is this test
	home := t.TempDir()
	lock, err := statedir.TryLock(statedir.At(home).Lock())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	impatient := func(args ...string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		c := newCLI(nil, &out, &errs)
		c.patience = 0
		code = c.run(t.Context(), append(args, "--home", home))
		return code, out.String(), errs.String()
	}
	code, out, errs := impatient("status")
	if want := fmt.Sprintf("starting or stopping (pid %d, home %s)\n", os.Getpid(), home); code != exitOK || out != want || errs != "" {
		t.Errorf("status: exit %d, %q, %q; want %q", code, out, errs, want)
	}
	code, out, _ = impatient("status", "--json")
	if want := fmt.Sprintf("{\n  \"running\": false,\n  \"home\": %q,\n  \"holder_pid\": %d\n}\n", home, os.Getpid()); code != exitOK || out != want {
		t.Errorf("status --json: exit %d, %s; want %s", code, out, want)
	}
	code, _, errs = impatient("events")
	if code != exitNoDaemon || !strings.Contains(errs, "it is starting or stopping") {
		t.Errorf("events: exit %d, %q", code, errs)
	}
}

// TestDialWaitsForAStart: the daemon opens its socket while dial looks for it.
func TestDialWaitsForAStart(t *testing.T) {
	home, err := os.MkdirTemp("", "drey") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	lock, err := statedir.TryLock(statedir.At(home).Lock())
	if err != nil {
		t.Fatal(err)
	}
	c := newCLI(nil, nil, nil)
	c.home = home
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("dial with a context that has ended: %v", err)
	}
	lock.Release()
	if _, err := c.dial(t.Context()); codeOf(err) != client.CodeNoDaemon {
		t.Errorf("dial of a home that nobody holds: %v", err)
	}
}
