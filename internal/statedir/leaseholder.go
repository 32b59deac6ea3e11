package statedir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/dreyhq/drey"
)

// LeaseHolder keeps this process's lease fresh until Close. It is safe for
// concurrent use.
type LeaseHolder struct {
	path  string
	lease leaseFile
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// HoldLease writes a lease for a client of the home and refreshes it every
// 30 s. client is what it calls itself; active says that it works without
// calling, which keeps the daemon awake. A lease that cannot be written at
// once is an error. One that cannot be refreshed later is tried again: until
// then the client is merely not seen.
func HoldLease(h Home, client string, active bool) (*LeaseHolder, error) {
	pid, uuid, version, schema := os.Getpid(), newUUID(), clientVersion(), leaseSchema
	started := drey.FormatTime(time.Now())
	l := &LeaseHolder{
		path: filepath.Join(h.Wrappers(), fmt.Sprintf("heartbeat-%d-%s.json", pid, uuid)),
		lease: leaseFile{
			PID: &pid, UUID: &uuid, StartedAt: &started, Version: &version, Schema: &schema,
			Active: active, Client: client,
		},
	}
	if err := l.refresh(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.wg.Go(func() { l.serve(ctx) })
	return l, nil
}

// Path returns the lease's file.
func (l *LeaseHolder) Path() string { return l.path }

// Close ends the refreshing and deletes the lease. A second one does nothing.
func (l *LeaseHolder) Close() error {
	l.stop()
	l.wg.Wait()
	if err := os.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (l *LeaseHolder) serve(ctx context.Context) {
	t := time.NewTicker(leaseRefresh)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = l.refresh() // tried again in 30 s
		case <-ctx.Done():
			return
		}
	}
}

// refresh rewrites the lease. It is not synced: after a power cut its process
// is gone as well, and a sleeping disk is not woken for it.
func (l *LeaseHolder) refresh() error {
	now := drey.FormatTime(time.Now())
	f := l.lease
	f.LastRefresh = &now
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := makeDir(filepath.Dir(l.path)); err != nil {
		return err
	}
	return realDisk.replace(l.path, "."+filepath.Base(l.path)+".*"+tempSuffix, append(b, '\n'), false)
}

// clientVersion is the version that this program was built as.
func clientVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
