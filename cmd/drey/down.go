package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/statedir"
)

func downCommand(c *cli) *cobra.Command {
	timeout := drey.Duration(time.Minute)
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop what `drey up` keeps up: the daemon, and what would start it again",
		Long: `Stop the waker of "drey up" and its daemon, and return when both have ended.
Answers under way may end first (lifecycle.drain_timeout). Where nothing is up there
is nothing to do: exit 0. A daemon that somebody else keeps, a terminal or a service
manager, is left to them, and named: exit 1.`,
		Example: "  drey down\n  drey down --timeout 5m",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			path, err := c.homePath()
			if err != nil {
				return err
			}
			ctx, stop := context.WithTimeout(ctx, timeout.D())
			defer stop()
			return c.down(ctx, statedir.At(path))
		},
	}
	cmd.Flags().TextVar(&timeout, "timeout", timeout, "wait this `DURATION` for the end; exit 124 then")
	completeFlag(cmd, "timeout", complete("30s", "1m", "5m"))
	return cmd
}

// downReport is what `drey down --json` prints.
type downReport struct {
	Home    string `json:"home"`
	Already bool   `json:"already"` // nothing was up
	PID     int    `json:"pid,omitempty"`
}

// down ends the waker, which ends its daemon. The lock says whether there is
// one, and who: a number that is only written somewhere may be another's by now.
func (c *cli) down(ctx context.Context, home statedir.Home) error {
	waker, up, err := statedir.Locked(home.WakerLock())
	if err != nil {
		return err
	}
	if !up {
		return c.notUp(home)
	}
	if waker.PID <= 1 {
		return fmt.Errorf("%s does not tell who holds it", home.WakerLock())
	}
	if err := syscall.Kill(waker.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return &drey.Error{Op: fmt.Sprintf("stop process %d", waker.PID), Err: err, Hint: "run it as the user who ran `drey up`"}
	}
	again := time.NewTicker(dialAgain)
	defer again.Stop()
	for {
		now, up, err := statedir.Locked(home.WakerLock())
		if err != nil {
			return err
		}
		if !up || now.PID != waker.PID {
			break
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("drey (pid %d) has been told to stop, and has not ended yet: %w", waker.PID, context.Cause(ctx))
		}
	}
	if c.json {
		return c.printJSON(downReport{Home: home.Root(), PID: waker.PID})
	}
	fmt.Fprintf(c.stdout, "drey is down (pid %d, home %s)\n", waker.PID, home.Root())
	return nil
}

// notUp tells that no waker is there, and whether a daemon is all the same.
func (c *cli) notUp(home statedir.Home) error {
	daemon, runs, err := statedir.Locked(home.Lock())
	switch {
	case err != nil:
		return err
	case runs:
		return &drey.Error{Op: "stop drey", Err: fmt.Errorf("process %d serves this home, and `drey up` did not start it", daemon.PID),
			Hint: "end it where it was started: Ctrl-C in its terminal, or the service manager (`drey service uninstall`, systemctl)"}
	case c.json:
		return c.printJSON(downReport{Home: home.Root(), Already: true})
	}
	fmt.Fprintf(c.stdout, "drey is not up (home %s)\n", home.Root())
	return nil
}
