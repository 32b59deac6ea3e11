package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/daemon"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/why"
)

func whyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why REQUEST-ID",
		Short: "Explain where a request went, what became of a provider or an operation, why the daemon sleeps",
		Long: `Explain in sentences why a request went where it went: who was asked, who was
passed over and why, what failed, who answered. The id is in the header
X-Drey-Request-Id of every answer, and in ` + "`drey requests`" + `.

With "provider NAME": since when it was in trouble, what failed, who took it out,
what was done to mend it, and how it came back.

With "operation ID": who began it and for whom, how far it came, what ended it and
why, and who waits for it. The id may be cut, as in ` + "`drey ops`" + `.

With "daemon": why it is in the state it is in, what woke it, and why it does not
hibernate. That looks and no more: it starts and wakes no daemon.`,
		Example:           "  drey why req_0a1b2c3d4e5f6a7b8c9d0e1f\n  drey why provider local\n  drey why operation 9a514c2e\n  drey why daemon",
		Args:              exactlyOneArg,
		ValidArgsFunction: complete(),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.ensureDaemon(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			w, err := cl.WhyRequest(cmd.Context(), drey.RequestID(args[0]))
			if err != nil {
				return err
			}
			return c.explain(w)
		},
	}
	cmd.AddCommand(c.onProvider("provider NAME", "Explain what became of a provider", "", "  drey why provider local",
		func(ctx context.Context, cl *client.Client, name drey.ProviderID) error {
			w, err := cl.WhyProvider(ctx, name)
			if err != nil {
				return err
			}
			return c.explain(w)
		}), whyOperation(c), whyDaemon(c))
	return cmd
}

func whyOperation(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "operation ID",
		Short: "Explain what became of an operation",
		Long: `Explain who began an operation and for whom, how far it came, what ended it and
why, and who waits for it. An ID may be cut to any prefix or suffix of 6
characters or more that only one operation has.`,
		Example:           "  drey why operation 9a514c2e\n  drey why operation 9a514c2e --json | jq -r .summary",
		Args:              exactlyOneArg,
		ValidArgsFunction: complete(),
		RunE: c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
			ids, err := wholeIDs(ctx, cl, args)
			if err != nil {
				return err
			}
			w, err := cl.WhyOperation(ctx, ids[0])
			if err != nil {
				return err
			}
			return c.explain(w)
		}),
	}
}

func whyDaemon(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "daemon",
		Short: "Explain why the daemon is in the state it is in",
		Long: `Explain why the daemon is awake, sleeps or is gone, what woke it the last times,
and why it does not hibernate. Without a daemon it reads the files; it starts and
wakes none.`,
		Example: "  drey why daemon\n  drey why daemon --json | jq -r .summary",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := c.whyDaemon(cmd.Context())
			if err != nil {
				return err
			}
			return c.explain(w)
		},
	}
}

// whyDaemon asks the daemon, or reads the files where none runs.
func (c *cli) whyDaemon(ctx context.Context) (api.Why, error) {
	cl, err := c.look(ctx)
	if err == nil {
		defer cl.Close()
		return within(ctx, c, cl.WhyDaemon)
	}
	if codeOf(err) != client.CodeNoDaemon {
		return api.Why{}, err
	}
	home, err := c.homePath()
	if err != nil {
		return api.Why{}, err
	}
	return daemon.WhyAtRest(statedir.At(home), time.Now())
}

// explain prints a story, with times in the zone of whoever reads it.
func (c *cli) explain(w api.Why) error {
	if c.json {
		return c.printJSON(w)
	}
	st := why.Story{Subject: w.Subject, ID: w.ID, Summary: printable(w.Summary), Earlier: w.Earlier}
	for _, s := range w.Steps {
		at, err := drey.ParseTime(s.At)
		if err != nil {
			return fmt.Errorf("read the daemon's answer: %w", err)
		}
		st.Steps = append(st.Steps, why.Step{At: at, Seq: s.Seq, Event: s.Event, RequestID: s.RequestID, Text: printable(s.Text)})
	}
	_, err := fmt.Fprint(c.stdout, strings.TrimRight(st.Text(time.Local), "\n")+"\n")
	return err
}
