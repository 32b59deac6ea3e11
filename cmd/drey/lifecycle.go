package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/daemon"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

func lifecycleCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lifecycle",
		Short: "Show how the daemon sleeps, wake it, send it to sleep",
		Long: `The daemon is in WAKE while somebody uses it, DROWSY when nobody has for a
while, in SLEEP where it does its upkeep (checks and backs up its store, sums up
what was used), and in HIBERNATION where its process is gone until the next
request brings it back. It gets there by itself; these commands show it, and do
the same by hand.`,
		Example: `  drey lifecycle status
  drey lifecycle history -n 20
  drey lifecycle sleep
  drey lifecycle wake --reason "before the demo"`,
		Args: noArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(lifecycleStatus(c), lifecycleHistory(c), lifecycleWake(c), lifecycleSleep(c), lifecycleHibernate(c), lifecycleQuarantine(c), lifecycleDispatch(c))
	return cmd
}

// lifecycle asks the daemon, or reads the files where none runs.
func (c *cli) lifecycle(ctx context.Context) (api.Lifecycle, error) {
	cl, err := c.look(ctx)
	if err == nil {
		defer cl.Close()
		return within(ctx, c, cl.Lifecycle)
	}
	if codeOf(err) != client.CodeNoDaemon {
		return api.Lifecycle{}, err
	}
	home, err := c.homePath()
	if err != nil {
		return api.Lifecycle{}, err
	}
	return daemon.LifecycleAtRest(statedir.At(home), time.Now())
}

func lifecycleStatus(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state, and what comes next",
		Long: `Show the state, since when, and what comes next. Without a daemon it reads the
files, and starts nothing. It exits 1 if the record of the state cannot be read.`,
		Example: "  drey lifecycle status\n  drey lifecycle status --json | jq -r .state",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.lifecycle(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(l)
			}
			printLifecycle(c.stdout, l, time.Now())
			return nil
		},
	}
}

// printLifecycle writes one line for each key.
func printLifecycle(w io.Writer, l api.Lifecycle, now time.Time) {
	line := func(key, value string) { fmt.Fprintf(w, "%s: %s\n", key, value) }
	line("state", l.State)
	line("since", aged(l.Since, now))
	line("last_activity", aged(l.LastActivity, now))
	line("wrapper_event_seq", fmt.Sprint(l.Seq))
	line("sleep_cycle_progress", progressText(l, now))
	line("quarantine", quarantineText(l.Quarantine, now))
	line("shadow_run", fmt.Sprint(l.ShadowRun))
	line("last_cycle", cycleText(l.LastCycle, now))
	line("daemon", l.Daemon)
	may := "none"
	if m := l.MayHibernate; m != nil {
		may = "yes by " + m.By
		if !m.May {
			may = "no because " + strings.Join(m.Because, "; ")
		}
	}
	line("may_hibernate", may)
	next := "none"
	if l.Next != nil {
		next = l.Next.Event + " at " + aged(l.Next.At, now)
	}
	line("next", next)
}

// aged is a time with its distance from now in brackets.
func aged(at string, now time.Time) string {
	t, err := drey.ParseTime(at)
	switch d := now.Sub(t); {
	case at == "":
		return "none"
	case err != nil:
		return printable(at)
	case d < 0:
		return fmt.Sprintf("%s (in %s)", at, span(-d))
	default:
		return fmt.Sprintf("%s (%s ago)", at, span(d))
	}
}

