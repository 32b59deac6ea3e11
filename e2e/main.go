// Command e2e lets Claude Code and Codex, headless, complete a tool-using task
// through drey in front of scripted providers, once per scenario, and checks what
// the agent said, what the providers saw and what drey wrote down. e2e/run
// installs the clients and starts it.
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
	flag.StringVar(&claudeCode.exe, "claude", "", "the Claude Code executable")
	flag.StringVar(&codex.exe, "codex", "", "the Codex executable")
	only := flag.String("scenario", "", "the name of the one scenario to play; by default all are")
	keep := flag.Bool("keep", false, "leave the directories of the scenarios in place")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *drey, []agent{claudeCode, codex}, *only, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
}

// run plays every scenario, or the only one, with every agent, the others too
// when one fails.
func run(ctx context.Context, drey string, agents []agent, only string, keep bool) error {
	drey, err := filepath.Abs(drey)
	if err != nil {
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
	failed, played := 0, 0
	for _, a := range agents {
		if a.exe == "" {
			continue
		}
		if a.exe, err = filepath.Abs(a.exe); err != nil {
			return err
		}
		for _, s := range scenarios {
			if only != "" && s.name != only {
				continue
			}
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			played++
			began := time.Now()
			log, err := s.play(ctx, drey, a, filepath.Join(root, a.name+"-"+s.name))
			took := time.Since(began).Round(10 * time.Millisecond)
			if err == nil {
				fmt.Printf("ok    %-7s %-24s %6s  %s\n", a.name, s.name, took, s.tells)
				continue
			}
			failed++
			fmt.Printf("FAIL  %-7s %-24s %6s  %s\n", a.name, s.name, took, s.tells)
			fmt.Println(indent(err.Error()))
			fmt.Println(indent(log))
		}
	}
	switch {
	case played == 0:
		return errors.New("no agent was named, or there is no such scenario; e2e/run installs and names the agents")
	case failed > 0:
		return fmt.Errorf("%d of %d scenarios failed", failed, played)
	}
	return nil
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      ")
}
