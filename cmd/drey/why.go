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
	"github.com/dreyhq/drey/internal/why"
)

func whyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why REQUEST-ID",
		Short: "Explain why a request went where it went, and what became of a provider",
		Long: `Explain in sentences why a request went where it went: who was asked, who was
passed over and why, what failed, who answered. The id is in the header
X-Drey-Request-Id of every answer, and in ` + "`drey requests`" + `.

With "provider NAME": since when it was in trouble, what failed, who took it out,
what was done to mend it, and how it came back.`,
		Example:           "  drey why req_0a1b2c3d4e5f6a7b8c9d0e1f\n  drey why provider local",
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
		}))
	return cmd
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
