package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/dormancy"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/statedir"
)

// layer is a group of parts that end together: its context is cancelled, and
// then it is waited for.
type layer struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newLayer() *layer {
	l := &layer{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// run starts a part. An error of one that has not been asked to stop goes to
// failed.
func (l *layer) run(failed chan<- error, serve func(context.Context) error) {
	l.wg.Go(func() {
		if err := serve(l.ctx); err != nil && l.ctx.Err() == nil {
			select {
			case failed <- err:
			default: // one reason to stop is enough
			}
		}
	})
}

func (l *layer) stop() {
	l.cancel()
	l.wg.Wait()
}

// hibernateWithin is how long the process may take to end behind the point of
// no return. Source: the lifecycle contract §7.5.
const hibernateWithin = 5 * time.Second

// serve runs what boot has built until ctx ends, the daemon hibernates or a part
// fails, and then stops it: doors, work, state, last event, store, logs.
func (d *Daemon) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	hibernated := make(chan struct{})
	doors, chores, sleepers, keepers, registries := newLayer(), newLayer(), newLayer(), newLayer(), newLayer()
	books, writers, logs := newLayer(), newLayer(), newLayer()
	for _, l := range d.logs() {
		logs.run(failed, l.Serve)
	}
	writers.run(failed, d.bus.Serve)
	books.run(failed, d.ledger.Serve)
	books.run(failed, d.captures.Serve)
	keepers.run(failed, d.keeper.Serve)
	keepers.run(failed, d.cashier.Serve)
	registries.run(failed, d.operations.Serve)
	sleepers.run(failed, func(ctx context.Context) error {
		err := d.owner.Serve(ctx)
		if errors.Is(err, dormancy.ErrHibernated) {
			close(hibernated)
			return nil
		}
		return err
	})
	doors.run(failed, func(ctx context.Context) error {
		return d.server.Serve(ctx, []net.Listener{d.tcp}, []net.Listener{d.unix})
	})
	if d.scrape != nil {
		doors.run(failed, d.serveMetrics)
	}
	for _, chore := range []func(context.Context) error{d.watch, d.learn, d.rest, d.mind, d.tidy} {
		chores.run(failed, chore)
	}

	if !d.announced {
		d.bus.Emit(d.startup())
	}
	d.loaded(d.conf.Load())
	d.banner()
	d.tellManager(activation.Ready)
	if d.opts.Ready != nil {
		d.opts.Ready(d.tcp.Addr().String())
	}

	var err error
	reason, hurried := "signal", false
	select {
	case <-ctx.Done():
	case <-hibernated:
		reason = "hibernation"
		defer time.AfterFunc(hibernateWithin, func() { os.Exit(0) }).Stop()
	case err = <-failed:
		reason = "error"
		d.log.Error("part-failed", "error", err)
	}

	d.tellManager(activation.Stopping)
	chores.cancel() // and waited for behind closed doors
	if reason == "hibernation" {
		d.server.Farewell() // everything else has been closed on the way
	} else {
		sleepers.stop()
		hurried = d.drain()
	}
	chores.stop()
	doors.stop()
	sleepers.stop()
	registries.stop() // what was decided is durable
	keepers.stop()    // health and budgets are saved, processes are stopped
	books.stop()      // requests are written down, sums are saved
	d.gateway.Close()
	d.emit(drey.Info, "drey-shutdown", drey.F("reason", reason))
	writers.stop() // the last event is journaled and in the audit log
	d.homeWatch.Close()
	if cerr := d.store.Close(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	if aerr := d.record.Append(lifecycle.DaemonStopped(time.Now(), os.Getpid(), reason)); aerr != nil {
		d.log.Warn("lifecycle-log-not-written", "error", aerr)
	}
	logs.stop()
	for _, l := range d.logs() {
		l.Close()
	}
	d.log.Info("drey-shutdown", "reason", reason)
	d.lock.Release()
	if hurried {
		return errors.Join(err, errHurried)
	}
	return err
}

// tellManager tells the service manager something, if there is one that asks.
func (d *Daemon) tellManager(tell func() error) {
	if err := tell(); err != nil {
		d.log.Warn("manager-not-told", "error", err)
	}
}

// logs are the logs that are on.
func (d *Daemon) logs() []*statedir.Log {
	var on []*statedir.Log
	for _, l := range []*statedir.Log{d.audit, d.requests} {
		if l != nil {
			on = append(on, l)
		}
	}
	return on
}

// errHurried says that answers were cut because the stop was asked for twice.
var errHurried = &drey.Error{Op: "stop", Err: errors.New("answers under way were cut, because the stop was asked for twice")}

// drain closes the doors and lets answers under way end, for the configured
// time at most; what is left then is cut, and told so. It reports whether somebody was
// in a hurry.
func (d *Daemon) drain() (hurried bool) {
	most := orElse(d.opts.test.drain, d.conf.Load().file.Lifecycle.DrainTimeout.D())
	ctx, cancel := context.WithTimeout(context.Background(), most)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-d.opts.Hurry: // nil waits for ever
			cancel()
		case <-ctx.Done():
		}
	})
	wg.Go(d.keeper.Quiet) // the doors are closed at once
	if n := d.server.InFlight(); n > 0 {
		d.log.Info("draining", "in_flight", n, "timeout", most.String())
	}
	if err := d.server.Drain(ctx); err != nil {
		d.log.Warn("drain-ended", "error", err)
		d.server.Cancel(server.ErrDraining)
		return !errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	if err := d.keeper.AwaitRestarts(ctx); err != nil { // they get what is left of the time
		d.log.Warn("restart-cut", "error", err)
		return !errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	return false
}

// serveMetrics serves /metrics and nothing else, on a door of its own.
func (d *Daemon) serveMetrics(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.scraped)
	srv := &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 3 * time.Minute,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // a scrape can be repeated
	defer stop()
	if err := srv.Serve(d.scrape); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