func progressText(l api.Lifecycle, now time.Time) string {
	var parts []string
	if l.Step != "" {
		parts = append(parts, l.Step+" runs now")
	}
	if p := l.Progress; p != nil {
		parts = append(parts, fmt.Sprintf("step %d done, started %s", p.LastCompletedStep, aged(p.StartedAt, now)))
		if p.Attempt > 0 {
			parts = append(parts, fmt.Sprintf("the next has failed %d times", p.Attempt))
		}
		if p.LastError != nil {
			parts = append(parts, printable(*p.LastError))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func quarantineText(q *api.Quarantine, now time.Time) string {
	if q == nil {
		return "none"
	}
	return fmt.Sprintf("until %s: %s; `drey lifecycle quarantine reset` lifts it", aged(q.Until, now), printable(q.Reason))
}

func cycleText(l *api.LastCycle, now time.Time) string {
	if l == nil {
		return "none"
	}
	return fmt.Sprintf("completed %s in %.3fs (%s)", aged(l.CompletedAt, now), l.DurationSec, l.Mode)
}

func lifecycleHistory(c *cli) *cobra.Command {
	var (
		n           int
		since, kind string
	)
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what the lifecycle did: moves, sleep cycles and their steps",
		Long: `Show the lines of the lifecycle's own log, oldest first, compressed files
included. It reads the files, and starts nothing. With --json it prints the
lines as they are.`,
		Example: "  drey lifecycle history\n  drey lifecycle history --since 7d --kind state_transition --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := c.homePath()
			if err != nil {
				return err
			}
			if n < 0 {
				return usage(cmd, fmt.Errorf("--tail: %d is negative", n))
			}
			q := statedir.HistoryQuery{Limit: n, Kind: kind}
			if q.Since, err = sinceTime(since, time.Now()); err != nil {
				return usage(cmd, err)
			}
			lines, skipped, err := statedir.History(statedir.At(home), q)
			if err != nil {
				return err
			}
			for _, l := range lines {
				text := string(l)
				if !c.json {
					text = historyLine(l)
				}
				fmt.Fprintln(c.stdout, text)
			}
			if skipped > 0 {
				fmt.Fprintf(c.stderr, "drey: %d broken lines were skipped\n", skipped)
			}
			return nil
		},
	}
	cmd.Flags().IntVarP(&n, "tail", "n", 50, "only the last so many; 0 = all")
	cmd.Flags().StringVar(&since, "since", "", "only lines not older than this: a duration (2h, 7d) or a time (RFC 3339)")
	cmd.Flags().StringVar(&kind, "kind", "", "only lines of this kind, such as state_transition")
	completeFlag(cmd, "tail", complete("10", "100", "0"))
	completeFlag(cmd, "since", complete("1h", "1d", "7d", "30d"))
	completeFlag(cmd, "kind", complete("state_transition", "sleep_cycle_started", "sleep_step_completed", "sleep_cycle_completed", "sleep_cycle_deferred", "quarantine_entered", "daemon_started", "daemon_stopped"))
	return cmd
}

// historyLine is a line of the log for people: when, what, and the rest in the
// order in which it was written.
func historyLine(line json.RawMessage) string {
	var ev drey.Event
	if json.Unmarshal(line, &ev) != nil {
		return printable(string(line))
	}
	return eventLine(ev)
}

func lifecycleWake(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "wake",
		Short: "Wake the daemon, starting it if need be",
		Long: `Wake the daemon from any state, and return when it is awake. If none runs, it
is started. A model call does the same by itself.`,
		Example: "  drey lifecycle wake\n  drey lifecycle wake --reason \"night run begins\"",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			cl, err := c.ensureDaemon(ctx)
			if err != nil {
				return err
			}
			defer cl.Close()
			l, err := within(ctx, c, func(ctx context.Context) (api.Lifecycle, error) { return cl.Wake(ctx, api.Wake{Reason: reason}) })
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(l)
			}
			fmt.Fprintf(c.stdout, "%s since %s\n", l.State, aged(l.Since, time.Now()))
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who ask later")
	completeFlag(cmd, "reason", complete())
	return cmd
}

func lifecycleSleep(c *cli) *cobra.Command {
	var ask api.Sleep
	cmd := &cobra.Command{
		Use:   "sleep",
		Short: "Send the daemon to sleep and run its sleep cycle",
		Long: `Send the daemon to sleep now and show the steps of its sleep cycle as they end.
While work is under way it refuses, and says what; where a cycle was completed
and nobody has been there since, it says so and runs none. With --force it runs
the cycle all the same, also when it is quarantined; work that is under way goes
on, and the cycle gives way to it in small slices.

It exits 1 if a step failed, work came between, or it was refused.`,
		Example: "  drey lifecycle sleep\n  drey lifecycle sleep --force --no-wait",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			cl, err := c.look(ctx)
			if err != nil {
				return err
			}
			defer cl.Close()
			return c.sleep(ctx, cl, ask)
		},
	}
	cmd.Flags().BoolVar(&ask.Force, "force", false, "also when it is quarantined, clean, or work is under way")
	cmd.Flags().BoolVar(&ask.NoWait, "no-wait", false, "return when it has begun")
	return cmd
}

