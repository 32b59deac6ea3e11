// Package healing keeps providers alive: it is the shell around the machines of
// internal/health. It counts what attempts come to, takes broken providers out,
// has them restarted, probes them, brings them back slowly, keeps the backends
// that drey itself starts, and tells all of it as events.
//
// One goroutine, that of Keeper.Serve, owns every machine. Everybody else hands
// it what happened, in one queue and so in one order; whatever takes time runs
// in a goroutine of its own, whose end is the next thing that happened. Routing
// reads what the owner has published and mostly asks nobody (Leave).
package healing

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/process"
	"github.com/dreyhq/drey/internal/store"
)

// Journal is what the Keeper needs of the store.
type Journal interface {
	Submit(done func(store.Commit, error), appends ...store.Append)
	Snapshots(ctx context.Context, machine string) ([]store.State, error)
}

// Bus carries events to their readers.
type Bus interface {
	// Committed shows events that the Keeper has journaled.
	Committed(evs ...drey.Event)
	// Emit journals an event and shows it.
	Emit(ev drey.Event)
	// Publish shows an event that is not journaled.
	Publish(evs ...drey.Event)
}

// Config is what a Keeper works with. Journal and Bus are required.
type Config struct {
	Journal Journal
	Bus     Bus
	Metrics *Metrics // nil = nobody counts
	// Counters keep the totals of Metrics over restarts; nil = nobody does.
	Counters store.Counters
	// Redact takes secrets out of what commands and providers said; nil = none.
	Redact func(string) string
	// Random is uniform in [0, 1); it spreads probes and parking. nil = 0.5.
	Random func() float64
	Log    *slog.Logger
	// Hurry ends the grace of processes that stop when it is closed; nil =
	// never.
	Hurry <-chan struct{}

	// Start starts a backend and Run runs a restart command; nil =
	// internal/process. They are the seams of tests.
	Start func(process.Spec) (Backend, error)
	Run   func(context.Context, process.Command) process.Result
}

// gather is how long the end of an attempt that decides nothing waits for
// company before the owner looks at it.
const gather = 20 * time.Millisecond

// Keeper keeps the providers of a daemon. Its methods may be called
// concurrently; those that ask or tell the owner need Serve to run, and return
// at once when it has ended.
type Keeper struct {
	cfg   Config
	ended chan struct{} // closed when Serve has ended
	n     atomic.Uint64 // the last Token.N
	table atomic.Pointer[table]

	// Owned by the goroutine of Serve (before it runs, by New).
	groups      map[string]*group
	moved       []*seat // whose waiters are to be looked at
	rivalry     map[drey.ProfileID]*rivalry
	uncommitted int             // submitted to the journal and not answered
	working     int             // goroutines whose end is still to come
	restarting  int             // restart commands among those
	awaited     []condition     // what callers wait for
	effects     context.Context // of what runs beside the owner; ends when Serve is asked to end
	quiet       bool            // machines begin nothing new (Quiet)
	settled     bool            // groups begin nothing new either (Settle)
	ending      bool            // Serve is asked to end
	survivors   []survivor      // processes of an earlier daemon
	cleared     chan struct{}

	wg sync.WaitGroup // every goroutine that runs beside the owner

	mu    sync.Mutex
	inbox []note
	spare []note             // what the owner has read, to be filled again
	now   chan struct{}      // holds one: somebody waits for the owner
	soon  chan struct{}      // holds one: the inbox was empty, and nobody waits
	round context.CancelFunc // of the round of continuous probing that runs; nil = none

	rest   atomic.Uint32 // a Rest
	still  atomic.Bool   // no continuous probing (Quiet)
	rounds chan struct{} // holds one while a round runs
	stir   chan struct{} // holds one: continuous probing should look again
}

// table is what is known without asking the owner. It is replaced whole.
type table struct {
	settings *Settings
	seats    map[drey.ProviderID]*seat
	order    []*seat // in file order
}

// note is one thing that happened. Those of the hot path are values; anything
// else is a function that the owner runs.
type note struct {
	do func()

	seat  *seat
	epoch uint64
	n     uint64
	at    time.Time
	began bool              // the attempt has left; else it has ended
	cut   func(cause error) // of one that began
	// Of one that ended, and decides nothing:
	ok         bool
	firstToken time.Duration
	tokens     int
}

func (n *note) token() health.Token {
	return health.Token{Provider: n.seat.id, Epoch: n.epoch, N: n.n}
}

// spareNotes is the largest inbox that is kept for the next notes.
const spareNotes = 1 << 13

