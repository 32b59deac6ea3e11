package dormancy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type dispatched = statedir.Dispatched

var errDisk = errors.New("no space left on device")

// disk is what outlives a daemon: the record and its log, the wake signal and
// the leases. It stands in for the home; saves can be made to fail.
type disk struct {
	mu      sync.Mutex
	record  lifecycle.Record
	log     []lifecycle.Line
	saves   int
	broken  bool
	signal  bool
	stuck   bool // the signal cannot be consumed
	leases  []statedir.Lease
	using   atomic.Int32 // calls of State under way: one goroutine at a time
	overlap atomic.Bool
}

// owned is the disk as its owner has it.
type owned struct{ *disk }

func (d owned) enter() func() {
	if d.using.Add(1) > 1 {
		d.overlap.Store(true)
	}
	d.mu.Lock()
	return func() {
		d.mu.Unlock()
		d.using.Add(-1)
	}
}

func (d owned) Record() lifecycle.Record {
	defer d.enter()()
	return d.record.Clone()
}

func (d owned) Dispatch(ev lifecycle.Event, p lifecycle.Policy) (statedir.Dispatched, error) {
	defer d.enter()()
	out := statedir.Dispatched{Before: d.record, After: d.record}
	next, effects := lifecycle.Step(d.record.Clone(), ev, p)
	_, moved := lifecycle.Transition(d.record.State, ev.Name, ev.Guards)
	for _, e := range effects {
		if l, ok := e.(lifecycle.Log); ok {
			out.Lines = append(out.Lines, l.Line)
		}
	}
	if len(effects) > 0 {
		if err := d.save(next, out.Lines); err != nil {
			return out, err
		}
	}
	out.After, out.Moved, out.Effects = next, moved, effects
	return out, nil
}

func (d owned) Update(change func(lifecycle.Record) (lifecycle.Record, []lifecycle.Line)) (statedir.Dispatched, error) {
	defer d.enter()()
	out := statedir.Dispatched{Before: d.record, After: d.record}
	next, lines := change(d.record.Clone())
	if !next.Equal(d.record) || len(lines) > 0 {
		if err := d.save(next, lines); err != nil {
			return out, err
		}
	}
	out.After, out.Lines = next, lines
	return out, nil
}

func (d owned) Append(lines ...lifecycle.Line) error {
	defer d.enter()()
	if d.broken {
		return errDisk
	}
	d.log = append(d.log, lines...)
	return nil
}

func (d owned) save(r lifecycle.Record, lines []lifecycle.Line) error {
	if d.broken {
		return errDisk
	}
	if _, err := r.Encode(); err != nil {
		return fmt.Errorf("an invalid record: %w", err)
	}
	d.record = r
	d.saves++
	d.log = append(d.log, lines...)
	return nil
}

func (d *disk) WakePending() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.signal || d.stuck
}

func (d *disk) ConsumeWake() ([]byte, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stuck {
		return nil, false, errors.New("is a directory")
	}
	found := d.signal
	d.signal = false
	return []byte("{}"), found, nil
}

func (d *disk) Leases(now time.Time) ([]statedir.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Clone(d.leases)
	for i := range out {
		out[i].State = statedir.Fresh
		if now.Sub(out[i].LastRefresh) > 90*time.Second {
			out[i].State = statedir.Stale
		}
	}
	return out, nil
}

func (d *disk) look() lifecycle.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record.Clone()
}

func (d *disk) set(change func(d *disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// story returns the log as short lines: "WAKE>DROWSY idle_5min", and the names
// of the other lines.
func (d *disk) story() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, l := range d.log {
		if l.Event == lifecycle.EventTransition {
			out = append(out, fmt.Sprintf("%v>%v %v", l.Field("from"), l.Field("to"), l.Field("trigger")))
			continue
		}
		s := l.Event
		for _, key := range []string{"mode", "step", "error", "skipped"} {
			if v := l.Field(key); v != nil {
				s += fmt.Sprintf(" %v", v)
			}
		}
		out = append(out, s)
	}
	return out
}

func (d *disk) count(event string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.log {
		if l.Event == event {
			n++
		}
	}
	return n
}

// lab is one daemon's lifecycle on a disk.
type lab struct {
	t     *testing.T
	disk  *disk
	owner *Owner
	steps *steps
	doors *doors
	watch chan struct{}
	skew  atomic.Int64 // of the wall clock

	mu     sync.Mutex
	blocks []lifecycle.Block
	moves  []lifecycle.State
	shown  []string

	stop   context.CancelFunc
	served chan error
	err    error
	ended  bool
}

// doors note how they are moved.
type doors struct {
	lab    *lab
	mu     sync.Mutex
	moves  []string
	paused atomic.Bool
	pause  func(context.Context) error
	settle func(context.Context) error
}

func (d *doors) note(move string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moves = append(d.moves, move)
}

func (d *doors) seen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.moves)
}

