// Package daemon builds the house, supervises it and stops it in order. It is
// the only package that knows everybody: what one floor needs of another it
// hands over here.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/cashier"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/discover"
	"github.com/dreyhq/drey/internal/dormancy"
	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/healing"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/orchestrator"
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/statedir"
)

// Options say which daemon to run. The zero value of an optional field is its
// default.
type Options struct {
	Version string
	Home    string // absolute path of the home
	Config  string // the file that was named; "" = drey.yaml in the home, if there is one
	// Env looks up a variable; nil = the process's environment.
	Env func(string) (string, bool)
	// Log takes what the daemon says to people and their tools; nil = nothing.
	// Level follows logs.level.
	Log   *slog.Logger
	Level *slog.LevelVar
	// Banner takes the few lines that tell a person what was found and what a
	// client should set; nil = none.
	Banner io.Writer
	// Hurry ends every wait of a stop at once when it is closed; nil = never.
	Hurry <-chan struct{}
	// Ready is called when the doors are open, with the address of the agents'
	// API; nil = nobody is told.
	Ready func(addr string)
	// Inherited is what the process was started with; nil = nothing.
	Inherited *activation.Inherited
	// ShadowRun goes through all states without ever ending the process, as
	// lifecycle.shadow_run does.
	ShadowRun bool

	// Look finds providers where there is no configuration; nil = on this
	// machine and in the environment. Demo plays demo:
	// providers; nil = internal/fake. Both are the seams of tests and of
	// `drey demo`.
	Look func(ctx context.Context) []discover.Found
	Demo func(url string) (http.RoundTripper, error)

	test seams
}

// seams are where this package's tests reach in; the zero value is the real
// thing.
type seams struct {
	addr                  string // instead of listen.addr
	lockWait, drain, look time.Duration
	refuse, standBy       time.Duration // instead of the constants of these names
}

// Daemon is a running drey. What it is made of is fixed at the start; conf is
// swapped by reloads, which take turns by reloading.
type Daemon struct {
	opts    Options
	started time.Time
	log     *slog.Logger

	home     statedir.Home
	lock     *statedir.Lock
	loader   *loader
	store    kept
	audit    *statedir.Log // nil if it is off
	requests *statedir.Log // nil if it is off
	bus      *events.Bus
	metrics  *gateway.Metrics
	ledger   *gateway.Ledger
	captures *gateway.Captures
	keeper   *healing.Keeper
	healed   *healing.Metrics
	cashier  *cashier.Cashier
	gateway  *gateway.Gateway
	server   *server.Server

	scraped http.Handler // answers /metrics

	operations *orchestrator.Operations
	announced  bool // drey-startup is journaled

	record    *statedir.Lifecycle // the owner's alone, from its Boot on
	owner     *dormancy.Owner
	homeWatch *statedir.HomeWatch
	sleep     *sleepMetrics
	rests     chan lifecycle.State // holds one: the state that providers do not know of yet
	upkept    chan struct{}        // holds one: upkeep has ended, and left something to give back
	state     atomic.Uint32        // lifecycle.State

	tcp, unix, scrape net.Listener // scrape is nil without telemetry.metrics_listen

	hup     chan os.Signal // asks for a reload
	strange chan struct{}  // holds one: there may be providers that have not been asked about themselves

	reloading sync.Mutex // guards what loader remembers, and secrets
	secrets   []string   // every secret that was ever in force
	conf      atomic.Pointer[generation]
	redactor  atomic.Pointer[redact.Redactor]

	ballast []byte // kept for the collector's pace; see newBallast
}

// Run starts a daemon, serves until ctx ends or it hibernates, and stops it in
// order. Errors before the doors are open are about the configuration (Code
// "config"), the lock ("locked") or this machine; under inherited listeners
// they are told to those who wait there before Run returns.
func Run(ctx context.Context, o Options) error {
	d, err := boot(ctx, o)
	if err != nil {
		refuseWaiting(ctx, o, err)
		return err
	}
	return d.serve(ctx)
}

