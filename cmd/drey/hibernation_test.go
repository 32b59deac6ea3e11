package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/activation/activationtest"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// nest is a home with somebody who keeps its daemon's doors: real processes,
// from the outside.
type nest struct {
	t    *testing.T
	home statedir.Home
	addr string
	sock string
	out  *lockedBuffer // what the processes say
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newNest(t *testing.T, lifecycle string) *nest {
	t.Helper()
	root, err := os.MkdirTemp("", "drey") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	home, err := statedir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nest{t: t, home: home, addr: l.Addr().String(), out: &lockedBuffer{}}
	l.Close()
	if n.sock, err = home.Socket(); err != nil {
		t.Fatal(err)
	}
	n.configure(lifecycle)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.out)
		}
	})
	return n
}

func (n *nest) configure(lifecycle string) {
	text := fmt.Sprintf("listen: {addr: %q}\nproviders: {a: {wire: openai, url: \"demo:echo\"}}\nprofiles: {default: {chain: [a]}}\nlifecycle: {%s}\n", n.addr, lifecycle)
	if err := os.WriteFile(n.home.Config(), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *nest) env() []string {
	return []string{"DREY_HOME=" + n.home.Root(), "GORACE=atexit_sleep_ms=0", "HOME=" + n.home.Root()}
}

// up keeps the doors with `drey up`, until the test ends.
func (n *nest) up() {
	cmd := exec.Command("drey", "up")
	cmd.Env = append(os.Environ(), n.env()...)
	cmd.Stdout, cmd.Stderr = n.out, n.out
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			n.t.Errorf("drey up: %v", err)
		}
	})
	n.until("the doors", func() bool {
		c, err := net.Dial("tcp", n.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// activate keeps the doors as systemd does, until the test ends. each is told
// the daemon's process when one has begun; nil = nobody is.
func (n *nest) activate(each func(*os.Process)) {
	a, err := activationtest.Listen(n.sock)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = a.Addr
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	n.t.Cleanup(func() { cancel(); wg.Wait(); a.Close() })
	wg.Go(func() {
		for a.Wait(ctx) == nil {
			cmd := a.Command(context.Background(), n.env(), "drey", "serve")
			cmd.Stdout, cmd.Stderr = n.out, n.out
			if err := cmd.Start(); err != nil {
				n.t.Error(err)
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
			if each != nil {
				each(cmd.Process)
			}
			err := cmd.Wait()
			stop()
			if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() != -1 { // -1: killed by the test
				n.t.Errorf("the daemon: %v", err)
				return
			}
		}
	})
}

// ask streams an answer with the official SDK and returns its text.
func (n *nest) ask() (string, error) {
	c := anthropic.NewClient(option.WithBaseURL("http://"+n.addr), option.WithAPIKey("any"), option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	s := c.Messages.NewStreaming(ctx, anthropic.MessageNewParams{
		Model: "x", MaxTokens: 20, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	})
	defer s.Close()
	var m anthropic.Message
	for s.Next() {
		if err := m.Accumulate(s.Current()); err != nil {
			return "", err
		}
	}
	if err := s.Err(); err != nil {
		return "", err
	}
	if m.StopReason == "" || len(m.Content) == 0 {
		return "", fmt.Errorf("no whole answer: %s", m.RawJSON())
	}
	return m.Content[0].Text, nil
}

func (n *nest) mustAsk() {
	n.t.Helper()
	if _, err := n.ask(); err != nil {
		n.t.Fatal(err)
	}
}

// until waits for something that has to come.
func (n *nest) until(what string, is func() bool) {
	n.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (n *nest) state() lifecycle.State {
	r, err := statedir.ReadLifecycle(n.home, time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	return r.State
}

// gone reports whether the daemon hibernates and its process has ended.
func (n *nest) gone() bool {
	_, held, err := statedir.Locked(n.home.Lock())
	return err == nil && !held && n.state() == lifecycle.Hibernation
}

// moves are the transitions of the log, such as WAKE>DROWSY.
func (n *nest) moves() []string {
	lines, skipped, err := statedir.History(n.home, statedir.HistoryQuery{Kind: "state_transition"})
	if err != nil || skipped > 0 {
		n.t.Fatalf("history: %v, %d lines skipped", err, skipped)
	}
	var out []string
	for _, l := range lines {
		out = append(out, gjson.GetBytes(l, "from").Str+">"+gjson.GetBytes(l, "to").Str)
	}
	return out
}

// TestANight is the promise: nobody is there, the daemon grows drowsy, sleeps,
// does its upkeep and is gone; somebody comes, and is answered.
func TestANight(t *testing.T) {
	for name, keep := range map[string]func(*nest){
		"drey up":   (*nest).up,
		"activator": func(n *nest) { n.activate(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNest(t, "drowsy_after: 300ms, sleep_after: 600ms, hibernate_after: 900ms, boot_grace: 100ms")
			keep(n)
			n.mustAsk()
			// A client that is there and does not work, and somebody who looks,
			// keep nobody awake.
			lease, err := statedir.HoldLease(n.home, "test", false)
			if err != nil {
				t.Fatal(err)
			}
			defer lease.Close()
			looks := exec.Command("drey", "status")
			looks.Env = append(os.Environ(), n.env()...)
			if out, err := looks.CombinedOutput(); err != nil || !strings.Contains(string(out), "pid ") {
				t.Fatalf("%v %s", err, out)
			}
			n.until("HIBERNATION", n.gone)
			moves := strings.Join(n.moves(), " ")
			if !strings.HasSuffix(moves, "WAKE>DROWSY DROWSY>SLEEP SLEEP>HIBERNATION") {
				t.Errorf("it went %s", moves)
			}
			n.mustAsk()
			if n.state() != lifecycle.Wake {
				t.Errorf("after an answer it is in %s", n.state())
			}
			if got := n.moves(); got[len(got)-1] != "HIBERNATION>WAKE" {
				t.Errorf("it came back by %s", got[len(got)-1])
			}
		})
	}
}

// soak is how often a loop runs: short here, long on demand.
func soak(short, long int) int {
	if os.Getenv("DREY_SOAK") != "" {
		return long
	}
	return short
}

// TestNobodyIsLostOnTheWayOut has clients come at any moment of hibernating.
func TestNobodyIsLostOnTheWayOut(t *testing.T) {
	for name, keep := range map[string]func(*nest){
		"drey up":   (*nest).up,
		"activator": func(n *nest) { n.activate(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNest(t, "boot_grace: 1ms")
			keep(n)
			n.mustAsk()
			asked, left := 1, 0
			// How long leaving takes is the machine's matter. Who came too soon for it
			// makes the next one come later, by up to ten seconds, and who did not
			// makes him come sooner: so most come about when it goes.
			spread := 60 * time.Millisecond
			for round := 0; round < soak(15, 1000) || left == 0 && round < 60; round++ {
				var wg sync.WaitGroup
				var err error
				wg.Go(func() {
					c := client.New(n.sock)
					defer c.Close()
					_, err = c.Hibernate(t.Context())
				})
				after := time.NewTimer(rand.N(spread))
				<-after.C
				if _, err := n.ask(); err != nil {
					t.Errorf("a client that came on the way out: %v", err)
				}
				asked++
				if wg.Wait(); err == nil {
					left++
					spread = max(spread-spread/8, 20*time.Millisecond)
				} else {
					spread = min(spread+spread/8, 10*time.Second)
				}
			}
			t.Logf("%d calls, %d hibernations", asked, left)
			if left == 0 {
				t.Error("it never went")
			}
			n.until("the last row", func() bool { return n.rows(t) == asked })
		})
	}
}

// rows counts the requests that were served, each once.
func (n *nest) rows(t *testing.T) int {
	t.Helper()
	seen := map[string]bool{}
	r := statedir.ReadLog(n.home.Requests())
	for row := range r.Rows(statedir.LogQuery{}) {
		id := gjson.GetBytes(row.JSON, "id").Str
		if seen[id] || gjson.GetBytes(row.JSON, "outcome").Str != "ok" {
			t.Errorf("%s", row.JSON)
		}
		seen[id] = true
	}
	return len(seen)
}

// TestKilledAtAnyMoment kills the daemon in the middle of moves and of sleep
// cycles: the record is old or new, the log has every move, a cycle resumes.
func TestKilledAtAnyMoment(t *testing.T) {
	n := newNest(t, "boot_grace: 1ms")
	started := make(chan *os.Process)
	over, end := context.WithCancel(t.Context())
	defer end()
	n.activate(func(p *os.Process) {
		select {
		case started <- p:
		case <-over.Done():
		}
	})
	for range soak(10, 200) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { n.work(ctx) }) // it brings the daemon, and works it until that is killed
		p := <-started
		wait := time.NewTimer(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
		<-wait.C
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		cancel()
		wg.Wait()
		if _, err := statedir.ReadLifecycle(n.home, time.Now()); err != nil {
			t.Fatalf("after kill -9: %v", err)
		}
	}
	end()
	// One that lives sees it all: it recovers what was saved and not logged, and
	// the cycle goes on to its end.
	c := client.New(n.sock)
	defer c.Close()
	if _, err := c.Lifecycle(t.Context()); err != nil {
		t.Fatal(err)
	}
	slept, err := c.Sleep(t.Context(), api.Sleep{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if slept.Lifecycle.Progress != nil || slept.Lifecycle.LastCycle == nil {
		t.Errorf("the cycle did not end: %+v", slept.Lifecycle)
	}
	state := "WAKE"
	for i, move := range n.moves() {
		from, to, _ := strings.Cut(move, ">")
		if from != state {
			t.Errorf("move %d is %s, and before it the state was %s", i, move, state)
		}
		state = to
	}
	if state != slept.Lifecycle.State {
		t.Errorf("the log ends in %s, the record in %s", state, slept.Lifecycle.State)
	}
}

// work makes the daemon move until ctx ends: to sleep with a cycle, and back.
// What fails does so because the daemon was killed under it.
func (n *nest) work(ctx context.Context) {
	c := client.New(n.sock)
	defer c.Close()
	for ctx.Err() == nil {
		_, _ = c.Sleep(ctx, api.Sleep{Force: true})
		_, _ = c.Wake(ctx, api.Wake{})
	}
}

// TestTwoDaemons has two serve one home at once.
func TestTwoDaemons(t *testing.T) {
	n := newNest(t, "lock_wait: 0")
	serve := func(addr string) *exec.Cmd {
		cfg := filepath.Join(t.TempDir(), "drey.yaml")
		text := fmt.Sprintf("listen: {addr: %q}\nproviders: {a: {wire: openai, url: \"demo:echo\"}}\nprofiles: {default: {chain: [a]}}\nlifecycle: {lock_wait: 0}\n", addr)
		if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("drey", "serve", "--config", cfg)
		cmd.Env = append(os.Environ(), n.env()...)
		return cmd
	}
	first := serve("127.0.0.1:0")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	c := client.New(n.sock)
	defer c.Close()
	n.until("the first one", func() bool { _, err := c.Status(t.Context()); return err == nil })
	out, err := serve("127.0.0.1:0").CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitLocked || !strings.Contains(string(out), "pid "+strconv.Itoa(first.Process.Pid)) {
		t.Errorf("the second one: %v %s", err, out)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("the first one after it: %v", err)
	}
	// Killed, it leaves nothing that keeps the next one out.
	_ = first.Process.Kill()
	_ = first.Wait()
	next := serve("127.0.0.1:0")
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	n.until("the next one", func() bool { _, err := c.Status(t.Context()); return err == nil })
	_ = next.Process.Signal(syscall.SIGTERM)
	if err := next.Wait(); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
