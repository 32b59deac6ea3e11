package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/client"
)

func eventsCommand(c *cli) *cobra.Command {
	var (
		follow  bool
		after   uint64
		filter  string
		request string
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, or follow what happens",
		Long: `Show the journal's latest events, or with --follow every event as it happens.

Journaled events have a number, and --after N goes on behind one. Events of
single requests (try-provider, provider-ok ...) are shown live only; they are
kept with the request.`,
		Example: "  drey events --follow\n  drey events --filter 'provider-*'\n  drey events --after 120 --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			cl, err := c.dial(ctx)
			if err != nil {
				return err
			}
			defer cl.Close()
			q := client.EventQuery{Event: filter, RequestID: drey.RequestID(request)}
			if cmd.Flags().Changed("after") {
				seq := drey.Seq(after)
				q.After = &seq
			}
			if !follow {
				q.Newest = q.After == nil
				page, err := cl.EventPage(ctx, q)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(page)
				}
				for _, ev := range page.Events {
					c.printEvent(ev)
				}
				return nil
			}
			q.Lost = func(err error) { fmt.Fprintf(c.stderr, "drey: %v; connecting again\n", err) }
			for m, err := range cl.Events(ctx, q) {
				switch {
				case errors.Is(err, ctx.Err()) && ctx.Err() != nil:
					return nil // somebody pressed Ctrl-C
				case err != nil:
					return err
				case m.Gap != nil:
					fmt.Fprintf(c.stderr, "drey: events %d to %d are no longer in the journal\n", m.Gap.From, m.Gap.To)
				case c.json:
					fmt.Fprintf(c.stdout, "%s\n", m.Data)
				default:
					c.printEvent(m.Event)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on and show events as they happen")
	cmd.Flags().Uint64Var(&after, "after", 0, "only events behind this number")
	cmd.Flags().StringVar(&filter, "filter", "", "only events whose name matches, with * and ?")
	cmd.Flags().StringVar(&request, "request", "", "only events of this request")
	return cmd
}

// printEvent writes an event on one line for people.
func (c *cli) printEvent(ev drey.Event) { fmt.Fprintln(c.stdout, eventLine(ev)) }

func eventLine(ev drey.Event) string {
	var b strings.Builder
	b.WriteString(ev.At.Local().Format(time.TimeOnly))
	if ev.Seq > 0 {
		fmt.Fprintf(&b, " %6d", ev.Seq)
	} else {
		b.WriteString("       ")
	}
	fmt.Fprintf(&b, "  %-22s", ev.Name)
	if ev.From != "" || ev.To != "" {
		fmt.Fprintf(&b, " %s -> %s", ev.From, ev.To)
	}
	for _, f := range ev.Fields {
		fmt.Fprintf(&b, " %s=%s", f.Key, fieldText(f.Value))
	}
	if ev.RequestID != "" {
		fmt.Fprintf(&b, " request_id=%s", ev.RequestID)
	}
	return b.String()
}

// fieldText writes a value as it is read easily: strings without quotes where
// they need none.
func fieldText(v any) string {
	raw, ok := v.(json.RawMessage)
	if !ok {
		return fmt.Sprint(v)
	}
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" && !strings.ContainsAny(s, " \t\"=") {
		return s
	}
	return string(raw)
}