// boot builds everything, in the one order: umask, lock, configuration, record,
// listeners, store, lifecycle (the lifecycle contract §7.1). What it has built
// when it fails is undone; what was inherited stays.
func boot(ctx context.Context, o Options) (_ *Daemon, err error) {
	restrictUmask()
	d := &Daemon{opts: o, started: time.Now(), log: slog.New(slog.DiscardHandler), hup: make(chan os.Signal, 1), strange: make(chan struct{}, 1), rests: make(chan lifecycle.State, 1), upkept: make(chan struct{}, 1), ballast: newBallast()}
	d.redactor.Store(redact.New())
	if o.Log != nil {
		d.log = slog.New(&redacting{o.Log.Handler(), d.redactString})
	}
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()

	if d.home, err = statedir.Open(o.Home); err != nil {
		return nil, fmt.Errorf("make the home: %w", err)
	}
	d.loader = newLoader(o, d.home)
	if d.lock, err = statedir.WaitLock(ctx, d.home.Lock(), orElse(o.test.lockWait, d.loader.lockWait())); err != nil {
		return nil, lockError(err)
	}
	undo = append(undo, d.lock.Release)

	d.loader.redact = d.redactString
	gen, err := d.loader.load(ctx)
	if err != nil {
		return nil, err
	}
	d.loader.pinned = gen.file
	if err := d.openRecord(); err != nil {
		return nil, err
	}
	if err := d.listen(gen); err != nil {
		return nil, err
	}
	undo = append(undo, d.closeListeners)
	d.know(gen)
	d.adopt(gen)

	if d.store, err = d.openStore(ctx, gen.store); err != nil {
		return nil, err
	}
	undo = append(undo, func() {
		for _, l := range d.logs() {
			l.Close()
		}
		_ = d.store.Close() // the first error is the one to tell
	})
	if d.homeWatch, err = statedir.WatchHome(context.WithoutCancel(ctx), d.home); err != nil {
		return nil, err
	}
	undo = append(undo, d.homeWatch.Close)
	if err := d.build(ctx, gen); err != nil {
		return nil, err
	}
	d.wakeUp()
	// From here on the signal is a request and not the end of the process.
	signal.Notify(d.hup, syscall.SIGHUP)
	return d, nil
}

// build makes the shells and the doors, and hands each what it needs.
func (d *Daemon) build(ctx context.Context, gen *generation) error {
	logs := gen.file.Logs
	if logs.Audit {
		d.audit = d.openLog("audit-log-started", d.home.Audit(), logs.AuditMaxMB, logs.Keep)
	}
	if logs.Requests {
		d.requests = d.openLog("request-log-started", d.home.Requests(), logs.RequestsMaxMB, logs.Keep)
	}
	registry := prometheus.NewRegistry()
	d.metrics = gateway.NewMetrics(registry)
	d.healed = healing.NewMetrics(registry)
	d.sleep = newSleepMetrics(registry)
	if err := d.restore(ctx); err != nil {
		return err
	}
	bus := events.Config{
		Journal: d.store, Redact: d.redactBytes, Log: d.log,
		Unlogged: []string{"drey-shutdown"}, // the log's last line, after all that follows the event
	}
	ledger := gateway.LedgerConfig{Rows: d.store, Counters: d.store, Redact: d.redactBytes, Log: d.log}
	if d.audit != nil {
		bus.Audit = d.audit
	}
	if d.requests != nil {
		ledger.Requests = d.requests
	}
	d.bus = events.New(bus)
	ledger.Bus = d.bus
	d.ledger = gateway.NewLedger(ledger, d.metrics)
	d.captures = d.newCaptures()
	var err error
	d.keeper, err = healing.New(ctx, healing.Config{
		Journal: d.store, Bus: d.bus, Counters: d.store, Metrics: d.healed, Redact: d.redactString, Random: rand.Float64, Log: d.log,
		Hurry: d.opts.Hurry,
	}, gen.healing)
	if err != nil {
		return err
	}
	d.cashier, err = cashier.New(ctx, cashier.Config{Journal: d.store, Bus: d.bus, Log: d.log}, gen.budgets)
	if err != nil {
		return err
	}
	d.gateway, err = gateway.New(gateway.Config{
		Recorder: d.ledger, Healer: d.keeper, Cashier: d.cashier, Redact: d.redactString, InFlight: d.metrics.InFlight, Random: rand.Float64,
		Captures: d.captures,
	}, gen.settings)
	if err != nil {
		return configError(err)
	}
	d.owner = d.newOwner(ctx, gen)
	d.operations, err = orchestrator.New(ctx, orchestrator.Config{
		Journal: d.store, Bus: d.bus, Policy: policyOfOperations(&gen.file.Operations), Metrics: orchestrator.NewMetrics(registry), Log: d.log,
		Cause: d.announce, Work: d.owner.Begin,
	})
	if err != nil {
		return err
	}
	registry.MustRegister(&collector{d}, purse{d.cashier})
	d.scraped = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn)})
	var metrics http.Handler
	if gen.file.Telemetry.Metrics {
		metrics = d.scraped
	}
	d.server = server.New(server.Config{
		Version: d.opts.Version, Gateway: d.gateway, Daemon: d, Journal: d.store, Rows: d.store, Captures: capturesOf{d.store, d}, Bus: d.bus,
		Healer: d.healer(), Budgets: d.cashier, Operations: d.operations, Lifecycle: sleeper{d}, Begin: d.owner.Begin, Idle: idleConnection(&gen.file.Lifecycle),
		Metrics: metrics, Redact: d.redactBytes, Log: d.log, Doors: gen.doors,
	})
	return nil
}

func (d *Daemon) openLog(event, path string, maxMB, keep int) *statedir.Log {
	maxBytes := int64(maxMB) << 20
	l := statedir.OpenLog(statedir.LogConfig{Path: path, MaxBytes: maxBytes, Keep: keep, Warn: func(err error, dropped uint64) {
		if err != nil {
			d.log.Warn("log-not-written", "path", path, "error", err)
			return
		}
		d.log.Warn("log-written-again", "path", path, "dropped", dropped)
	}})
	d.log.Info(event, "path", path, "max_bytes", maxBytes)
	return l
}