func lifecycleHibernate(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "hibernate",
		Short: "Send the daemon to sleep and end its process until somebody needs it",
		Long: `Send the daemon to sleep, run its sleep cycle, and end its process at once,
without waiting for lifecycle.hibernate_after. Everything else must hold as it
does at night: nothing under way, and somebody there to wake it (` + "`drey up`" + `, or
a system that keeps the sockets). It exits 1 with what does not hold.`,
		Example: "  drey lifecycle hibernate",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			cl, err := c.look(ctx)
			if codeOf(err) == client.CodeNoDaemon {
				return c.hibernates(err)
			}
			if err != nil {
				return err
			}
			defer cl.Close()
			// First the cycle, which is watched, then the end alone: a connection
			// that came on the way out would wake the next process.
			slept, err := c.watchSleep(ctx, cl, api.Sleep{})
			if err != nil {
				return err
			}
			gone, err := cl.Hibernate(ctx)
			if err != nil {
				return err
			}
			if c.json {
				slept.Lifecycle = gone.Lifecycle
				return c.printJSON(slept)
			}
			fmt.Fprintln(c.stdout, gone.Lifecycle.State)
			return nil
		},
	}
}

// hibernates tells that the daemon is in HIBERNATION already, where it is; else
// it returns noDaemon.
func (c *cli) hibernates(noDaemon error) error {
	home, err := c.homePath()
	if err != nil {
		return err
	}
	l, err := daemon.LifecycleAtRest(statedir.At(home), time.Now())
	if err != nil || l.State != lifecycle.Hibernation.String() {
		return noDaemon
	}
	if c.json {
		return c.printJSON(api.Slept{Steps: []api.SleepStep{}, Lifecycle: l})
	}
	fmt.Fprintf(c.stdout, "%s since %s\n", l.State, aged(l.Since, time.Now()))
	return nil
}

// sleep sends the daemon to sleep, and tells how that went.
func (c *cli) sleep(ctx context.Context, cl *client.Client, ask api.Sleep) error {
	s, err := c.watchSleep(ctx, cl, ask)
	switch {
	case err != nil:
		return err
	case c.json:
		return c.printJSON(s)
	case s.Clean:
		fmt.Fprintln(c.stdout, "nothing to do: the last sleep cycle is clean, nobody has been there since; --force runs one all the same")
	case s.Started:
		fmt.Fprintln(c.stdout, "the sleep cycle has begun; `drey lifecycle history` tells how it goes")
	default:
		fmt.Fprintln(c.stdout, s.Lifecycle.State)
	}
	return nil
}

// watchSleep sends the daemon to sleep and shows the steps of the sleep cycle as
// they end (none with --json). No connection of it
// is left when it returns.
func (c *cli) watchSleep(ctx context.Context, cl *client.Client, ask api.Sleep) (api.Slept, error) {
	if c.json {
		return cl.Sleep(ctx, ask)
	}
	st, err := cl.Status(ctx)
	if err != nil {
		return api.Slept{}, err
	}
	stop := c.showSteps(ctx, cl, st.Journal.Head)
	s, err := cl.Sleep(ctx, ask)
	shown := stop()
	if err == nil {
		for _, step := range s.Steps[min(shown, len(s.Steps)):] { // the answer was faster than the event
			c.printStep(step)
		}
	}
	return s, err
}

// showSteps prints the steps that end behind a place in the journal. What it
// returns stops it, and tells how many were printed.
func (c *cli) showSteps(ctx context.Context, cl *client.Client, after drey.Seq) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	shown := 0
	wg.Go(func() {
		for m, err := range cl.Events(ctx, client.EventQuery{After: &after, Event: "sleep_step_completed", Machine: "lifecycle"}) {
			if err != nil || m.Hibernating {
				return // the answer has them too
			}
			var step api.SleepStep
			if json.Unmarshal(m.Data, &step) == nil && step.Number > 0 {
				c.printStep(step)
				shown++
			}
		}
	})
	return func() int { cancel(); wg.Wait(); return shown }
}

