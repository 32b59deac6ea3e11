package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
)

func providerCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "provider",
		Short: "Show providers, take one out, bring it back, have it mended",
		Long: `Show how the providers stand, and do by hand what drey does by itself: take one
out, bring it back, restart its backend, probe it. What a person takes out stays
out until a person brings it back, or until the time of --for is over.`,
		Example: `  drey provider list
  drey provider exclude local --for 2h --reason "new driver"
  drey provider restore local
  drey why provider local`,
		Args: noArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(providerList(c), providerShow(c), providerExclude(c), providerRestore(c), providerRestart(c), providerProbe(c), providerDrain(c))
	return cmd
}

// unknownProvider is an error about a name that the configuration does not
// have: that is an error of usage, where an id that is not there is none.
type unknownProvider struct{ error }

func (e unknownProvider) Unwrap() error { return e.error }

// asProvider marks the daemon's "not found" of a provider.
func asProvider(err error) error {
	if codeOf(err) == api.CodeNotFound {
		return unknownProvider{err}
	}
	return err
}

// onProvider is a command that takes the name of one provider and asks the
// daemon something about it.
func (c *cli) onProvider(use, short, long, example string, do func(ctx context.Context, cl *client.Client, name drey.ProviderID) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args:              exactlyOneArg,
		ValidArgsFunction: c.completeProviders,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			cl, err := c.ensureDaemon(ctx)
			if err != nil {
				return err
			}
			defer cl.Close()
			return asProvider(do(ctx, cl, drey.ProviderID(args[0])))
		},
	}
}

var exactlyOneArg = usageArgs(cobra.ExactArgs(1))

// completeProviders offers the names of the providers of the daemon that runs.
func (c *cli) completeProviders(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cl, err := c.look(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.Close()
	list, err := cl.Providers(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, p := range list {
		names = append(names, cobra.CompletionWithDesc(string(p.Name), providerState(p)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func providerList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the providers and how each stands",
		Example: "  drey provider list\n  drey provider list --json | jq '.providers[] | select(.state == \"EXCLUDED\")'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.ensureDaemon(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			list, err := cl.Providers(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]any{"providers": list})
			}
			printProviders(c.stdout, list)
			return nil
		},
	}
}

func printProviders(w io.Writer, list []api.Provider) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PROVIDER\tCLASS\tSTATE\tIN FLIGHT\tFAILED IN A ROW\tLAST ERROR")
	for _, p := range list {
		last := "-"
		if p.LastError != nil {
			last = printable(cut(p.LastError.Class.String()+" "+p.LastError.Text, 80))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n", p.Name, p.Class, providerState(p), p.InFlight, p.ConsecutiveFailures, last)
	}
	t.Flush()
}

// providerState says in a few words how a provider stands and what is being
// done about it.
func providerState(p api.Provider) string {
	s := p.State
	if p.By == "operator" {
		s += " by the operator"
	}
	switch p.Phase {
	case "none", "":
	case "probing":
		s += ", probing"
		if p.NextProbeInS > 0 {
			s += " in " + span(inSeconds(p.NextProbeInS))
		}
	case "ramping":
		s += fmt.Sprintf(", at most %d at once", p.RampLimit)
	default:
		s += ", " + p.Phase
	}
	if p.ParkedUntil != "" {
		s += ", parked"
	}
	if p.Process != nil {
		s += ", process " + p.Process.State
	}
	return s
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func providerShow(c *cli) *cobra.Command {
	return c.onProvider("show NAME", "Show one provider", "", "  drey provider show local",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			p, err := cl.Provider(ctx, name)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(p)
			}
			printProvider(c.stdout, p)
			return nil
		})
}

func printProvider(w io.Writer, p api.Provider) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(key, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", key, printable(value))
		}
	}
	row("provider", string(p.Name))
	row("url", p.URL)
	row("class", fmt.Sprintf("%s, wire %s", p.Class, p.Wire))
	row("model", p.Model)
	row("state", providerState(p))
	if p.ExcludedForS > 0 {
		row("out for", span(inSeconds(p.ExcludedForS)))
	}
	if p.Reason != "" {
		row("reason", p.Reason)
	}
	if p.IntervalS > 0 {
		row("probed every", span(inSeconds(p.IntervalS)))
	}
	row("in flight", fmt.Sprintf("%d, waiting %d", p.InFlight, p.Queued))
	row("attempts", fmt.Sprintf("%d, well %d, failed in a row %d", p.Attempts, p.Successes, p.ConsecutiveFailures))
	if proc := p.Process; proc != nil && proc.PID > 0 {
		row("process", fmt.Sprintf("%s, pid %d, port %d", proc.State, proc.PID, proc.Port))
	}
	if e := p.LastError; e != nil {
		row("last error", strings.TrimSpace(e.Class.String()+" "+e.Text)+" ("+e.At+")")
	}
	t.Flush()
}

