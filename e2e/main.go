// Command e2e lets Claude Code, headless, complete a tool-using task through
// drey in front of scripted providers, once per scenario, and checks what the
// agent said, what the providers saw and what drey wrote down. e2e/run installs
// the client and starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// scenarioTime is how long one scenario may take. A good one takes about three
// seconds; the rest is for a machine that is busy.
const scenarioTime = 2 * time.Minute

func main() {
	drey := flag.String("drey", "bin/drey", "the daemon under test")
	claude := flag.String("claude", "", "the Claude Code executable")
	keep := flag.Bool("keep", false, "leave the directories of the scenarios in place")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *drey, *claude, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

// run plays every scenario, the others too when one fails.
func run(ctx context.Context, drey, claude string, keep bool) error {
	drey, err := filepath.Abs(drey)
	if err != nil {
		return err
	}
	if claude, err = filepath.Abs(claude); err != nil {
		return err
	}
	// Short, since the control socket's path may have some hundred bytes only.
	root, err := os.MkdirTemp("", "drey-e2e-")
	if err != nil {
		return err
	}
	if keep {
		fmt.Println("files stay in", root)
	} else {
		defer os.RemoveAll(root)
	}
	failed := 0
	for _, s := range scenarios {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		began := time.Now()
		log, err := s.play(ctx, drey, claude, filepath.Join(root, s.name))
		took := time.Since(began).Round(10 * time.Millisecond)
		if err == nil {
			fmt.Printf("ok    %-14s %6s  %s\n", s.name, took, s.tells)
			continue
		}
		failed++
		fmt.Printf("FAIL  %-14s %6s  %s\n", s.name, took, s.tells)
		fmt.Println(indent(err.Error()))
		fmt.Println(indent(log))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed", failed, len(scenarios))
	}
	return nil
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      ")
}
