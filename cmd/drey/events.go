package main

import (
	"context"
	"encoding/json"
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
		Long: `Show the journal's latest 100 events, with --after N all that came behind event
N, or with --follow every event as it happens. With --json it prints one object
per line.

Journaled events have a number. Events of single requests (try-provider,
provider-ok ...) have none: they are shown live only, and kept with the request.`,
		Example: "  drey events --follow\n  drey events --filter 'provider-*'\n  drey events --after 120 --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			cl, err := c.ensureDaemon(ctx)
			if err != nil {
				return err
			}
			defer cl.Close()
			q := client.EventQuery{Event: filter, RequestID: drey.RequestID(request)}
			if cmd.Flags().Changed("after") {
				seq := drey.Seq(after)
				q.After = &seq
			}
			if follow {
				return c.followEvents(ctx, cl, q)
			}
			return c.listEvents(ctx, cl, q)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on and show events as they happen")
	cmd.Flags().Uint64Var(&after, "after", 0, "only events behind this number")
	cmd.Flags().StringVar(&filter, "filter", "", "only events whose name matches, with * and ?")
	cmd.Flags().StringVar(&request, "request", "", "only events of this request")
	completeFlag(cmd, "after", complete())
	completeFlag(cmd, "filter", complete("provider-*", "config-*", "chain-*", "drey-*", "request-*"))
	completeFlag(cmd, "request", complete())
	return cmd
}

// listEvents shows the newest page, or all pages behind a number.
func (c *cli) listEvents(ctx context.Context, cl *client.Client, q client.EventQuery) error {
	q.Newest = q.After == nil
	for {
		page, err := cl.EventPage(ctx, q)
		if err != nil {
			return err
		}
		for _, ev := range page.Events {
			if err := c.printEvent(ev); err != nil {
				return err
			}
		}
		if q.Newest || page.NextCursor == "" {
			return nil
		}
		var next drey.Seq
		if _, err := fmt.Sscan(page.NextCursor, &next); err != nil {
			return fmt.Errorf("read next_cursor %q: %w", page.NextCursor, err)
		}
		q.After = &next
	}
}

// followEvents shows events until somebody presses Ctrl-C.
func (c *cli) followEvents(ctx context.Context, cl *client.Client, q client.EventQuery) error {
	q.Lost = func(err error) { fmt.Fprintf(c.stderr, "drey: %v; connecting again\n", err) }
	for m, err := range cl.Events(ctx, q) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case m.Gap != nil:
			fmt.Fprintf(c.stderr, "drey: events %d to %d are no longer in the journal\n", m.Gap.From, m.Gap.To)
		case m.Hibernating:
			fmt.Fprintln(c.stderr, "drey: the daemon has gone into hibernation; the next request wakes it")
		case c.json:
			fmt.Fprintf(c.stdout, "%s\n", m.Data)
		default:
			fmt.Fprintln(c.stdout, eventLine(m.Event))
		}
	}
	return nil
}

// printEvent writes an event on one line.
func (c *cli) printEvent(ev drey.Event) error {
	line := eventLine(ev)
	if c.json {
		raw, err := ev.MarshalJSON() // json.Marshal would escape HTML
		if err != nil {
			return err
		}
		line = string(raw)
	}
	_, err := fmt.Fprintln(c.stdout, line)
	return err
}

// eventLine is an event for people: when, its number, how much it matters if
// that is not info, its name, whose it is, what moved, and the rest.
func eventLine(ev drey.Event) string {
	var b strings.Builder
	b.WriteString(ev.At.Local().Format(time.DateTime))
	if ev.Seq > 0 {
		fmt.Fprintf(&b, " %6d ", ev.Seq)
	} else {
		b.WriteString("      - ")
	}
	level := ""
	if ev.Level != drey.Info {
		level = ev.Level.String()
	}
	fmt.Fprintf(&b, "%-5s %-20s", level, printable(ev.Name))
	if ev.Machine != "" || ev.ID != "" {
		b.WriteString(" " + printable(strings.TrimSpace(ev.Machine+" "+ev.ID)))
	}
	if ev.From != "" || ev.To != "" {
		fmt.Fprintf(&b, " %s -> %s", dash(printable(ev.From)), dash(printable(ev.To)))
	}
	if ev.Trigger != "" {
		b.WriteString(" trigger=" + quoted(ev.Trigger))
	}
	for _, f := range ev.Fields {
		b.WriteString(" " + printable(f.Key) + "=" + fieldText(f.Value))
	}
	if ev.Cause > 0 {
		fmt.Fprintf(&b, " cause=%d", ev.Cause)
	}
	if ev.RequestID != "" {
		b.WriteString(" request_id=" + quoted(string(ev.RequestID)))
	}
	return strings.TrimRight(b.String(), " ")
}

// fieldText writes a field's value as it is read easily.
func fieldText(v any) string {
	raw, ok := v.(json.RawMessage)
	if !ok {
		return quoted(fmt.Sprint(v))
	}
	var s string
	if json.Unmarshal(raw, &s) == nil && raw[0] == '"' {
		return quoted(s)
	}
	return printable(string(raw))
}