// printStep writes `[k/6] name ... ok 0.012s`.
func (c *cli) printStep(s api.SleepStep) {
	outcome := "ok"
	switch {
	case s.Error != "":
		outcome = "failed: " + printable(s.Error)
	case s.Skipped != "":
		outcome = "skipped: " + printable(s.Skipped)
	}
	fmt.Fprintf(c.stdout, "[%d/%d] %-10s %s %.3fs\n", s.Number, daemon.SleepSteps, s.Name, outcome, s.DurationSec)
}

func lifecycleQuarantine(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "Show or lift the pause of a sleep cycle that fails again and again",
		Long: `A sleep cycle with a step that has failed three times pauses for
lifecycle.quarantine_ttl. The daemon serves as ever meanwhile, and does not
hibernate.`,
		Example: "  drey lifecycle quarantine show\n  drey lifecycle quarantine reset",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "show",
		Short:   "Show the quarantine, if there is one",
		Example: "  drey lifecycle quarantine show",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.lifecycle(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(struct {
					Quarantine *api.Quarantine `json:"quarantine"`
				}{l.Quarantine})
			}
			fmt.Fprintln(c.stdout, quarantineText(l.Quarantine, time.Now()))
			return nil
		},
	}, &cobra.Command{
		Use:   "reset",
		Short: "Lift the quarantine",
		Long: `Lift the quarantine, so that the next sleep cycle begins where the last one
failed. With a daemon it is done there, and without one in the files.`,
		Example: "  drey lifecycle quarantine reset",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			changed, err := c.liftQuarantine(cmd.Context())
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(struct {
					Changed bool `json:"changed"`
				}{changed})
			case changed:
				fmt.Fprintln(c.stdout, "lifted")
			default:
				fmt.Fprintln(c.stdout, "there is no quarantine")
			}
			return nil
		},
	})
	return cmd
}

func (c *cli) liftQuarantine(ctx context.Context) (changed bool, err error) {
	cl, err := c.look(ctx)
	if err == nil {
		defer cl.Close()
		l, err := cl.LiftQuarantine(ctx)
		return l.Changed, err
	}
	if codeOf(err) != client.CodeNoDaemon {
		return false, err
	}
	home, err := c.homePath()
	if err != nil {
		return false, err
	}
	return daemon.LiftQuarantineAtRest(statedir.At(home), time.Now())
}

// lifecycleDispatch is one dispatch without a daemon, for tests and repair.
func lifecycleDispatch(c *cli) *cobra.Command {
	var eligible, idle string
	cmd := &cobra.Command{
		Use:     "dispatch EVENT",
		Short:   "Dispatch one event of the lifecycle without a daemon",
		Example: "  drey lifecycle dispatch idle_30min --sleep-eligible=true",
		Hidden:  true,
		Args:    exactlyOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			ev := lifecycle.Event{At: time.Now()}
			var err error
			if ev.Name, err = lifecycle.ParseEvent(args[0]); err != nil {
				return usage(cmd, err)
			}
			for _, g := range []struct {
				flag, text string
				into       *bool
			}{{"--sleep-eligible", eligible, &ev.Guards.SleepEligible}, {"--still-idle", idle, &ev.Guards.StillIdle}} {
				if g.text == "" {
					continue
				}
				if *g.into, err = lifecycle.ParseGuard(g.text); err != nil {
					return usage(cmd, fmt.Errorf("%s: %w", g.flag, err))
				}
			}
			opts, err := c.daemonOptions()
			if err != nil {
				return err
			}
			state, err := daemon.Dispatch(cmd.Context(), opts, ev)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(struct {
					State lifecycle.State `json:"state"`
				}{state})
			}
			fmt.Fprintln(c.stdout, state)
			return nil
		},
	}
	cmd.Flags().StringVar(&eligible, "sleep-eligible", "", "true or false")
	cmd.Flags().StringVar(&idle, "still-idle", "", "true or false")
	return cmd
}
