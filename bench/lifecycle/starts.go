package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/dreyhq/drey/internal/activation/activationtest"
	"github.com/dreyhq/drey/internal/statedir"
)

// starter starts one program again and again, each time with a request that
// waits at the listener which it inherits.
type starter struct {
	act     *activationtest.Activator
	argv    []string
	prepare func() error // brings what the last start changed back; nil = nothing
	home    string       // with the program's own file, this is all that it reads
	took    sample
}

// once starts the program and measures from exec to the first byte of the
// answer. A shell lies between, which gives it its own number as a service
// manager does; the reference has it too.
func (s *starter) once(ctx context.Context, dropped bool) error {
	if s.prepare != nil {
		if err := s.prepare(); err != nil {
			return err
		}
	}
	if dropped {
		if err := errors.Join(drop(s.argv[0]), dropAll(s.home)); err != nil {
			return err
		}
	}
	var said bytes.Buffer
	cmd := s.act.Command(ctx, nil, s.argv...)
	cmd.Stderr = &said
	took, err := askUntil(ctx, s.act.Addr, func() (time.Time, error) {
		begun := time.Now()
		return begun, cmd.Start()
	})
	if cmd.Process != nil {
		if eerr := end(cmd); err == nil && eerr != nil && s.prepare != nil { // the bare server is killed by the signal
			err = eerr
		}
	}
	if err != nil {
		return fmt.Errorf("start %s: %w\n%s", s.argv[0], err, said.Bytes())
	}
	s.took.add(took)
	return nil
}

// measureStarts measures how long a request waits that comes in HIBERNATION.
func (l *lab) measureStarts(ctx context.Context) error {
	h, err := l.newHome("hibernating", "127.0.0.1:0", "")
	if err != nil {
		return err
	}
	if err := fill(ctx, h, *rows); err != nil {
		return err
	}
	record, err := hibernating(h)
	if err != nil {
		return err
	}
	drey, err := l.newStarter(h, l.drey, "serve", "--home", h.Root())
	if err != nil {
		return err
	}
	defer drey.act.Close()
	drey.prepare = func() error { return os.WriteFile(h.Lifecycle(), record, 0o600) }

	apart, err := statedir.Open(filepath.Join(l.dir, "nothing"))
	if err != nil {
		return err
	}
	twin := filepath.Join(l.dir, "bare") // so that dropping its pages does not slow us down
	if err := copyFile(twin, l.self, 0o755); err != nil {
		return err
	}
	bare, err := l.newStarter(apart, twin, "-role", "bare")
	if err != nil {
		return err
	}
	defer bare.act.Close()

	run := func(n int, dropped bool) error {
		bare.took, drey.took = nil, nil
		for range n {
			for _, s := range []*starter{bare, drey} {
				if err := s.once(ctx, dropped); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := run(3, false); err != nil { // the first start of a home migrates and makes files
		return err
	}
	if err := run(*starts, false); err != nil {
		return err
	}
	latenciesHead(fmt.Sprintf("exec to first byte, %d journal rows, ms", *rows))
	latencies("bare server, warm", bare.took, limit{})
	latencies("drey, warm", drey.took, drey.took.atMost(0.99, 25, "ms"))
	if *cold == 0 {
		return nil
	}
	switch err := run(*cold, true); {
	case errors.Is(err, errors.ErrUnsupported):
		fmt.Println("this system cannot drop files from its page cache: not measured")
		return nil
	case err != nil:
		return err
	}
	latencies("bare server, page cache dropped", bare.took, limit{})
	latencies("drey, page cache dropped", drey.took, drey.took.atMost(0.9, 80, "ms"))
	return nil
}

// newStarter makes what starts a program with the listeners of a home.
func (l *lab) newStarter(h statedir.Home, argv ...string) (*starter, error) {
	socket, err := h.Socket()
	if err != nil {
		return nil, err
	}
	act, err := activationtest.Listen(socket)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, errors.Join(err, act.Close())
	}
	return &starter{act: act, argv: argv, home: h.Root()}, nil
}

// dropAll drops every file below a directory from the page cache, and fails
// where one of them stays.
func dropAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return drop(path)
	})
}