// did tells what an act came to.
func (c *cli) did(p api.Provider, done, already string) error {
	if c.json {
		return c.printJSON(p)
	}
	what := done
	if p.Changed != nil && !*p.Changed {
		what = already
	}
	_, err := fmt.Fprintf(c.stdout, "%s %s (%s)\n", p.Name, what, providerState(p))
	return err
}

func providerExclude(c *cli) *cobra.Command {
	var how api.Exclude
	cmd := c.onProvider("exclude NAME", "Take a provider out of every chain",
		`Take a provider out of every chain, whatever its profiles say. Answers under way
go on. It comes back by `+"`drey provider restore`"+`, or when the time of --for is over.`,
		"  drey provider exclude local --for 2h --reason \"new driver\"",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			p, err := cl.ExcludeProvider(ctx, name, how)
			if err != nil {
				return err
			}
			return c.did(p, "is taken out", "was taken out already")
		})
	cmd.Flags().TextVar(&how.For, "for", drey.Duration(0), "bring it back after this `DURATION`, such as 2h (0 = when it is restored)")
	cmd.Flags().StringVar(&how.Reason, "reason", "", "`TEXT` for those who ask later")
	completeFlag(cmd, "for", complete("10m", "1h", "1d"))
	completeFlag(cmd, "reason", complete())
	return cmd
}

func providerRestore(c *cli) *cobra.Command {
	return c.onProvider("restore NAME", "Bring a provider back",
		"Bring a provider back to its place, whoever took it out. At first it gets few\nanswers at once.",
		"  drey provider restore local",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			p, err := cl.RestoreProvider(ctx, name)
			if err != nil {
				return err
			}
			return c.did(p, "is back", "was not out")
		})
}

func providerRestart(c *cli) *cobra.Command {
	return c.onProvider("restart NAME", "Have a provider's backend restarted",
		`Run the provider's restart_command, or restart the process that drey keeps for
it, as soon as answers under way have ended or their time is over. The provider
is out meanwhile and comes back by itself.`,
		"  drey provider restart local",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			p, err := cl.RestartProvider(ctx, name)
			if err != nil {
				return err
			}
			return c.did(p, "is being restarted", "is as it was")
		})
}

func providerProbe(c *cli) *cobra.Command {
	var how api.ProbeAsk
	cmd := c.onProvider("probe NAME", "Probe a provider now",
		`Probe a provider and say how that went; exit 1 if it failed. One that is out and
answers is brought back. A failed probe changes nothing.`,
		"  drey provider probe local\n  drey provider probe cloud --depth models --paid",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			p, err := cl.ProbeProvider(ctx, name, how)
			if err != nil {
				return err
			}
			return c.probed(p)
		})
	cmd.Flags().StringVar(&how.Depth, "depth", "", "how much must work: liveness, models or generation (default as configured)")
	cmd.Flags().BoolVar(&how.AllowPaid, "paid", false, "probe it although that costs money")
	completeFlag(cmd, "depth", complete("liveness", "models", "generation"))
	return cmd
}

func (c *cli) probed(p api.Provider) error {
	if p.Probe == nil {
		return errors.New("the daemon does not say how the probe went")
	}
	if c.json {
		if err := c.printJSON(p); err != nil {
			return err
		}
	} else {
		took := time.Duration(p.Probe.LatencyMS) * time.Millisecond
		said := fmt.Sprintf("ok after %s", took)
		if !p.Probe.Success {
			said = "failed: " + printable(p.Probe.Error)
		}
		fmt.Fprintf(c.stdout, "%s %s %s (%s)\n", p.Name, p.Probe.Depth, said, providerState(p))
	}
	if !p.Probe.Success {
		return exitStatus(exitFailed)
	}
	return nil
}

func providerDrain(c *cli) *cobra.Command {
	timeout, _ := drey.ParseDuration(api.DefaultDrain)
	cmd := c.onProvider("drain NAME", "Take a provider out and wait until it has nothing to do",
		`Take a provider out of every chain and wait until its last answer has ended, for
instance before its machine is switched off. What is left after --timeout is
cut. It comes back by `+"`drey provider restore`.",
		"  drey provider drain local --timeout 5m && sudo poweroff",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			p, err := cl.DrainProvider(ctx, name, api.Drain{Timeout: &timeout})
			if err != nil {
				return err
			}
			done := "has nothing to do"
			if n := p.InFlightKilled; n > 0 {
				done = fmt.Sprintf("has nothing to do; answers cut: %d", n)
			}
			return c.did(p, done, "had nothing to do already")
		})
	cmd.Flags().TextVar(&timeout, "timeout", timeout, "what is left after this `DURATION` is cut")
	completeFlag(cmd, "timeout", complete("1m", "5m", "30m"))
	return cmd
}
