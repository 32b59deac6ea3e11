package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey/internal/daemon"
	"github.com/dreyhq/drey/internal/doctor"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

func doctorCommand(c *cli) *cobra.Command {
	var fix bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with the home, and mend it",
		Long: `Look at the home and at the daemon, if one runs, and say what is wrong: files that
others can read, a record that cannot be read, a daemon that hangs or that nobody
can wake, upkeep that does not get its turn, copies that are too old. It starts and
wakes no daemon. With --fix it mends what needs no decision of yours.

It exits 1 if anything is FAIL, else 5 if anything is WARN, else 0.`,
		Example: "  drey doctor\n  drey doctor --fix\n  drey doctor --json | jq '.findings[] | select(.verdict != \"PASS\")'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			path, err := c.homePath()
			if err != nil {
				return err
			}
			home := statedir.At(path)
			findings := doctor.Look(ctx, doctor.Config{
				Home: home, Fix: fix, Filesystem: sqlite.CheckFilesystem,
				Dial: func(ctx context.Context) (doctor.Daemon, error) {
					cl, err := c.look(ctx)
					if err != nil {
						return nil, err // not a nil *client.Client in an interface
					}
					return cl, nil
				},
				Configuration: func() (string, error) {
					opts, err := c.daemonOptions()
					if err != nil {
						return "", err
					}
					_, source, _, err := daemon.Show(ctx, opts)
					return source, err
				},
				Listens: func() (string, bool, error) { return c.taken(home) },
				Start: func(ctx context.Context) error {
					_, err := c.startDaemon(ctx, home)
					return err
				},
			})
			if err := ctx.Err(); err != nil {
				return err
			}
			return c.printFindings(findings)
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "mend what can be mended")
	return cmd
}

// taken reports whether somebody listens on the gateway's address. It tries to
// listen there itself, since a connection would wake a daemon.
func (c *cli) taken(home statedir.Home) (addr string, somebody bool, err error) {
	if addr, err = c.listenAddr(home); err != nil {
		return "", false, err
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return addr, true, nil
	}
	if err != nil {
		return addr, false, err
	}
	return addr, false, l.Close()
}

func (c *cli) printFindings(findings []doctor.Finding) error {
	worst := doctor.Worst(findings)
	if c.json {
		if err := c.printJSON(struct {
			Verdict  doctor.Verdict   `json:"verdict"`
			Findings []doctor.Finding `json:"findings"`
		}{worst, findings}); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			fixed := ""
			if f.Fixed {
				fixed = " (mended)"
			}
			fmt.Fprintf(c.stdout, "%s  %-13s %s%s\n", f.Verdict, f.Check, printable(f.Text), fixed)
			if f.Mend != "" {
				fmt.Fprintf(c.stdout, "      %-13s -> %s\n", "", f.Mend)
			}
		}
	}
	switch worst {
	case doctor.Fail:
		return exitStatus(exitFailed)
	case doctor.Warn:
		return exitStatus(exitAttention)
	}
	return nil
}
