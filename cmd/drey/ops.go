package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
)

func opsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ops",
		Short: "Show operations, wait for them, cancel them",
		Long: `An operation is one child's life: a member of a mob, or a tool that runs in the
background, from its provisioning to how it ended. An ID may be cut to any
prefix or suffix of 6 characters or more that only one operation has; tables
show the last 8.`,
		Example: "  drey ops list --active\n  drey ops watch 9a514c2e\n  drey ops wait 9a514c2e --timeout 10m",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(opsList(c), opsShow(c), opsWatch(c), opsWait(c), opsCancel(c), opsTree(c))
	return cmd
}

// someArgs takes one argument or more.
var someArgs = usageArgs(cobra.MinimumNArgs(1))

// asking runs a command with a daemon to talk to.
func (c *cli) asking(f func(ctx context.Context, cl *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := interruptible(cmd.Context())
		defer cancel()
		cl, err := c.ensureDaemon(ctx)
		if err != nil {
			return err
		}
		defer cl.Close()
		return f(ctx, cl, args)
	}
}

func opsList(c *cli) *cobra.Command {
	var q client.OperationQuery
	var mob string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List operations",
		Example: "  drey ops list --active\n  drey ops list --status failed --status aborted --json",
		Args:    noArgs,
		RunE: c.asking(func(ctx context.Context, cl *client.Client, _ []string) error {
			if mob != "" {
				q.Registry = "mob:" + mob
			}
			page, err := cl.Operations(ctx, q)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(page)
			}
			printOperations(c.stdout, page.Operations, time.Now())
			if page.NextCursor != "" {
				fmt.Fprintf(c.stderr, "drey: there are more; --limit shows up to 1000, --cursor %s goes on\n", page.NextCursor)
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&q.Active, "active", false, "only those that live")
	f.StringArrayVar(&q.Status, "status", nil, "only those in this status; may be given several times")
	f.StringVar(&q.Kind, "kind", "", "only mob_member_child, or background_tool_op")
	f.StringVar(&q.Owner, "owner", "", "only those of this session")
	f.StringVar(&mob, "mob", "", "only those of this mob, by its id")
	f.BoolVar(&q.Archived, "archived", false, "those that ended long ago, in place of those that are at hand")
	f.IntVar(&q.Limit, "limit", 0, "how many (default 100, at most 1000)")
	f.StringVar(&q.Cursor, "cursor", "", "go on behind the page before")
	completeFlag(cmd, "status", complete("provisioning", "running", "retiring", "completed", "failed", "aborted", "cancelled", "retired", "terminated"))
	completeFlag(cmd, "kind", complete("mob_member_child", "background_tool_op"))
	for _, name := range []string{"owner", "mob", "limit", "cursor"} {
		completeFlag(cmd, name, complete())
	}
	return cmd
}

// shortID is how tables show an id: heads of ids look alike.
func shortID(id string) string { return id[max(0, len(id)-8):] }

func printOperations(w io.Writer, ops []api.Operation, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tSTATUS\tREGISTRY\tAGE\tSAYS")
	for _, op := range ops {
		age := span(now.Sub(time.UnixMilli(op.CreatedAtMS)))
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", shortID(op.ID), printable(op.Name), op.Status, printable(op.Registry), age, saying(&op))
	}
	_ = t.Flush() // what printing cannot do, the caller cannot either
}

// saying is the last that is known of an operation, in a few words.
func saying(op *api.Operation) string {
	if len(op.Outcome) > 0 {
		var o struct{ Error, Reason, Content string }
		if json.Unmarshal(op.Outcome, &o) == nil {
			return cutLine(printable(cmp.Or(o.Error, o.Reason, o.Content, "-")))
		}
	}
	if p := op.Progress; p != nil {
		text := p.Message
		if p.Percent != nil {
			text = strings.TrimSpace(fmt.Sprintf("%g%% %s", *p.Percent, text))
		}
		return cutLine(printable(text))
	}
	return "-"
}

// cutLine shortens what a table has no room for.
func cutLine(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "..."
	}
	return s
}

func opsShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one operation and what it said lately",
		Example: "  drey ops show 9a514c2e",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
			ids, err := wholeIDs(ctx, cl, args)
			if err != nil {
				return err
			}
			op, err := cl.Operation(ctx, ids[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(op)
			}
			said, err := cl.OperationProgress(ctx, ids[0])
			if err != nil {
				return err
			}
			printOperation(c.stdout, &op, said.Progress)
			return nil
		}),
	}
}