func (d *doors) Pause(ctx context.Context) error {
	d.note("pause")
	d.paused.Store(true)
	if d.pause != nil {
		return d.pause(ctx)
	}
	return nil
}

func (d *doors) Settle(ctx context.Context) error {
	d.note("settle")
	if d.settle != nil {
		return d.settle(ctx)
	}
	return nil
}

func (d *doors) Resume() {
	d.note("resume")
	d.paused.Store(false)
}

// steps are the upkeep: six steps of a few chunks that take a second each, or
// whatever a test makes of them.
type steps struct {
	running atomic.Int32
	twice   atomic.Bool
	runs    atomic.Int32
	chunks  int
	each    time.Duration
	work    func(name string, ctx context.Context, pace func(int) error) error // nil = chunks
}

var stepNames = []string{"checkpoint", "retention", "rollup", "verify", "backup", "optimize"}

func (s *steps) list() []Step {
	var out []Step
	for i, name := range stepNames {
		out = append(out, Step{Number: i + 1, Name: name, Timeout: 10 * time.Minute, Run: func(ctx context.Context, pace func(int) error) (string, []drey.Field, error) {
			if s.running.Add(1) > 1 {
				s.twice.Store(true)
			}
			s.runs.Add(1)
			defer s.running.Add(-1)
			if s.work != nil {
				return "", nil, s.work(name, ctx, pace)
			}
			return "", nil, s.chunk(ctx, pace)
		}})
	}
	return out
}

func (s *steps) chunk(ctx context.Context, pace func(int) error) error {
	for i := range s.chunks {
		if err := pace(i); err != nil {
			return err
		}
		select {
		case <-time.After(s.each):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// newLab returns a daemon on a disk; nil is an empty one.
func newLab(t *testing.T, d *disk, change func(*Config)) *lab {
	t.Helper()
	if d == nil {
		d = &disk{record: lifecycle.Default(time.Now())}
	}
	l := &lab{t: t, disk: d, steps: &steps{chunks: 3, each: time.Second}, watch: make(chan struct{}, 1), served: make(chan error, 1)}
	l.doors = &doors{lab: l}
	c := Config{
		State: owned{d}, Home: d, Doors: l.doors, Policy: lifecycle.DefaultPolicy(), Steps: l.steps.list(), Watch: l.watch,
		Blocks: func() []lifecycle.Block {
			l.mu.Lock()
			defer l.mu.Unlock()
			return slices.Clone(l.blocks)
		},
		Moved: func(s lifecycle.State) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.moves = append(l.moves, s)
		},
		Publish: func(_ context.Context, lines []lifecycle.Line, from, to lifecycle.State, trigger string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, line := range lines {
				l.shown = append(l.shown, line.Event)
			}
		},
		Now: func() time.Time { return time.Now().Add(time.Duration(l.skew.Load())) },
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	l.owner = New(c)
	return l
}

// start boots and serves.
func (l *lab) start() *lab {
	l.t.Helper()
	l.owner.Boot(Started{By: "test", Version: "v0", PID: 7})
	ctx, stop := context.WithCancel(l.t.Context())
	l.stop = stop
	go func() { l.served <- l.owner.Serve(ctx) }()
	return l
}

// close stops the daemon, if it has not hibernated, and checks what always
// holds.
func (l *lab) close() error {
	l.t.Helper()
	if !l.ended {
		l.stop()
		l.err, l.ended = <-l.served, true
	}
	l.stop()
	if l.steps.twice.Load() {
		l.t.Error("two steps ran at once")
	}
	if l.disk.overlap.Load() {
		l.t.Error("two goroutines used the record at once")
	}
	return l.err
}

// gone reports whether Serve has returned by itself.
func (l *lab) gone() bool {
	if l.ended {
		return true
	}
	select {
	case l.err = <-l.served:
		l.ended = true
	default:
	}
	return l.ended
}

// notify has the owner look into the home.
func (l *lab) notify() {
	select {
	case l.watch <- struct{}{}:
	default:
	}
}

func (l *lab) signal() {
	l.disk.set(func(d *disk) { d.signal = true })
	l.notify()
}

func (l *lab) block(blocks ...lifecycle.Block) {
	l.mu.Lock()
	l.blocks = blocks
	l.mu.Unlock()
	l.owner.Recheck()
}

func (l *lab) state() lifecycle.State { return l.disk.look().State }

// want fails unless the state on disk is s.
func (l *lab) want(s lifecycle.State) {
	l.t.Helper()
	if got := l.state(); got != s {
		l.t.Fatalf("at %v the state is %v, want %v; story %q", time.Now().UTC().Format(time.TimeOnly), got, s, l.disk.story())
	}
}
