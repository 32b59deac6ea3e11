package healing

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/upstream"
)

var update = flag.Bool("update", false, "rewrite testdata")

// journal keeps everything in memory.
type journal struct {
	mu        sync.Mutex
	seq       drey.Seq
	snapshots map[string]map[string]json.RawMessage
}

func (j *journal) Submit(done func(store.Commit, error), appends ...store.Append) {
	j.mu.Lock()
	var c store.Commit
	for _, ap := range appends {
		if len(ap.Events) > 0 {
			if c.First == 0 {
				c.First = j.seq + 1
			}
			j.seq += drey.Seq(len(ap.Events))
			c.Last = j.seq
		}
		if j.snapshots == nil {
			j.snapshots = map[string]map[string]json.RawMessage{}
		}
		if j.snapshots[ap.Machine] == nil {
			j.snapshots[ap.Machine] = map[string]json.RawMessage{}
		}
		switch {
		case ap.Delete:
			delete(j.snapshots[ap.Machine], ap.ID)
		case ap.Snapshot != nil:
			j.snapshots[ap.Machine][ap.ID] = ap.Snapshot
		}
	}
	j.mu.Unlock()
	done(c, nil)
}

func (j *journal) Snapshots(_ context.Context, machine string) ([]store.State, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []store.State
	for id, row := range j.snapshots[machine] {
		out = append(out, store.State{Machine: machine, ID: id, Snapshot: row})
	}
	slices.SortFunc(out, func(a, b store.State) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// lab is a Keeper with one provider, "local", that a fake plays.
type lab struct {
	*Keeper
	t       *testing.T
	up      *fake.Upstream
	journal *journal
	stop    func()
	start   time.Time

	mu     sync.Mutex
	events []drey.Event // journaled
	told   []drey.Event // and not
}

func (l *lab) Committed(evs ...drey.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, evs...)
}
func (l *lab) Emit(ev drey.Event) { l.Committed(ev) }
func (l *lab) Publish(evs ...drey.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, evs...)
}

func (l *lab) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []string{}
	for _, ev := range l.events {
		out = append(out, ev.Name)
	}
	return out
}

// settings are those of one provider and a profile that excludes.
func settings(up *fake.Upstream) Settings {
	p := Default(upstream.Config{ID: "local", Wire: drey.WireChat, URL: "http://local.test/v1", Model: "fake-model", Transport: up})
	return Settings{Providers: []Provider{p}, Profiles: []Profile{{ID: "main", Chain: []drey.ProviderID{"local"}}}}
}

type option func(*Config, *Settings)

// newLab returns a lab that runs until the test ends, or stop is called.
func newLab(t *testing.T, j *journal, options ...option) *lab {
	t.Helper()
	if j == nil {
		j = &journal{}
	}
	l := &lab{t: t, up: fake.New(fake.Options{}), journal: j, start: time.Now()}
	t.Cleanup(l.up.Close)
	cfg, s := Config{Journal: j, Bus: l}, settings(l.up)
	for _, o := range options {
		o(&cfg, &s)
	}
	k, err := New(t.Context(), cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	l.Keeper = k
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Serve(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { l.stop() })
	return l
}

func departure() health.Departure { return health.Departure{Provider: "local", Profile: "main"} }

func (l *lab) leave(change ...func(*health.Departure)) (health.Pass, error) {
	d := departure()
	for _, c := range change {
		c(&d)
	}
	return l.Leave(l.t.Context(), d)
}

// attempt is one that leaves and ends.
func (l *lab) attempt(e health.Ending) {
	l.t.Helper()
	p, err := l.leave()
	if err != nil {
		l.t.Fatal(err)
	}
	l.Ended(p, e)
}

var (
	well   = health.Ending{OK: true}
	broken = health.Ending{Class: drey.Server, Counts: true, Status: 500, Error: "it broke"}
	gone   = health.Ending{Class: drey.Cancel}
)

func (l *lab) breakDown() {
	l.t.Helper()
	l.up.Outage(fake.ServerError())
	for range 6 {
		l.attempt(broken)
	}
}

func (l *lab) view() View {
	v, _ := l.View("local")
	return v
}

// settle waits until nothing happens any more without the clock.
func (l *lab) settle(d time.Duration) {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
}

// story is what was journaled, as people compare it.
func (l *lab) story() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	for _, ev := range l.events {
		fmt.Fprintf(&b, "%7.1fs #%d", ev.At.Sub(l.start).Seconds(), ev.Seq)
		if ev.Cause != 0 {
			fmt.Fprintf(&b, " <- #%d", ev.Cause)
		}
		fmt.Fprintf(&b, " %s", ev.Name)
		if ev.From != ev.To {
			fmt.Fprintf(&b, " %s -> %s", ev.From, ev.To)
		}
		for _, f := range ev.Fields {
			if f.Key != "provider" && f.Key != "latency_ms" && f.Key != "pid" && f.Key != "port" {
				fmt.Fprintf(&b, " %s=%v", f.Key, f.Value)
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it, and read it", err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

// mends is a restart command that takes a while.
func mends(took time.Duration, text string, runs *[]process.Command) option {
	return func(c *Config, s *Settings) {
		s.Providers[0].Restart = &Restart{
			Text: "mend --token hush", Argv: []string{"mend"}, Timeout: 30 * time.Second, Drain: 10 * time.Second, Settle: 2 * time.Second,
		}
		c.Redact = func(s string) string { return strings.ReplaceAll(s, "hush", "[redacted]") }
		var mu sync.Mutex
		c.Run = func(ctx context.Context, cmd process.Command) process.Result {
			mu.Lock()
			*runs = append(*runs, cmd)
			mu.Unlock()
			select {
			case <-time.After(took):
			case <-ctx.Done():
				return process.Result{Error: "stopped"}
			}
			return process.Result{OK: text == "", Error: text, Duration: took}
		}
	}
}