func printOperation(w io.Writer, op *api.Operation, said []api.OpProgress) {
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s: %s\n", key, printable(value))
		}
	}
	at := func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return time.UnixMilli(ms).Local().Format(time.DateTime)
	}
	line("id", op.ID)
	line("name", op.Name)
	line("kind", op.Kind)
	line("status", op.Status)
	if op.Archived {
		line("archived", "yes")
	}
	line("outcome", string(op.Outcome))
	line("registry", op.Registry)
	line("owner", op.Owner)
	line("child", op.Child)
	line("parent", op.Parent)
	if op.Peer != nil {
		line("peer", op.Peer.Name+" at "+op.Peer.Peer.Address)
	}
	line("created", at(op.CreatedAtMS))
	line("started", at(op.StartedAtMS))
	line("ended", at(op.CompletedAtMS))
	for _, p := range said {
		text := p.Message
		if p.Percent != nil {
			text = strings.TrimSpace(fmt.Sprintf("%g%% %s", *p.Percent, text))
		}
		line("progress", at(p.AtMS)+" "+text)
	}
}

func opsWatch(c *cli) *cobra.Command {
	var after uint64
	cmd := &cobra.Command{
		Use:     "watch [ID...]",
		Short:   "Follow operations as they change",
		Long:    "Follow the events of all operations, or of those that are named; of these until all have ended.",
		Example: "  drey ops watch\n  drey ops watch 9a514c2e --after 120",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
				ids, err := wholeIDs(ctx, cl, args)
				if err != nil {
					return err
				}
				q := client.EventQuery{Machine: "operation"}
				if cmd.Flags().Changed("after") {
					seq := drey.Seq(after)
					q.After = &seq
				}
				return c.watchOperations(ctx, cl, q, ids)
			})(cmd, args)
		},
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "begin behind this event")
	completeFlag(cmd, "after", complete())
	return cmd
}

// watchOperations shows events of operations until those that are named, if
// any, have ended.
func (c *cli) watchOperations(ctx context.Context, cl *client.Client, q client.EventQuery, ids []string) error {
	live := map[string]bool{}
	for _, id := range ids {
		op, err := cl.Operation(ctx, id)
		if err != nil {
			return err
		}
		// One that has ended is followed where its ending is still to be shown.
		if !endings[op.Status] || q.After != nil && *q.After < drey.Seq(op.LastSeq) {
			live[id] = true
		}
	}
	if len(ids) > 0 && len(live) == 0 {
		return nil
	}
	if q.After == nil && len(ids) > 0 {
		page, err := cl.Operations(ctx, client.OperationQuery{Limit: 1})
		if err != nil {
			return err
		}
		q.After = &page.AsOfSeq
		for id := range live { // one that ended between the two looks
			op, err := cl.Operation(ctx, id)
			if err != nil {
				return err
			}
			if endings[op.Status] && drey.Seq(op.LastSeq) <= page.AsOfSeq {
				delete(live, id)
			}
		}
		if len(live) == 0 {
			return nil
		}
	}
	q.Lost = func(err error) { fmt.Fprintf(c.stderr, "drey: %v; connecting again\n", err) }
	for m, err := range cl.Events(ctx, q) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case m.Gap != nil:
			fmt.Fprintf(c.stderr, "drey: events %d to %d are no longer in the journal\n", m.Gap.From, m.Gap.To)
			continue
		case m.Hibernating:
			fmt.Fprintln(c.stderr, "drey: the daemon has gone into hibernation; the next request wakes it")
			continue
		case len(ids) > 0 && !live[m.Event.ID]:
			continue
		case c.json:
			fmt.Fprintf(c.stdout, "%s\n", m.Data)
		default:
			fmt.Fprintln(c.stdout, eventLine(m.Event))
		}
		if endings[m.Event.To] {
			delete(live, m.Event.ID)
		}
		if len(ids) > 0 && len(live) == 0 {
			return nil
		}
	}
	return nil
}

// endings are the statuses that nothing leaves.
var endings = map[string]bool{"completed": true, "failed": true, "aborted": true, "cancelled": true, "retired": true, "terminated": true}

func opsWait(c *cli) *cobra.Command {
	var timeout string
	cmd := &cobra.Command{
		Use:   "wait ID...",
		Short: "Wait until operations have ended",
		Long: `Wait until all of the operations have ended. It exits 0 if all of them were
completed or retired, 1 if some ended otherwise, 124 if the time was over before.`,
		Example: "  drey ops wait 9a514c2e 77b01d3f --timeout 10m",
		Args:    someArgs,
		RunE: c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
			ids, err := wholeIDs(ctx, cl, args)
			if err != nil {
				return err
			}
			got, err := cl.WaitOperations(ctx, api.OperationWait{IDs: ids, Timeout: timeout})
			if err != nil {
				return err
			}
			return c.printWaited(got)
		}),
	}
	cmd.Flags().StringVar(&timeout, "timeout", "", "give up after this long (30s, 10m; default never)")
	completeFlag(cmd, "timeout", complete())
	return cmd
}