// restore lets totals go on where the last daemon left them.
func (d *Daemon) restore(ctx context.Context) error {
	d.log.Info("state-store-attached", "state_dir", d.home.Root())
	saved, err := d.store.LoadCounters(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		d.log.Warn("state-dropped", "what", "counters", "error", err)
		return nil
	}
	theirs, ours := map[string]float64{}, map[string]float64{}
	for series, v := range saved {
		series = strings.ReplaceAll(series, "\x00", "\x1f") // as the first version joined them
		if d.healed.Owns(series) {
			theirs[series] += v
		} else {
			ours[series] += v
		}
	}
	for _, name := range append(d.metrics.Restore(ours), d.healed.Restore(theirs)...) {
		d.log.Warn("state-dropped", "what", name, "error", "no counter of this name and labels")
	}
	return nil
}

// listen binds the doors that were not inherited.
func (d *Daemon) listen(gen *generation) (err error) {
	defer func() {
		if err != nil {
			d.closeListeners()
		}
	}()
	in := d.inherit()
	if in.Control == nil {
		if err := d.unowned(); err != nil {
			return err
		}
	}
	if d.tcp, d.unix, d.scrape = in.Gateway, in.Control, in.Metrics; d.tcp == nil {
		addr := cmp.Or(d.opts.test.addr, gen.file.Listen.Addr)
		if d.tcp, err = net.Listen("tcp", addr); err != nil {
			return d.listenError("listen.addr", addr, err)
		}
	}
	if d.unix == nil {
		if d.unix, err = d.listenControl(); err != nil {
			return err
		}
	}
	if addr := gen.file.Telemetry.MetricsListen; addr != "" && d.scrape == nil {
		if d.scrape, err = net.Listen("tcp", addr); err != nil {
			return d.listenError("telemetry.metrics_listen", addr, err)
		}
	}
	return nil
}

// unowned returns an error if somebody listens at the control socket. We hold
// the lock, so that is no daemon but one who starts daemons, and who would go on
// waiting at a socket that nobody finds any more.
func (d *Daemon) unowned() error {
	path, err := d.home.Socket()
	if err != nil {
		return configError(err)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil // nobody; or nobody who could be asked, and the socket is replaced
	}
	_ = conn.Close() // nothing was said on it
	return &drey.Error{Code: "locked", Op: "take the control socket " + path, Err: errors.New("somebody else keeps it"),
		Hint: "`drey up`, or the system, keeps this home's doors and starts the daemon by itself, which is awake now; stop that one to serve by hand"}
}

// listenControl binds the control socket.
func (d *Daemon) listenControl() (net.Listener, error) {
	path, err := d.home.Socket()
	if err != nil {
		return nil, configError(err)
	}
	// Nobody listens there, and we hold the lock: it has been left behind.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace the old control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close() // nothing has been accepted from it
		return nil, fmt.Errorf("protect the control socket: %w", err)
	}
	return l, nil
}

// listenError says what to do about an address that cannot be had.
func (d *Daemon) listenError(key, addr string, err error) error {
	hint := "choose another " + key + " in " + d.loader.path()
	if errors.Is(err, syscall.EADDRINUSE) {
		hint = "another program has this address; stop it, or " + hint
	}
	return &drey.Error{Class: drey.Internal, Op: "listen on " + addr, Err: err, Hint: hint}
}

// closeListeners closes those that are drey's own.
func (d *Daemon) closeListeners() {
	in := d.inherit()
	for _, l := range []net.Listener{d.tcp, d.unix, d.scrape} {
		if l != nil && l != in.Gateway && l != in.Control && l != in.Metrics {
			_ = l.Close() // nothing has been accepted from it
		}
	}
}

// fatal is the store's word that nobody knows what is on disk: the process must
// stop, and the next one reads what is true.
func (d *Daemon) fatal(err error) {
	d.log.Error("store-unsettled", "error", err)
	told := make(chan struct{})
	go func() {
		d.owner.Note(lifecycle.DaemonStopped(time.Now(), os.Getpid(), "error"))
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(time.Second): // the disk that failed the store may hold this too
	}
	os.Exit(1)
}

// orElse is a time of a test, where there is one.
func orElse(test, real time.Duration) time.Duration {
	if test != 0 {
		return test
	}
	return real
}

// idleConnection is how long a connection without a request is kept: short
// enough that none is left when the process ends because nobody is there.
// Source: the lifecycle contract §7.5.
func idleConnection(l *config.Lifecycle) time.Duration {
	return min(2*time.Minute, l.DrowsyAfter.D()/2)
}

func lockError(err error) error {
	if !errors.Is(err, statedir.ErrLocked) {
		return err
	}
	return &drey.Error{Code: "locked", Op: "take the home's lock", Err: err,
		Hint: "one drey at a time serves a home; use the one that runs (`drey status`), stop it, or set another DREY_HOME"}
}

func configError(err error) error {
	return &drey.Error{Class: drey.Caller, Code: "config", Op: "configuration", Err: err, Hint: drey.HintOf(err)}
}
