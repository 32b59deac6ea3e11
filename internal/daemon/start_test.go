package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/statedir"
)

// refused starts a daemon that must not start, and returns why it does not.
func refused(t *testing.T, o Options) *drey.Error {
	t.Helper()
	o.Ready = func(addr string) { t.Errorf("it serves on %s", addr) }
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	err := Run(ctx, o)
	if err == nil {
		t.Fatal("it ran and ended without an error")
	}
	e, ok := errors.AsType[*drey.Error](err)
	if !ok {
		t.Fatalf("not an error of the house: %v", err)
	}
	return e
}

func TestOneDaemonServesAHome(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	o := options(h.home.Root())
	o.test.lockWait = 50 * time.Millisecond
	e := refused(t, o)
	if e.Code != "locked" || !strings.Contains(e.Error(), fmt.Sprintf("pid %d", os.Getpid())) || e.Hint == "" {
		t.Errorf("the second one says %v (code %q, hint %q)", e, e.Code, e.Hint)
	}
	if got := h.chat("hi"); got.status != 200 {
		t.Errorf("the first one does not serve any more: %d", got.status)
	}
	if _, err := h.control().Status(t.Context()); err != nil {
		t.Errorf("its socket is gone: %v", err)
	}

	// One that waits takes over when the first one leaves.
	next := make(chan error, 1)
	o = options(h.home.Root())
	o.test.lockWait = short
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Ready = func(string) { cancel() }
	go func() { next <- Run(ctx, o) }()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-next; err != nil {
		t.Errorf("the next one ended with %v", err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	p := provider(t, nil)
	home := newHome(t, yamlOf("openai", p.URL()))
	path, err := statedir.At(home).Socket()
	if err != nil {
		t.Fatal(err)
	}
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	_ = old.Close() // as a process that was killed leaves it
	h := openAt(t, home)
	if _, err := h.control().Status(t.Context()); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// TestDoorsThatSomebodyKeeps: the lock is free, and somebody waits at the
// control socket to start a daemon. One that is started by hand would take the
// socket's name away under it.
func TestDoorsThatSomebodyKeeps(t *testing.T) {
	p := provider(t, nil)
	home := newHome(t, yamlOf("openai", p.URL()))
	path, err := statedir.At(home).Socket()
	if err != nil {
		t.Fatal(err)
	}
	waker, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waker.Close()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if e := refused(t, options(home)); e.Code != "locked" || !strings.Contains(e.Hint, "drey up") {
		t.Errorf("%v (code %q, hint %q)", e, e.Code, e.Hint)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the socket was replaced: %v", err)
	}
	lock, err := statedir.TryLock(statedir.At(home).Lock())
	if err != nil {
		t.Fatalf("the home is held: %v", err)
	}
	lock.Release()
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	p := provider(t, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := yamlOf("openai", p.URL())
	tests := []struct {
		name   string
		config string
		change func(t *testing.T, o *Options)
		code   string
		says   []string
	}{
		{"a bad file", good + "provders: {}\n", nil, "config", []string{"drey.yaml:", "provders", "providers"}},
		{"a named file that is not there", good, func(_ *testing.T, o *Options) { o.Config = filepath.Join(o.Home, "other.yaml") }, "config", []string{"other.yaml"}},
		{"a file that DREY_CONFIG names and is not there", good, func(_ *testing.T, o *Options) {
			o.Env = environment(map[string]string{"DREY_CONFIG": filepath.Join(o.Home, "third.yaml")})
		}, "config", []string{"third.yaml"}},
		{"a key without its secret", good + "keys: [{name: me, secret: \"env:NOT_SET\"}]\n", nil, "config", []string{"keys.me.secret", "env:NOT_SET"}},
		{"an unknown demo", yamlOf("openai", "demo:nonsense"), nil, "config", []string{"demo:nonsense", "demo:echo"}},
		{"a bind beyond loopback without keys", yamlOf("openai", p.URL(), `listen: {addr: "0.0.0.0:0"}`), nil, "config", []string{"listen.addr", "keys"}},
		{"an address that is taken", yamlOf("openai", p.URL(), fmt.Sprintf("listen: {addr: %q}", taken.Addr())), nil, "", []string{"in use"}},
		{"metrics on an address that is taken", good + fmt.Sprintf("telemetry: {metrics_listen: %q}\n", taken.Addr()), nil, "", []string{"in use"}},
		{"a home too deep for a socket", good, func(t *testing.T, o *Options) {
			deep := filepath.Join(o.Home, strings.Repeat("deep", 30))
			if err := os.Mkdir(deep, 0o700); err != nil {
				t.Fatal(err)
			}
			writeConfig(t, deep, good)
			o.Home = deep
		}, "config", []string{"drey.sock"}},
		{"a store that is none", good, func(t *testing.T, o *Options) {
			if err := os.WriteFile(filepath.Join(o.Home, "drey.db"), []byte(strings.Repeat("this is no database. ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "", []string{"drey.db"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := descriptors(t)
			o := options(newHome(t, tt.config))
			if tt.change != nil {
				tt.change(t, &o)
			}
			e := refused(t, o)
			if tt.code != "" && e.Code != tt.code || e.Hint == "" && len(ConfigFields(e)) == 0 {
				t.Errorf("code %q, hint %q", e.Code, e.Hint)
			}
			for _, want := range tt.says {
				if !strings.Contains(e.Error()+fmt.Sprint(ConfigFields(e)), want) {
					t.Errorf("it does not say %q: %v", want, e)
				}
			}
			if _, held, err := statedir.Locked(statedir.At(o.Home).Lock()); held || err != nil {
				t.Errorf("the lock is held: %v, %v", held, err)
			}
			if _, err := os.Stat(filepath.Join(o.Home, "drey.sock")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left behind: %v", err)
			}
			eventually(t, "its files are closed", func() bool { return descriptors(t) <= before })
		})
	}
}

// descriptors counts the process's open files and connections.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