// New returns a Keeper with everything that the journal holds taken up again.
// Rows that cannot be taken up are dropped, with one event each. The error is
// the journal's.
func New(ctx context.Context, cfg Config, s Settings) (*Keeper, error) {
	if cfg.Redact == nil {
		cfg.Redact = func(s string) string { return s }
	}
	if cfg.Random == nil {
		cfg.Random = func() float64 { return 0.5 }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Start == nil {
		cfg.Start = startProcess
	}
	if cfg.Run == nil {
		cfg.Run = process.Run
	}
	if cfg.Metrics == nil {
		cfg.Metrics = newMetrics()
	}
	k := &Keeper{
		cfg: cfg, ended: make(chan struct{}), groups: map[string]*group{}, rivalry: map[drey.ProfileID]*rivalry{},
		cleared: make(chan struct{}), now: make(chan struct{}, 1), soon: make(chan struct{}, 1),
		rounds: make(chan struct{}, 1), stir: make(chan struct{}, 1),
	}
	k.table.Store(&table{settings: &Settings{}})
	if err := k.load(ctx, &s); err != nil {
		return nil, err
	}
	k.cfg.Metrics.watch(k)
	return k, nil
}

// Serve owns the machines until ctx ends; then it ends probes and restart
// commands, saves what must survive, stops the processes with their grace, and
// returns when all of that is over.
func (k *Keeper) Serve(ctx context.Context) error {
	effects, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	k.effects = effects
	defer k.wg.Wait()
	defer close(k.ended) // who waits for the owner must not be waited for
	k.wg.Go(func() { k.patrol(effects) })
	k.open()

	timer, company := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer timer.Stop()
	defer company.Stop()
	for {
		k.read()
		timer.Reset(k.tick())
		k.tellAwaited()
		var done <-chan struct{}
		if !k.ending {
			done = ctx.Done()
		} else if k.idle() {
			return nil
		}
		select {
		case <-k.now:
		case <-k.soon:
			company.Reset(gather)
			select {
			case <-company.C:
			case <-k.now:
			case <-timer.C:
			case <-done:
			}
		case <-timer.C:
		case <-done:
			k.shutdown(stop)
		}
	}
}

// idle reports whether nothing runs beside the owner and everything is durable.
func (k *Keeper) idle() bool { return k.working == 0 && k.uncommitted == 0 }

// shutdown begins the end of Serve: what runs beside the owner is asked to end,
// who waits is turned away, counts are saved.
func (k *Keeper) shutdown(stop context.CancelCauseFunc) {
	k.ending = true
	k.still.Store(true)
	k.hush()
	stop(errStopping)
	for _, s := range k.everybody() {
		k.turnAway(s, &health.Refused{Reason: "shutdown"})
	}
	k.settle()
}

// seat returns the seat of a provider; nil if there is none.
func (k *Keeper) seat(id drey.ProviderID) *seat { return k.table.Load().seats[id] }

// post hands the owner something to do, and wakes it.
func (k *Keeper) post(do func()) {
	k.mu.Lock()
	k.inbox = append(k.inbox, note{do: do})
	k.mu.Unlock()
	select {
	case k.now <- struct{}{}:
	default: // it is about to look
	}
}

// jot hands the owner what nobody waits for.
func (k *Keeper) jot(n note) {
	k.mu.Lock()
	k.inbox = append(k.inbox, n)
	many := len(k.inbox)
	k.mu.Unlock()
	wake := k.soon
	switch many {
	case 1:
	case spareNotes / 2: // it must not outgrow what is kept for the next ones
		wake = k.now
	default:
		return
	}
	select {
	case wake <- struct{}{}:
	default: // it is about to look
	}
}

// wait hands the owner something to do and returns when it is done, or Serve
// has ended.
func (k *Keeper) wait(do func()) {
	done := make(chan struct{})
	k.post(func() {
		do()
		close(done)
	})
	select {
	case <-done:
	case <-k.ended:
	}
}

// read takes in everything that has happened so far. What happens meanwhile has
// its own wake-up and waits for the next turn, so that timers are never late
// because of traffic.
func (k *Keeper) read() {
	k.mu.Lock()
	notes := k.inbox
	k.inbox, k.spare = k.spare[:0], nil
	k.mu.Unlock()
	for i := range notes {
		n := &notes[i]
		switch {
		case n.do != nil:
			n.do()
		case n.began:
			k.attemptBegan(n.seat, n.token(), n.cut, n.at)
		default:
			k.attemptEnded(n.seat, health.Pass{Token: n.token()}, health.Ending{
				OK: n.ok, Class: drey.Cancel, FirstToken: n.firstToken, Tokens: n.tokens,
			}, n.at)
		}
		k.lookAtWaiters()
	}
	if cap(notes) <= spareNotes {
		clear(notes)
		k.mu.Lock()
		k.spare = notes[:0]
		k.mu.Unlock()
	}
	k.rank()
	if k.cfg.Counters != nil {
		if d := k.cfg.Metrics.takeDelta(); len(d) > 0 {
			k.cfg.Counters.AddCounters(d)
		}
	}
}

// tick does what is due and returns how long nothing will be.
func (k *Keeper) tick() time.Duration {
	const idle = time.Hour
	now := time.Now()
	for _, s := range k.everybody() {
		if !s.due.IsZero() && !now.Before(s.due) {
			s.due = time.Time{}
			k.step(s, health.Tick{Meta: k.meta(s)})
			k.tellDrainers(s)
		}
		k.expire(s, now)
	}
	for name, g := range k.groups {
		if !g.due.IsZero() && !now.Before(g.due) {
			g.due = time.Time{}
			k.groupStep(g, health.GroupTick{GroupMeta: k.groupMeta()}, nil)
		}
		if len(g.policy.Members) == 0 && len(g.g.Members) == 0 {
			delete(k.groups, name)
		}
	}
	k.lookAtWaiters()
	next := now.Add(idle)
	at := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, s := range k.everybody() {
		at(s.due)
		for _, w := range s.line {
			at(w.until)
		}
		for _, w := range s.jury {
			at(w.until)
		}
	}
	for _, g := range k.groups {
		at(g.due)
	}
	return max(0, time.Until(next))
}

func (k *Keeper) everybody() []*seat { return k.table.Load().order }

// meta is what an event carries that nobody asked for: its cause is the last
// event of the provider's story, if it is in one.
func (k *Keeper) meta(s *seat) health.Meta {
	return health.Meta{At: time.Now(), Cause: s.inStory(), Rand: k.cfg.Random()}
}

func (k *Keeper) groupMeta() health.GroupMeta { return health.GroupMeta{At: time.Now()} }
