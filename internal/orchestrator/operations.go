// Package orchestrator keeps operations: it is the shell around the machine of
// internal/operation. It takes calls, has them decided, journals what they
// change, and only then shows it: to callers, to those who watch and wait, to
// lists and to the bus. The runtime of mobs stands on it.
//
// The contract is the operations contract; section numbers in comments are
// its.
package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

// Journal is what Operations need of the store.
type Journal interface {
	Submit(done func(store.Commit, error), appends ...store.Append)
	Load(ctx context.Context, machine, id string) (store.State, error)
	Snapshots(ctx context.Context, machine string) ([]store.State, error)
	SnapshotsAfter(ctx context.Context, machine, after string, limit int) ([]store.State, error)
	Query(ctx context.Context, q store.Query) (store.Page, error)
	Head(ctx context.Context) (drey.Seq, error)
	Epoch() uint64
}

// Bus shows events that have been journaled. It is called from the journal's
// callback, where the order of seq is given.
type Bus interface {
	Committed(evs ...drey.Event)
}

// Runtime runs the children whose lives the operations record. A call never
// comes twice at the same time for one operation, but calls for different ones
// do.
type Runtime interface {
	// ChildLeft reports, of an operation that was retiring when the process
	// ended, whether there is still something to dispose of. It is asked
	// within New and must not call Operations.
	ChildLeft(op operation.Snapshot) bool
	// TakeUp goes on with an operation after a restart: a running one runs
	// again when it returns, of a retiring one the disposal has been begun
	// again. A running one that cannot be taken up fails with the error; a
	// retiring one stays so.
	TakeUp(ctx context.Context, op operation.Snapshot) error
	// StopWork says that an operation was ended from outside (cancelled,
	// terminated): what still works for it shall stop. It must not block.
	StopWork(op operation.Snapshot)
}

// Config is what Operations work with. Everything but Policy may be left out.
type Config struct {
	// Journal keeps everything; nil = nothing survives the process.
	Journal Journal
	Bus     Bus // nil = nobody listens
	Policy  operation.Policy
	Runtime Runtime  // nil = nobody runs children: after a restart none can be taken up
	Metrics *Metrics // nil = nobody counts
	// Work says that an operation has become work for the lifecycle (§8): a
	// background tool that lives, or anything that is being provisioned. What
	// it returns is called once, when that is over. Both are called by the
	// owner, before the call that did it is answered; they must not block. New
	// calls Work for what the restart has left, and Serve ends what is open when
	// it ends. nil = nobody needs to know.
	Work func() (end func())
	// Cause journals the event of the daemon's start and returns its place, which
	// restarts of operations name as their cause. New calls it if there are any;
	// nil = they have none.
	Cause func(ctx context.Context) (drey.Seq, error)
	Log   *slog.Logger
	Now   func() time.Time // nil = time.Now: the seam of tests
}

// Operations are all registries of one store. A registry is a scope of them
// (Registry): ids, owners and bindings are the whole store's, so one goroutine
// decides for all, and no two registries ever have to agree on anything.
//
// That goroutine, of Serve, owns what is decided: it takes calls in the order
// of their arrival, steps the machines, hands rows to the journal and goes on
// without waiting. What the journal has committed it publishes. Readers see
// published state only; they ask nobody.
//
// Methods may be called concurrently. Those that change something need Serve
// to run; the end of their context ends the waiting and not the call.
type Operations struct {
	cfg   Config
	epoch uint64
	base  time.Time     // the clock's start: a wall time with a monotonic reading
	ended chan struct{} // closed when Serve has ended
	wake  chan struct{} // holds one: the inbox has something

	// Owned by the goroutine of Serve (before it runs, by New).
	policy      operation.Policy
	liveByOwner family // as decided
	liveByChild family
	goesByOwner family // whose ending or change of owner is in flight, published before or not
	goesByChild family
	bindings    map[string]*fact[Binding] // by session
	fences      map[string]*fact[fence]   // by owner
	cause       drey.Seq                  // of what a restart brings with it
	tickets     uint64                    // the last one's number
	inFlight    int                       // tickets that the journal has not answered
	unarchived  []*entry                  // evicted, and the archive did not take them
	takeUps     []*entry                  // what the restart has to take up
	drafted     []*entry                  // entries whose draft the present turn has set

	inboxMu sync.Mutex
	inbox   []note
	spare   []note
	closing bool // calls are refused

	mu        sync.RWMutex // what readers see; the owner is the only one who writes, but for watches, waits and pins
	entries   map[operation.ID]*entry
	all       index
	byOwner   map[string]*index // operations that are retained
	byChild   map[string]*index
	byState   map[state]*index
	byLabel   map[label]*index
	scopes    map[operation.RegistryID]*scope
	bound     map[string]Binding      // what is published of bindings
	archiving map[operation.ID]*entry // evicted, and not yet in the archive
	evicted   memory[operation.ID]    // of this process
	gone      memory[string]          // the child sessions of those, of members
	head      drey.Seq                // the last event that is published, or was there at the start
	watches   int
	waits     int
	pinned    int
	census    map[population]int
	refusal   error // why nothing is answered any more; nil while all is well
}

