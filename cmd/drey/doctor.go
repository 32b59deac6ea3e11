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
	var who rounds
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with the home and with the providers, and mend it",
		Long: `Look at the home and at the daemon, if one runs, and say what is wrong: files that
others can read, a record that cannot be read, a daemon that hangs or that nobody
can wake, upkeep that does not get its turn, copies that are too old. It starts and
wakes no daemon. With --fix it mends what needs no decision of yours.

Then ask each provider a dozen small questions: does it answer, does it take the
credential, has it the model; does it cut long prompts in silence, call tools, stream
properly, leak its reasoning, keep prompts, think, see. What is wrong comes with lines
to paste into drey.yaml. Nothing of it counts against a provider's health. Providers
that cost money are asked with --paid alone, which spends some 17,000 tokens each.
With --provider or --profile the home is not looked at.

It exits 1 if anything is FAIL, auth_fail or unreachable; else 5 if anything is WARN or
needs_tuning, or unsupported and the configuration does not say so; else 0.`,
		Example: "  drey doctor\n  drey doctor --fix\n  drey doctor --provider local\n  drey doctor --profile default --paid\n  drey doctor --json | jq '.providers[].findings[] | select(.patch)'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			out := doctorJSON{Verdict: doctor.Pass, Findings: []doctor.Finding{}}
			if !who.named() {
				findings, err := c.lookAtHome(ctx, fix)
				if err != nil {
					return err
				}
				if !c.json {
					c.printFindings(findings)
				}
				out.Findings, out.Verdict = findings, doctor.Worst(findings)
			}
			reports, err := c.examine(ctx, who)
			if ctx.Err() != nil {
				return exitStatus(exitFailed) // whoever interrupts it knows why it ends
			}
			if broken := codeOf(err) == "config" && !who.named(); err != nil && !broken { // a broken one is a finding of the home
				return err
			}
			for _, r := range reports {
				out.Verdict = doctor.Worse(out.Verdict, r.Worst())
			}
			if c.json {
				out.Providers = reportsJSON(reports)
				if err := c.printJSON(out); err != nil {
					return err
				}
			}
			return doctorExit(out.Verdict)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&fix, "fix", false, "mend what can be mended of the home")
	flags.StringArrayVar(&who.providers, "provider", nil, "examine this provider, and nothing else (may be repeated)")
	flags.StringArrayVar(&who.profiles, "profile", nil, "examine the providers of this profile, and nothing else (may be repeated)")
	flags.BoolVar(&who.paid, "paid", false, "ask providers that cost money too")
	completeFlag(cmd, "provider", c.completeProviders)
	completeFlag(cmd, "profile", c.completeProfiles)
	return cmd
}

// doctorJSON is what doctor prints under --json.
type doctorJSON struct {
	Verdict   doctor.Verdict   `json:"verdict"`   // the worst of all
	Findings  []doctor.Finding `json:"findings"`  // of the home
	Providers []reportJSON     `json:"providers"` // in the order of the file
}

func doctorExit(v doctor.Verdict) error {
	switch v {
	case doctor.Fail:
		return exitStatus(exitFailed)
	case doctor.Warn:
		return exitStatus(exitAttention)
	}
	return nil
}

// lookAtHome does the checks of the home.
func (c *cli) lookAtHome(ctx context.Context, fix bool) ([]doctor.Finding, error) {
	path, err := c.homePath()
	if err != nil {
		return nil, err
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
	return findings, ctx.Err()
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

func (c *cli) printFindings(findings []doctor.Finding) {
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
