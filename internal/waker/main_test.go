package waker

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/statedir"
)

// Roles in which a copy of this test binary runs; the value is the home.
const (
	asDaemon = "WAKER_TEST_DAEMON"
	asWaker  = "WAKER_TEST_WAKER"
)

func TestMain(m *testing.M) {
	if home := os.Getenv(asDaemon); home != "" {
		os.Exit(fakeDaemon(home))
	}
	if home := os.Getenv(asWaker); home != "" {
		os.Exit(loneWaker(home))
	}
	goleak.VerifyTestMain(m)
}

// options are those of a waker whose daemon is fakeDaemon. listen.addr is all
// that is in the configuration of these tests.
func options(home statedir.Home) Options {
	return Options{
		Home: home, Config: home.Config(), Command: []string{os.Args[0]},
		Addr: func() (string, error) {
			b, err := os.ReadFile(home.Config())
			return strings.TrimSpace(string(b)), err
		},
	}
}

// loneWaker is a waker in a process of its own, which a test can kill.
func loneWaker(root string) int {
	os.Setenv(asDaemon, root)
	os.Unsetenv(asWaker)
	if err := Run(context.Background(), options(statedir.At(root))); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// fakeDaemon ends at once with the code that the file "exit" has, if there is
// one. Otherwise it answers connections with its pid, one after the other, and
// ends when one of them says "exit CODE". It notes its life in the file "life".
func fakeDaemon(root string) int {
	note := func(word string) {
		f, err := os.OpenFile(filepath.Join(root, "life"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err == nil {
			fmt.Fprintln(f, word)
			f.Close()
		}
	}
	in, err := activation.Take()
	switch {
	case err != nil:
		note(err.Error())
		return 1
	case in.Owner != activation.Waker || !in.Alarm || in.Gateway == nil || in.Control == nil || os.Getenv("DREY_OWNER") != "":
		note(fmt.Sprintf("inherited %+v", in))
		return 1
	}
	note("start")
	if b, err := os.ReadFile(filepath.Join(root, "exit")); err == nil {
		code, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return code
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	// One is accepted when the one before is served, so that an end cuts none.
	type visit struct {
		net.Conn
		served chan struct{}
	}
	visits := make(chan visit)
	for _, l := range []net.Listener{in.Gateway, in.Control} {
		go func() {
			served := make(chan struct{})
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				visits <- visit{c, served}
				<-served
			}
		}()
	}
	lost := in.Lost
	for {
		select {
		case sig := <-signals:
			note(sig.String())
			if sig == syscall.SIGTERM {
				return 0
			}
		case <-lost:
			note("lost")
			lost = nil
		case c := <-visits:
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprintln(c, os.Getpid())
			c.Close()
			if code, ok := strings.CutPrefix(strings.TrimSpace(line), "exit "); ok {
				n, _ := strconv.Atoi(code)
				return n
			}
			c.served <- struct{}{}
		}
	}
}

// patience is how long a test waits for what must come.
const testPatience = 30 * time.Second

// story is what a waker logs: one line per record.
type story chan string

func (s story) Enabled(context.Context, slog.Level) bool { return true }
func (s story) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s story) WithGroup(string) slog.Handler            { return s }
func (s story) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%s", a.Key, a.Value); return true })
	s <- b.String()
	return nil
}

// rig is a waker under test.
type rig struct {
	t       *testing.T
	home    statedir.Home
	addr    string
	signals chan os.Signal
	story   story
	done    chan error
}

// start runs a waker in this process until the test ends.
func start(t *testing.T, change func(*Options, *rig)) *rig {
	t.Helper()
	root, err := os.MkdirTemp("", "drey") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	home, err := statedir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asDaemon, root)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	r := &rig{t: t, home: home, signals: make(chan os.Signal, 4), story: make(story, 1000), done: make(chan error, 1)}
	r.write("drey.yaml", "127.0.0.1:0")
	o := options(home)
	o.Signals, o.Log = r.signals, slog.New(r.story)
	if change != nil {
		change(&o, r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { r.done <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if r.done != nil {
			r.ended()
		}
	})
	r.addr = field(r.tells("doors-bound"), "addr")
	return r
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.home.Root(), name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

// tells waits for the next line that begins with a word.
func (r *rig) tells(word string) string {
	r.t.Helper()
	late := time.After(testPatience)
	for {
		select {
		case line := <-r.story:
			if strings.HasPrefix(line, word) {
				return line
			}
		case <-late:
			r.t.Fatalf("the waker did not say %s", word)
		}
	}
}

// ended waits for Run's end.
func (r *rig) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done = nil
		return err
	case <-time.After(testPatience):
		r.t.Fatal("the waker did not end")
		return nil
	}
}

// says sends a line to the daemon and returns its answer.
func (r *rig) says(line string) string {
	r.t.Helper()
	answer, err := call("tcp", r.addr, line)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func call(network, addr, line string) (string, error) {
	c, err := net.Dial(network, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testPatience))
	fmt.Fprintln(c, line)
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func (r *rig) life() string {
	b, _ := os.ReadFile(filepath.Join(r.home.Root(), "life"))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\n", " "))
}

// lives waits until the daemon's life has come so far.
func (r *rig) lives(so string) {
	r.t.Helper()
	late := time.After(2 * time.Minute) // whoever is that late never comes
	for look := time.Tick(5 * time.Millisecond); r.life() != so; {
		select {
		case <-look:
		case <-late:
			r.t.Fatalf("the daemon's life: %s, want %s", r.life(), so)
		}
	}
}

func field(line, key string) string {
	_, rest, _ := strings.Cut(line, " "+key+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}
