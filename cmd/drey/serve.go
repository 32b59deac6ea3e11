package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/daemon"
	"github.com/dreyhq/drey/internal/statedir"
)

func serveCommand(c *cli) *cobra.Command {
	var shadow bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the gateway in this terminal",
		Long: `Serve the gateway until it is stopped (Ctrl-C, SIGTERM).

Without a configuration it looks for local model servers (Ollama, LM Studio,
llama.cpp, vLLM on their usual ports) and for API keys in the environment. Local
ones come first; paid ones stay off until DREY_ALLOW_PAID=1. Where nothing is
found a built-in demo answers, and says so.

It logs to standard error: lines for people on a terminal, JSON otherwise. With
--json it prints one object on standard output when its doors are open (addr,
pid, home, version), and logs JSON in any case.

A second Ctrl-C cuts the answers that are still under way; it exits 1 then.

It takes over listeners that somebody keeps open for it (systemd, ` + "`drey up`" + `), and
hibernates then: its process ends when nobody needs it, and the next connection
brings it back. Started by hand it stays, and sleeps.`,
		Example: `  drey serve
  ANTHROPIC_API_KEY=... DREY_ALLOW_PAID=1 drey serve
  drey serve --config ./drey.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := c.daemonOptions()
			if err != nil {
				return err
			}
			if opts.Inherited, err = activation.Take(); err != nil {
				return err
			}
			opts.ShadowRun = shadow
			c.capDaemonLog(statedir.At(opts.Home))
			stop := stopOnSignals(cmd.Context(), func() { os.Exit(exitFailed) })
			defer stop.End()
			opts.Level = new(slog.LevelVar)
			opts.Log = slog.New(c.logHandler(opts.Level))
			opts.Hurry = stop.Hurried.Done()
			if c.json {
				c.announce(&opts)
			} else {
				opts.Banner = c.stdout
			}
			err = daemon.Run(stop.Asked, opts)
			switch {
			case stop.Hurried.Err() != nil && err == nil:
				return exitStatus(exitFailed) // nothing was cut, but it was told to hurry
			case errors.Is(err, context.Canceled) && stop.Asked.Err() != nil && stop.Hurried.Err() == nil:
				return nil // stopped before its doors were open
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&shadow, "shadow-run", false, "go through all states of the lifecycle without ever ending the process")
	return cmd
}

// announce tells a program when the doors are open.
func (c *cli) announce(opts *daemon.Options) {
	next, home, version := opts.Ready, opts.Home, opts.Version
	opts.Ready = func(addr string) {
		_ = json.NewEncoder(c.stdout).Encode(struct { // who started it may have left
			Addr    string `json:"addr"`
			PID     int    `json:"pid"`
			Home    string `json:"home"`
			Version string `json:"version"`
		}{addr, os.Getpid(), home, version})
		if next != nil {
			next(addr)
		}
	}
}
