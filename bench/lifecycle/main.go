// Command lifecycle measures what sleeping costs and what waking costs: the
// figures of the lifecycle, each beside its limit and, where there is one,
// beside a reference that was measured in turns with it in the same run.
//
//   - the start of a daemon whose listener is inherited and where a request
//     waits, beside a bare net/http server that is started in the same way;
//   - a request that finds the daemon in DROWSY or SLEEP, beside the next one,
//     which finds it in WAKE;
//   - CPU and memory of a daemon that nobody uses, and of the waker, beside an
//     idle net/http server;
//   - durable dispatches of the lifecycle, beside the same system calls with
//     nothing around them.
//
// The defaults are a short form. What is published comes from
//
//	make build && go run ./bench/lifecycle -starts 400 -cold 60 -requests 200 -watch 10m -rounds 15
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

var (
	binary   = flag.String("drey", "bin/drey", "the drey to measure")
	rows     = flag.Int("rows", 200_000, "rows of the journal at the start")
	starts   = flag.Int("starts", 60, "starts with a warm page cache")
	cold     = flag.Int("cold", 15, "starts with the files dropped from the page cache; 0 = none")
	requests = flag.Int("requests", 40, "requests in each state")
	watch    = flag.Duration("watch", 10*time.Second, "how long a quiet daemon is watched")
	rounds   = flag.Int("rounds", 5, "windows of dispatches and of their reference")
	role     = flag.String("role", "", "internal: upstream or bare")
)

func main() {
	flag.Parse()
	switch *role {
	case "upstream":
		serveUpstream()
	case "bare":
		serveBare()
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := measure(ctx); err != nil {
			stop()
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

// lab is what the measurements share. Everything in dir goes at the end.
type lab struct {
	dir      string // on the disk that is measured; TMPDIR chooses it
	drey     string // a copy of the binary, so that dropping its pages disturbs nobody
	self     string
	upstream string // its address
}

func measure(ctx context.Context) (err error) {
	l := &lab{}
	if l.dir, err = os.MkdirTemp("", "drey-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	if l.self, err = os.Executable(); err != nil {
		return err
	}
	l.drey = filepath.Join(l.dir, "drey")
	if err := copyFile(l.drey, *binary, 0o755); err != nil {
		return err
	}
	addr, stop, err := l.startUpstream(ctx)
	if err != nil {
		return err
	}
	defer stop()
	l.upstream = addr

	fmt.Printf("%s/%s, %d cores, %s, load %s; homes in %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), load(), filepath.Dir(l.dir))
	for _, part := range []func(context.Context) error{l.measureStarts, l.measureStates, l.measureQuiet, l.measureDispatches} {
		fmt.Println()
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}
