package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// presence and absence are what `drey status --json` prints.
type presence struct {
	Running bool `json:"running"`
	api.Status
}

type absence struct {
	Running bool   `json:"running"`
	Home    string `json:"home"`
	// HolderPID is the process that holds the home and does not answer: a
	// daemon that starts or stops. 0 = nobody holds it.
	HolderPID int `json:"holder_pid,omitempty"`
}

func statusCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs: providers, profiles, traffic",
		Long: `Show the daemon in one look. It starts nothing: where no daemon runs it says
"not running" and exits 0. One that is starting is waited for, two seconds at
most.`,
		Example: "  drey status\n  drey status --json | jq .providers",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.look(cmd.Context())
			if codeOf(err) == client.CodeNoDaemon {
				return c.notRunning()
			}
			if err != nil {
				return err
			}
			defer cl.Close()
			s, err := within(cmd.Context(), c, cl.Status)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(presence{true, s})
			}
			printStatus(c.stdout, s, time.Now())
			return nil
		},
	}
}

// within asks the daemon something that it answers at once, and gives up where
// it does not: it may hang, and whoever looks for that has to be told.
func within[T any](ctx context.Context, c *cli, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.answerIn, errSilent)
	defer cancel()
	v, err := ask(ctx)
	if err == nil || !errors.Is(context.Cause(ctx), errSilent) {
		return v, err
	}
	silent := &drey.Error{
		Class: drey.Transport, Code: client.CodeNoDaemon, Err: errSilent, Hint: "`drey doctor` looks what is wrong",
	}
	if home, err := c.homePath(); err == nil {
		if holder, held, err := statedir.Locked(statedir.At(home).Lock()); err == nil && held {
			silent.Err = fmt.Errorf("%w (pid %d, home %s)", errSilent, holder.PID, home)
		}
	}
	return v, silent
}

var errSilent = errors.New("the daemon does not answer")

// notRunning tells it as the answer that it is, and not as an error.
func (c *cli) notRunning() error {
	home, err := c.homePath()
	if err != nil {
		return err
	}
	holder, held, err := statedir.Locked(statedir.At(home).Lock())
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(absence{Home: home, HolderPID: holder.PID})
	}
	if held {
		fmt.Fprintf(c.stdout, "starting or stopping (pid %d, home %s)\n", holder.PID, home)
		return nil
	}
	fmt.Fprintf(c.stdout, "not running (home %s)\n", home)
	return nil
}

