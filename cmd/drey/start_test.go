package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/statedir"
)

// ensureUnderTest is a command that needs a daemon:
//
//	ensure              have one and print its pid
//	ensure kill SIGNAL  send it a signal, and wait for its end
//	ensure stop         stop its waker, and wait for that one's end
//	ensure quit         stop a waker in the background whose daemon cannot start
func ensureUnderTest() {
	c := newCLI(os.Stdin, os.Stdout, os.Stderr)
	exe, err := os.Executable()
	if err == nil {
		c.exe = filepath.Join(filepath.Dir(exe), "drey")
		err = ensure(c, os.Args[1:])
	}
	if err != nil {
		c.printError(err)
		os.Exit(exitCode(err))
	}
}

func ensure(c *cli, args []string) error {
	if len(args) == 1 && args[0] == "quit" {
		home, err := c.homePath()
		if err != nil {
			return err
		}
		return quit(home)
	}
	cl, err := c.ensureDaemon(context.Background())
	if err != nil {
		return err
	}
	defer cl.Close()
	s, err := cl.Status(context.Background())
	switch {
	case err != nil:
		return err
	case len(args) == 0:
		fmt.Printf("pid %d\n", s.PID)
		return nil
	case args[0] == "stop":
		waker, err := parentOf(s.PID)
		if err != nil {
			return err
		}
		return end(waker, syscall.SIGTERM)
	}
	return end(s.PID, map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM}[args[1]])
}

// quit stops the waker whose doors were bound last, as the log tells.
func quit(root string) error {
	b, err := os.ReadFile(statedir.At(root).DaemonLog())
	if err != nil {
		return err
	}
	var bound struct {
		Msg string
		PID int
	}
	last := 0
	for line := range strings.Lines(string(b)) {
		if json.Unmarshal([]byte(line), &bound) == nil && bound.Msg == "doors-bound" {
			last = bound.PID
		}
	}
	if last <= 1 {
		return errors.New("no waker has written to the log")
	}
	return end(last, syscall.SIGTERM)
}

// parentOf returns the number of a process's parent.
func parentOf(pid int) (int, error) {
	out, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// end sends a signal to a process that is not our child, and waits until it is
// gone.
func end(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if syscall.Kill(pid, 0) != nil {
			return nil
		}
	}
	return fmt.Errorf("process %d is still there", pid)
}

// stopUp stops what a script that has failed has left behind in the background.
// A waker that has ended has taken its socket with it.
func stopUp(root string) {
	if _, err := os.Lstat(filepath.Join(root, "drey.sock")); err == nil {
		_ = quit(root) // the script's own failure is the one to tell
	}
}

func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := lastLines(path, 0); got != "" {
		t.Errorf("of no file: %q", got)
	}
	var text strings.Builder
	for i := range 30 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	text.WriteString("a bell\a\n")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(lastLines(path, 0), "\n")
	if len(got) != 10 || got[0] != "  line 21" || got[9] != `  a bell\a` {
		t.Errorf("%q", got)
	}
	if got := lastLines(path, int64(text.Len()-len("line 29\na bell\a\n"))); got != "  line 29\n  a bell\\a" {
		t.Errorf("from an offset: %q", got)
	}
	if got := lastLines(path, int64(text.Len())); got != "" {
		t.Errorf("nothing new: %q", got)
	}
}

func TestListenAddr(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := write("other.yaml", "version: 1\nlisten: {addr: \"127.0.0.1:4\"}\nproviders: {a: {wire: openai, url: \"demo:echo\"}}\nprofiles: {default: {chain: [a]}}\n")
	bad := write("bad.yaml", "listen: 3\n")
	for _, row := range []struct {
		name, flag, env, want, code string
	}{
		{"no file", "", "", "127.0.0.1:3739", ""},
		{"a flag", other, bad, "127.0.0.1:4", ""},
		{"a variable", "", other, "127.0.0.1:4", ""},
		{"a file that was named and is not there", filepath.Join(home, "none.yaml"), "", "", "config"},
		{"a bad file", bad, "", "", "config"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newCLI(nil, nil, nil)
			c.config, c.home = row.flag, home
			c.base.Env = func(name string) (string, bool) {
				if name == "DREY_CONFIG" {
					return row.env, row.env != ""
				}
				return "", false
			}
			h, err := c.openHome()
			if err != nil {
				t.Fatal(err)
			}
			addr, err := c.listenAddr(h)
			if addr != row.want || codeOf(err) != row.code {
				t.Errorf("%q, %v", addr, err)
			}
		})
	}
}

func TestKnock(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if !knock(t.Context(), l.Addr().String()) {
		t.Error("somebody listens, and nobody opens")
	}
	l.Close()
	if knock(t.Context(), l.Addr().String()) {
		t.Error("nobody listens, and somebody opens")
	}
}
