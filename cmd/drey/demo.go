package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey/internal/daemon"
)

func demoCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Watch a provider break and come back, without any model",
		Long: `Run a gateway for a few seconds with two built-in providers, of which the first
breaks and comes back, and show each decision as it is made. It needs no model,
no key and no network, and leaves nothing behind. With --json it prints one
object per line.`,
		Example: "  drey demo\n  drey demo --json | jq -r '.event // empty'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// However it is ended, it removes its home: also when what reads
			// it, such as head, has seen enough.
			ctx, cancel := signal.NotifyContext(cmd.Context(), append(stopSignals, syscall.SIGHUP, syscall.SIGPIPE)...)
			defer cancel()
			err := daemon.Demo(ctx, c.stdout, c.base.Version, c.json)
			if ctx.Err() != nil {
				return exitStatus(exitFailed) // who pressed Ctrl-C knows why it ended
			}
			return err
		},
	}
}
