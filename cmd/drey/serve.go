package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dreyhq/drey/internal/daemon"
)

func serveCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the gateway in this terminal",
		Long: `Serve the gateway until it is stopped (Ctrl-C, SIGTERM).

Without a configuration it looks for local model servers (Ollama, LM Studio,
llama.cpp, vLLM on their usual ports) and for API keys in the environment. Local
ones come first; paid ones stay off until DREY_ALLOW_PAID=1. Where nothing is
found a built-in demo answers, and says so.

A second Ctrl-C cuts the answers that are still under way.`,
		Example: `  drey serve
  ANTHROPIC_API_KEY=... DREY_ALLOW_PAID=1 drey serve
  drey serve --config ./drey.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := c.homePath()
			if err != nil {
				return err
			}
			stop, hurry := stopSignals()
			defer signal.Stop(stop.signals)
			go stop.watch()
			defer stop.end()
			level := new(slog.LevelVar)
			return daemon.Run(stop.context(cmd.Context()), daemon.Options{
				Version: build().Version, Home: home, Config: c.config,
				Log: newLogger(c.stderr, level), Level: level, Banner: c.stdout, Hurry: hurry,
			})
		},
	}
}

// newLogger writes for people on a terminal, and JSON for programs otherwise.
func newLogger(w io.Writer, level *slog.LevelVar) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

var stopOn = []os.Signal{syscall.SIGINT, syscall.SIGTERM}