func printStatus(w io.Writer, s api.Status, now time.Time) {
	fmt.Fprintf(w, "drey %s  %s  pid %d  up %s  %s\n", s.Version, s.State, s.PID, span(time.Duration(s.UptimeS)*time.Second), strings.Join(s.Listen, " "))
	fmt.Fprintf(w, "home %s  configuration %s\n", s.Home, s.Config)
	fmt.Fprintf(w, "requests %d", s.Requests.Total)
	for _, o := range slices.Sorted(maps.Keys(s.Requests.Outcomes)) {
		fmt.Fprintf(w, "  %s %d", o, s.Requests.Outcomes[o])
	}
	fmt.Fprintf(w, "  in flight %d", s.Requests.InFlight)
	if n := s.Requests.Dropped; n > 0 {
		fmt.Fprintf(w, "  rows lost %d", n)
	}
	fmt.Fprint(w, "\n\n")

	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PROVIDER\tCLASS\tWIRE\tMODEL\tNOW\tOK\tFAILED\tLAST ERROR")
	for _, p := range s.Providers {
		failed := uint64(0)
		for _, n := range p.Failures {
			failed += n
		}
		last := "-"
		if p.LastError != nil {
			last = printable(cut(p.LastError.Class.String()+" "+p.LastError.Text, 80))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", p.Name, p.Class, p.Wire, printable(dash(p.Model)), providerNow(p, now), p.Successes, failed, last)
	}
	t.Flush()
	fmt.Fprintln(w)
	fmt.Fprintln(t, "PROFILE\tREADY\tCHAIN")
	for _, p := range s.Profiles {
		name := string(p.ID)
		if p.ID == s.DefaultProfile {
			name += " (default)"
		}
		ready := "no"
		if p.Ready {
			ready = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, ready, chainText(p.Chain))
	}
	t.Flush()
	if len(s.Budgets) > 0 {
		fmt.Fprintln(w)
		printBudgets(w, s.Budgets, now)
	}
}

// providerNow says what may be done with a provider now.
func providerNow(p api.Provider, now time.Time) string {
	switch {
	case p.Out == "" && p.InFlight > 0:
		return fmt.Sprintf("ready, %d under way", p.InFlight)
	case p.Out == "":
		return "ready"
	}
	if until, err := drey.ParseTime(p.Until); err == nil && until.After(now) {
		return fmt.Sprintf("%s for %s", p.Out, span(until.Sub(now)))
	}
	return p.Out
}

// chainText writes a chain with its pools: "a > [b, c] > d".
func chainText(chain [][]drey.ProviderID) string {
	places := make([]string, len(chain))
	for i, pool := range chain {
		names := make([]string, len(pool))
		for j, id := range pool {
			names[j] = string(id)
		}
		places[i] = strings.Join(names, ", ")
		if len(pool) > 1 {
			places[i] = "[" + places[i] + "]"
		}
	}
	return strings.Join(places, " > ")
}

// homePath finds the home: --home, $DREY_HOME, ~/.drey.
func (c *cli) homePath() (string, error) {
	return statedir.Root(func(name string) string {
		if name == "DREY_HOME" && c.home != "" {
			return c.home
		}
		return c.getenv(name)
	})
}

// dialAgain is how often a daemon that starts is looked for.
const dialAgain = 50 * time.Millisecond

// look is dial for commands that only look: they wake no daemon that hibernates,
// and start none. An owner of the listeners would take a connection for a wish,
// so nobody is asked where nobody holds the home, nor as long as its holder is
// on the way into HIBERNATION or out of it.
func (c *cli) look(ctx context.Context) (*client.Client, error) {
	root, err := c.homePath()
	if err != nil {
		return nil, err
	}
	home := statedir.At(root)
	if _, err := home.Socket(); err != nil {
		return nil, err // nobody can have served it
	}
	for deadline := time.Now().Add(c.patience); time.Now().Before(deadline); {
		if _, held, err := statedir.Locked(home.Lock()); err != nil || !held {
			break
		}
		r, err := statedir.ReadLifecycle(home, time.Now())
		if err != nil || r.State != lifecycle.Hibernation || r.ShadowRun {
			return c.dial(ctx)
		}
		select {
		case <-time.After(dialAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, &drey.Error{
		Class: drey.Transport, Code: client.CodeNoDaemon, Err: errors.New("no daemon is running"), Hint: "start it with `drey serve` or `drey up`",
	}
}

// dial connects to the daemon of the home. One that holds the home and does not
// answer may be starting: it is waited for as long as the cli has patience.
// Where nobody answers the error's code is client.CodeNoDaemon.
func (c *cli) dial(ctx context.Context) (*client.Client, error) {
	home, err := c.homePath()
	if err != nil {
		return nil, err
	}
	socket, err := statedir.At(home).Socket()
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(c.patience); ; {
		cl, err := client.Dial(ctx, socket)
		if codeOf(err) != client.CodeNoDaemon {
			return cl, err
		}
		holder, held, lerr := statedir.Locked(statedir.At(home).Lock())
		if lerr != nil || !held {
			return nil, errors.Join(err, lerr)
		}
		if !time.Now().Before(deadline) {
			return nil, &drey.Error{
				Class: drey.Transport, Code: client.CodeNoDaemon,
				Err:  fmt.Errorf("a drey (pid %d) holds the home %s and its control socket is silent", holder.PID, home),
				Hint: "it is starting or stopping; try again in a moment",
			}
		}
		select {
		case <-time.After(dialAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