// scope is a registry as the owner keeps it.
type scope struct {
	id operation.RegistryID

	live        int       // as decided: what max_concurrent counts
	registering []*ticket // registrations in flight, oldest first
	leaving     []*entry  // whose ending is in flight

	all     index   // guarded by Operations.mu
	endings endings // guarded by Operations.mu
}

// population is a line of the gauge of operations.
type population struct {
	registry, kind, status string
}

// New returns Operations with everything that the journal holds taken up again:
// what a restart ends has ended, durably, before it returns. The error is the
// journal's.
func New(ctx context.Context, cfg Config) (*Operations, error) {
	if cfg.Journal == nil {
		cfg.Journal = &ephemeral{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = newMetrics()
	}
	o := &Operations{
		cfg: cfg, epoch: cfg.Journal.Epoch(), base: cfg.Now(), policy: cfg.Policy,
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
		liveByOwner: family{}, liveByChild: family{}, goesByOwner: family{}, goesByChild: family{},
		bindings: map[string]*fact[Binding]{}, fences: map[string]*fact[fence]{},
		entries: map[operation.ID]*entry{}, byOwner: map[string]*index{}, byChild: map[string]*index{},
		byState: map[state]*index{}, byLabel: map[label]*index{}, scopes: map[operation.RegistryID]*scope{}, bound: map[string]Binding{},
		archiving: map[operation.ID]*entry{}, census: map[population]int{},
	}
	if err := o.load(ctx); err != nil {
		return nil, fmt.Errorf("take up operations: %w", err)
	}
	if err := o.recover(ctx); err != nil {
		return nil, fmt.Errorf("take up operations: %w", err)
	}
	for _, e := range o.entries {
		o.work(e)
	}
	cfg.Metrics.watch(o)
	return o, nil
}

// Serve decides calls until ctx ends. Then it refuses new ones, waits until the
// journal has answered for those that were decided, closes watches and waits,
// and returns when all that it started has ended.
func (o *Operations) Serve(ctx context.Context) error {
	defer close(o.ended)
	effects, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { o.takeUp(effects) })
	for {
		o.read()
		select {
		case <-o.wake:
			continue
		case <-ctx.Done():
		}
		break
	}
	o.inboxMu.Lock()
	o.closing = true
	o.inboxMu.Unlock()
	for o.read(); o.inFlight > 0; o.read() {
		<-o.wake
	}
	o.closeReaders()
	o.endWork()
	return nil
}

// Apply puts another policy in force: for the calls that come now, and for what
// is retained.
func (o *Operations) Apply(ctx context.Context, p operation.Policy) error {
	return o.ask(ctx, operation.NoAction, operation.ID{}, func(t *turn) error {
		o.policy = p
		for _, s := range o.scopes {
			o.retain(s)
		}
		return nil
	}, nil)
}

// Epoch returns the process's epoch, which a handle for work that may outlive
// the process carries with the operation's id.
func (o *Operations) Epoch() uint64 { return o.epoch }

// now is wall time at the start and the monotonic clock since: it never goes
// back while the process lives.
func (o *Operations) now() time.Time { return o.base.Add(o.cfg.Now().Sub(o.base)) }

// policyOf is the policy of one registry. Members that nobody has bound are not
// limited (§9, New).
func (o *Operations) policyOf(r operation.RegistryID) operation.Policy {
	p := o.policy
	if r == operation.Fallback {
		p.MaxConcurrent = nil
	}
	return p
}

// closed is the refusal of a call when Serve has ended or ends.
func closed(action operation.Action, id operation.ID) error {
	return &operation.Error{Code: operation.CodeClosed, Action: action, ID: id}
}

// unavailable turns an error of the store into the registry's.
func unavailable(action operation.Action, id operation.ID, err error) error {
	if e, ok := errors.AsType[*operation.Error](err); ok {
		return &operation.Error{Code: e.Code, Action: action, ID: id, Err: e.Err}
	}
	code := operation.CodeStoreUnavailable
	switch {
	case errors.Is(err, store.ErrEpoch):
		code = operation.CodeNotOwner
	case errors.Is(err, store.ErrClosed):
		code = operation.CodeClosed
	}
	return &operation.Error{Code: code, Action: action, ID: id, Err: err}
}
