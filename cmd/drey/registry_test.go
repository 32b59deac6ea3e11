package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/orchestrator"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// registryUnderTest is the program `registry` of scripts: the registry of a home
// behind the real control socket, with a runtime that takes up everything, until
// it is killed. Nothing in a daemon begins operations yet; here POST
// /CALL?id=ID&text=TEXT does, at the address that it tells when it is ready.
// register also takes owner, child and mob.
func registryUnderTest() {
	if err := serveRegistry(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		report("exit 1")
		os.Exit(1)
	}
}

func serveRegistry(ctx context.Context) error {
	home, err := statedir.Open(os.Getenv("DREY_HOME"))
	if err != nil {
		return err
	}
	lock, err := statedir.WaitLock(ctx, home.Lock(), patience)
	if err != nil {
		return err
	}
	st, err := sqlite.Open(ctx, sqlite.Options{Path: home.DB(), Lock: lock})
	if err != nil {
		return err
	}
	bus := events.New(events.Config{Journal: st})
	policy := operation.DefaultPolicy()
	policy.MaxCompleted = 2
	ops, err := orchestrator.New(ctx, orchestrator.Config{Journal: st, Bus: bus, Policy: policy, Runtime: willing{}})
	if err != nil {
		return err
	}
	socket, err := home.Socket()
	if err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	control, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	calls, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	doors := server.New(server.Config{Version: "test", Journal: st, Rows: st, Bus: bus, Operations: ops})
	failed := make(chan error)
	go func() { failed <- bus.Serve(ctx) }()
	go func() { failed <- ops.Serve(ctx) }()
	go func() { failed <- doors.Serve(ctx, nil, []net.Listener{control}) }()
	go func() { failed <- http.Serve(calls, caller{ops}) }()
	report("ready " + calls.Addr().String())
	return <-failed
}

// willing takes up every operation after a restart, and does nothing for it.
type willing struct{}

func (willing) ChildLeft(operation.Snapshot) bool                { return true }
func (willing) TakeUp(context.Context, operation.Snapshot) error { return nil }
func (willing) StopWork(operation.Snapshot)                      {}

// caller makes the calls of a script.
type caller struct{ ops *orchestrator.Operations }

func (c caller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id, err := operation.ParseID(q.Get("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	meta, text := operation.Meta{ID: id}, q.Get("text")
	switch r.URL.Path {
	case "/register":
		spec := operation.Spec{ID: id, Kind: operation.BackgroundTool, OnRestart: operation.Resume, Owner: q.Get("owner"), Name: text}
		if spec.Child = q.Get("child"); spec.Child != "" {
			spec.Kind = operation.MemberChild
		}
		_, err = c.ops.Registry(operation.MobRegistry(q.Get("mob"))).Register(r.Context(), spec, operation.Meta{})
		if err == nil {
			_, err = c.ops.Do(r.Context(), operation.Provisioned{Meta: meta})
		}
	case "/progress":
		_, err = c.ops.Do(r.Context(), operation.ReportProgress{Meta: meta, Update: operation.ProgressUpdate{Message: text}})
	case "/complete":
		_, err = c.ops.Do(r.Context(), operation.Complete{Meta: meta, Result: operation.Result{Content: text}})
	case "/fail":
		_, err = c.ops.Do(r.Context(), operation.Fail{Meta: meta, Error: text})
	case "/retire":
		_, err = c.ops.DoAll(r.Context(), orchestrator.Batch{Calls: []operation.Event{
			operation.RequestRetire{Meta: meta}, operation.MarkRetired{Meta: meta},
		}})
	default:
		err = fmt.Errorf("no call %s", r.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	fmt.Fprintln(w, "done")
}