// printWaited shows outcomes, and ends with the exit code that they make.
func (c *cli) printWaited(got api.OperationsWaited) error {
	code := exitOK
	if c.json {
		if err := c.printJSON(got); err != nil {
			return err
		}
	}
	for i, raw := range got.Outcomes {
		var o struct {
			Type string `json:"outcome_type"`
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("read the outcome of %s: %w", got.IDs[i], err)
		}
		switch o.Type {
		case "completed", "retired", "":
		default:
			code = exitFailed
		}
		if !c.json {
			fmt.Fprintf(c.stdout, "%s %s\n", got.IDs[i], cmp.Or(o.Type, "live"))
		}
	}
	if !got.Satisfied {
		code = exitTimedOut
	}
	if code != exitOK {
		return exitStatus(code)
	}
	return nil
}

func opsCancel(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "cancel ID...",
		Short:   "Cancel operations",
		Example: `  drey ops cancel 9a514c2e --reason "wrong branch"`,
		Args:    someArgs,
		RunE: c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
			ids, err := wholeIDs(ctx, cl, args)
			if err != nil {
				return err
			}
			var failed []error
			for _, id := range ids {
				op, err := cl.CancelOperation(ctx, id, api.OperationCancel{Reason: reason})
				switch {
				case err != nil:
					failed = append(failed, err)
				case c.json:
					if err := c.printJSON(op); err != nil {
						return err
					}
				default:
					fmt.Fprintf(c.stdout, "%s %s\n", op.ID, op.Status)
				}
			}
			return errors.Join(failed...)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who ask later")
	completeFlag(cmd, "reason", complete())
	return cmd
}

func opsTree(c *cli) *cobra.Command {
	var mob string
	cmd := &cobra.Command{
		Use:     "tree [ID]",
		Short:   "Show operations, each above those that its child owns",
		Example: "  drey ops tree\n  drey ops tree 9a514c2e",
		Args:    atMostOneArg,
		RunE: c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
			root := ""
			ids, err := wholeIDs(ctx, cl, args)
			if err != nil {
				return err
			}
			if len(ids) > 0 {
				root = ids[0]
			}
			tree, err := cl.OperationTree(ctx, root, mob)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(tree)
			}
			printBranches(c.stdout, tree.Operations, "")
			return nil
		}),
	}
	cmd.Flags().StringVar(&mob, "mob", "", "only those of this mob, by its id")
	completeFlag(cmd, "mob", complete())
	return cmd
}

func printBranches(w io.Writer, in []api.OperationBranch, indent string) {
	for i := range in {
		op := &in[i].Operation
		fmt.Fprintf(w, "%s%s %s %s\n", indent, shortID(op.ID), printable(op.Name), op.Status)
		printBranches(w, in[i].Below, indent+"  ")
	}
}

// minShortID is how much of an id must be given at least.
const minShortID = 6

// wholeIDs finds the operations whose ids begin or end with what was given:
// among those at hand and, if one is not there, among the archived ones. Each is
// returned once, however often it was named.
func wholeIDs(ctx context.Context, cl *client.Client, given []string) ([]string, error) {
	out := make([]string, len(given))
	found := map[string]map[string]bool{} // by what was given
	for i, text := range given {
		switch text = strings.ToLower(text); {
		case len(text) == 36:
			out[i] = text
		case len(text) < minShortID:
			return nil, &drey.Error{Class: drey.Caller, Code: codeUsage, Err: fmt.Errorf("%q is too short for the id of an operation", text), Hint: "give 6 characters of its beginning or end"}
		default:
			found[text] = map[string]bool{}
		}
	}
	for _, archived := range []bool{false, true} {
		if err := findIDs(ctx, cl, archived, found); err != nil {
			return nil, err
		}
	}
	for i, text := range given {
		if out[i] != "" {
			continue
		}
		ids := found[strings.ToLower(text)]
		if len(ids) != 1 {
			err := fmt.Errorf("no operation has an id that begins or ends with %q", text)
			code := api.CodeNotFound
			if len(ids) > 1 {
				err, code = fmt.Errorf("%d operations have ids that begin or end with %q", len(ids), text), "ambiguous"
			}
			return nil, &drey.Error{Class: drey.Caller, Code: code, Err: err, Hint: "see `drey ops list`"}
		}
		for id := range ids {
			out[i] = id
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	}), nil
}

// findIDs walks over the operations and keeps the ids that match. The archived
// ones are asked for only while something is not found.
func findIDs(ctx context.Context, cl *client.Client, archived bool, found map[string]map[string]bool) error {
	missing := false
	for _, ids := range found {
		missing = missing || len(ids) == 0
	}
	for q := (client.OperationQuery{Archived: archived, Limit: 1000}); missing; {
		page, err := cl.Operations(ctx, q)
		if err != nil {
			return err
		}
		for _, op := range page.Operations {
			for text, ids := range found {
				if strings.HasPrefix(op.ID, text) || strings.HasSuffix(op.ID, text) {
					ids[op.ID] = true
				}
			}
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return nil
		}
	}
	return nil
}
