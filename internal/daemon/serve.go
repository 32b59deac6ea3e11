package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/dreyhq/drey"
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

// serve runs what boot has built until ctx ends or a part fails, and then stops
// it: doors, work, state, last event, store, logs.
func (d *Daemon) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	doors, chores, keepers, books, writers, logs := newLayer(), newLayer(), newLayer(), newLayer(), newLayer(), newLayer()
	for _, l := range d.logs() {
		logs.run(failed, l.Serve)
	}
	writers.run(failed, d.bus.Serve)
	books.run(failed, d.ledger.Serve)
	keepers.run(failed, d.keeper.Serve)
	doors.run(failed, func(ctx context.Context) error {
		return d.server.Serve(ctx, []net.Listener{d.tcp}, []net.Listener{d.unix})
	})
	if d.scrape != nil {
		doors.run(failed, d.serveMetrics)
	}
	chores.run(failed, d.watch)
	chores.run(failed, d.learn)

	d.emit(drey.Info, "drey-startup", drey.F("version", d.opts.Version), drey.F("addr", d.tcp.Addr().String()))
	d.loaded(d.conf.Load())
	d.banner()
	if d.opts.Ready != nil {
		d.opts.Ready(d.tcp.Addr().String())
	}

	var err error
	reason := "signal"
	select {
	case <-ctx.Done():
	case err = <-failed:
		reason = "error"
		d.log.Error("part-failed", "error", err)
	}

	chores.cancel() // and waited for behind closed doors
	hurried := d.drain()
	chores.stop()
	doors.stop()
	keepers.stop() // health is saved, processes are stopped
	books.stop()   // requests are written down, sums are saved
	d.gateway.Close()
	d.emit(drey.Info, "drey-shutdown", drey.F("reason", reason))
	writers.stop() // the last event is journaled and in the audit log
	if cerr := d.store.Close(); cerr != nil {
		err = errors.Join(err, cerr)
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

// drain closes the doors and lets answers under way end, for drainTimeout at
// most; what is left then is cut, and told so. It reports whether somebody was
// in a hurry.
func (d *Daemon) drain() (hurried bool) {
	most := cmp.Or(d.opts.test.drain, drainTimeout)
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
