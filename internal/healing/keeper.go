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
	effects     context.Context // of what runs beside the owner; ends when Serve is asked to end
	quiet       bool            // nothing new is begun
	survivors   []survivor      // processes of an earlier daemon
	cleared     chan struct{}

	wg sync.WaitGroup // every goroutine that runs beside the owner

	mu    sync.Mutex
	inbox []note
	spare []note        // what the owner has read, to be filled again
	now   chan struct{} // holds one: somebody waits for the owner
	soon  chan struct{} // holds one: the inbox was empty, and nobody waits

	restless chan struct{} // closed when probing of any kind must end
	calm     sync.Once
	awake    chan struct{} // holds one: continuous probing should look again
	asleep   atomic.Bool   // the daemon is in SLEEP
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
const spareNotes = 4096

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
		restless: make(chan struct{}), awake: make(chan struct{}, 1),
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
	defer k.still()
	k.wg.Go(k.patrol)
	k.open()

	timer, company := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer timer.Stop()
	defer company.Stop()
	for ending := false; !ending || k.working > 0 || k.uncommitted > 0; {
		k.read()
		timer.Reset(k.tick())
		var done <-chan struct{}
		if !ending {
			done = ctx.Done()
		} else if k.working == 0 && k.uncommitted == 0 {
			break
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
			ending = true
			k.shutdown(stop)
		}
	}
	return nil
}

// Quiet ends probing, continuous and recovery, and saves what a kill would
// forget; results of attempts still count. It is the first step of a stop and
// returns when it is done.
func (k *Keeper) Quiet() {
	k.still()
	k.wait(k.hush)
}

// Asleep tells whether the daemon is in SLEEP, where probes are far apart and
// continuous probing pauses.
func (k *Keeper) Asleep(asleep bool) {
	k.wait(func() {
		if k.asleep.Swap(asleep) == asleep {
			return
		}
		for _, s := range k.everybody() {
			s.policy.Asleep = asleep
			k.step(s, health.PolicyChanged{Meta: k.meta(s)})
		}
		select {
		case k.awake <- struct{}{}:
		default:
		}
	})
}

// still ends the loops that probe.
func (k *Keeper) still() { k.calm.Do(func() { close(k.restless) }) }

// hush tells every machine that the daemon stops.
func (k *Keeper) hush() {
	if k.quiet {
		return
	}
	k.quiet = true
	for _, s := range k.table.Load().order {
		k.step(s, health.ShutdownBegan{Meta: k.meta(s)})
	}
}

// shutdown begins the end of Serve: what runs beside the owner is asked to end,
// who waits is turned away, counts are saved.
func (k *Keeper) shutdown(stop context.CancelCauseFunc) {
	k.hush()
	stop(errStopping)
	for _, s := range k.table.Load().order {
		for _, w := range append(s.line, s.jury...) {
			k.refuse(s, w, &health.Refused{Reason: "shutdown"})
		}
		s.line, s.jury = nil, nil
		k.save(s)
	}
	for _, g := range k.groups {
		k.groupStep(g, health.GroupShutdown{GroupMeta: k.groupMeta()}, nil)
	}
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
	first := len(k.inbox) == 1
	k.mu.Unlock()
	if first {
		select {
		case k.soon <- struct{}{}:
		default:
		}
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

// read takes in everything that happened.
func (k *Keeper) read() {
	for {
		k.mu.Lock()
		notes := k.inbox
		k.inbox, k.spare = k.spare[:0], nil
		k.mu.Unlock()
		if len(notes) == 0 {
			return
		}
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
			k.spare = notes
			k.mu.Unlock()
		}
		k.rank()
		if k.cfg.Counters != nil {
			if d := k.cfg.Metrics.takeDelta(); len(d) > 0 {
				k.cfg.Counters.AddCounters(d)
			}
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
