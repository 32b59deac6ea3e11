package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
)

func replayCommand(c *cli) *cobra.Command {
	var (
		ask               api.ReplayAsk
		provider, profile string
		asDiff            bool
	)
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Send a captured request again, and compare the answers",
		Long: `Send a request again that was captured (logs.capture: errors or all), to the same
chain, to one provider or down another profile, and show both answers side by
side: text, tool calls, tokens, time and cost. ` + "`drey requests`" + ` marks what was
captured.

Nobody else gets the answer, and it counts for nothing in the providers' health.
Paid providers are asked with --yes only. Secrets are masked in a capture, and
sent again as they are masked.

Exit 1 if the replay is not answered well.`,
		Example: `  drey replay req_0a1b2c3d4e5f6a7b8c9d0e1f
  drey replay req_0a1b2c3d4e5f6a7b8c9d0e1f --provider big --diff
  drey replay req_0a1b2c3d4e5f6a7b8c9d0e1f --profile cloud --yes --json | jq .replay.cost_usd`,
		Args:              exactlyOneArg,
		ValidArgsFunction: c.completeCaptures,
		RunE: func(cmd *cobra.Command, args []string) error {
			if provider != "" && profile != "" {
				return usage(cmd, fmt.Errorf("--provider and --profile exclude each other"))
			}
			ask.Provider, ask.Profile = drey.ProviderID(provider), drey.ProfileID(profile)
			return c.asking(func(ctx context.Context, cl *client.Client, args []string) error {
				r, err := cl.Replay(ctx, drey.RequestID(args[0]), ask)
				if err != nil {
					return err
				}
				if err := c.printReplay(r, asDiff); err != nil {
					return err
				}
				if r.Replay.Outcome != "ok" {
					return exitStatus(exitFailed)
				}
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "ask this provider and no other, also if its health has excluded it")
	cmd.Flags().StringVar(&profile, "profile", "", "go down this profile's chain (default the request's own)")
	cmd.Flags().BoolVar(&asDiff, "diff", false, "show how text and calls differ, as a unified diff")
	cmd.Flags().BoolVar(&ask.Yes, "yes", false, "let it cost money: paid providers may be asked, also where allow_paid is off")
	completeFlag(cmd, "provider", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return c.completeProviders(cmd, nil, word)
	})
	completeFlag(cmd, "profile", c.completeProfiles)
	return cmd
}

// completeCaptures offers the ids of the captured requests of the daemon that
// runs, newest first.
func (c *cli) completeCaptures(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const most = 50 // more than anybody reads
	return c.offer(cmd, args, func(ctx context.Context, cl *client.Client) (words []string, err error) {
		page, err := cl.Captures(ctx, "", most)
		for _, e := range page.Captures {
			words = append(words, cobra.CompletionWithDesc(string(e.ID), fmt.Sprintf("%s %s %s", e.At, e.Outcome, dash(e.Provider))))
		}
		return words, err
	})
}

// completeProfiles offers the profiles of the daemon that runs.
func (c *cli) completeProfiles(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.offer(cmd, nil, func(ctx context.Context, cl *client.Client) (words []string, err error) {
		st, err := cl.Status(ctx)
		for _, p := range st.Profiles {
			words = append(words, string(p.ID))
		}
		return words, err
	})
}

// offer completes a first argument with what a daemon that runs has to say, and
// with nothing where none runs.
func (c *cli) offer(cmd *cobra.Command, args []string, words func(context.Context, *client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cl, err := c.look(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.Close()
	list, _ := words(cmd.Context(), cl) // whoever completes wants words or nothing
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func (c *cli) printReplay(r api.Replay, asDiff bool) error {
	switch {
	case c.json && asDiff:
		return c.printJSON(struct {
			api.Replay
			Diff string `json:"diff"`
		}{r, replayDiff(r)})
	case c.json:
		return c.printJSON(r)
	}
	printReplayFacts(c.stdout, r)
	if !asDiff {
		printReplayTexts(c.stdout, r)
	} else if d := replayDiff(r); d != "" {
		fmt.Fprint(c.stdout, "\n", d)
	} else {
		fmt.Fprintln(c.stdout, "\ntext and calls are the same")
	}
	var notes []string
	if r.Masked {
		notes = append(notes, "the capture held secrets, which are masked: what was sent again is not the same")
	}
	for _, side := range []struct {
		name string
		api.ReplaySide
	}{{"original", r.Original}, {"replay", r.Replay}} {
		switch {
		case side.Cut:
			notes = append(notes, "the answer of the "+side.name+" was too large to be kept whole: it ends early here")
		case side.Outcome == "ok" && !side.Complete:
			notes = append(notes, "the answer of the "+side.name+" is not kept to its end")
		}
	}
	for _, n := range notes {
		fmt.Fprintf(c.stdout, "\nnote: %s\n", n)
	}
	return nil
}

// printReplayFacts writes everything about two answers but what they say.
func printReplayFacts(w io.Writer, r api.Replay) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name string, of func(api.ReplaySide) string) {
		a, b := of(r.Original), of(r.Replay)
		if a == "" && b == "" {
			return
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, printable(dash(a)), printable(dash(b)))
	}
	ms := func(v float64) string {
		if v == 0 {
			return ""
		}
		return time.Duration(v * float64(time.Millisecond)).Round(time.Millisecond).String()
	}
	row("", func(s api.ReplaySide) string {
		if s.ID == r.Original.ID {
			return "ORIGINAL"
		}
		return "REPLAY"
	})
	row("id", func(s api.ReplaySide) string { return string(s.ID) })
	row("profile", func(s api.ReplaySide) string { return string(s.Profile) })
	row("provider", func(s api.ReplaySide) string { return string(s.Provider) })
	row("model", func(s api.ReplaySide) string { return s.Model })
	row("way", func(s api.ReplaySide) string { return strings.Join(s.Way, " > ") })
	row("outcome", func(s api.ReplaySide) string { return fmt.Sprintf("%s (%d)", s.Outcome, s.Status) })
	row("finish", func(s api.ReplaySide) string { return s.Finish })
	row("first token", func(s api.ReplaySide) string { return ms(s.TTFTMS) })
	row("time", func(s api.ReplaySide) string { return ms(s.MS) })
	row("tokens", func(s api.ReplaySide) string { return replayTokens(s.Tokens) })
	row("cost", func(s api.ReplaySide) string {
		if s.CostUSD == nil {
			return ""
		}
		return usd(*s.CostUSD)
	})
	row("calls", func(s api.ReplaySide) string {
		if len(r.Original.Calls)+len(r.Replay.Calls) == 0 {
			return ""
		}
		return strconv.Itoa(len(s.Calls))
	})
	row("error", func(s api.ReplaySide) string { return cut(s.Error, 100) })
	t.Flush()
}

func replayTokens(t api.ReplayTokens) string {
	s := fmt.Sprintf("%d in, %d out", t.Input, t.Output)
	if t.CacheRead > 0 {
		s += fmt.Sprintf(", %d from cache", t.CacheRead)
	}
	if t.Estimated {
		s += " (estimated)"
	}
	return s
}

// replayWidth is how wide each of the two columns is: both fit beside each other
// on a hundred columns, which is what most terminals have.
const replayWidth = 48

// printReplayTexts writes what two answers say, side by side.
func printReplayTexts(w io.Writer, r api.Replay) {
	left, right := replayLines(r.Original), replayLines(r.Replay)
	if len(left)+len(right) == 0 {
		return
	}
	wrap := func(lines []string) (out []string) {
		for _, l := range lines {
			out = append(out, wrapped(printable(strings.ReplaceAll(l, "\t", "    ")), replayWidth)...)
		}
		return out
	}
	left, right = wrap(left), wrap(right)
	fmt.Fprintln(w)
	for i := range max(len(left), len(right)) {
		var a, b string
		if i < len(left) {
			a = left[i]
		}
		if i < len(right) {
			b = right[i]
		}
		pad := max(0, replayWidth-len([]rune(a)))
		fmt.Fprintln(w, strings.TrimRight(a+strings.Repeat(" ", pad)+" | "+b, " "))
	}
}

// wrapped cuts a line into pieces of at most n characters, at a blank where there
// is one in the second half.
func wrapped(line string, n int) []string {
	r := []rune(line)
	var out []string
	for len(r) > n {
		at := n
		for i := n; i > n/2; i-- {
			if r[i] == ' ' {
				at = i
				break
			}
		}
		out = append(out, string(r[:at]))
		if r = r[at:]; r[0] == ' ' {
			r = r[1:]
		}
	}
	return append(out, string(r))
}

// replayLines writes down what an answer says, one line each: its text, then its
// calls with their arguments in a form that can be compared.
func replayLines(s api.ReplaySide) []string {
	var out []string
	if s.Text != "" {
		out = strings.Split(strings.TrimRight(s.Text, "\n"), "\n")
	}
	for _, call := range s.Calls {
		text := call.Arguments
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			if b, err := json.MarshalIndent(v, "", "  "); err == nil {
				text = string(b)
			}
		}
		out = append(out, strings.Split(call.Name+" "+text, "\n")...)
	}
	return out
}

// replayDiff is the unified diff of what two answers say; "" if it is the same.
func replayDiff(r api.Replay) string {
	text := func(s api.ReplaySide) []byte {
		lines := replayLines(s)
		for i := range lines {
			lines[i] = printable(strings.ReplaceAll(lines[i], "\t", "    ")) + "\n"
		}
		return []byte(strings.Join(lines, ""))
	}
	name := func(s api.ReplaySide) string { return fmt.Sprintf("%s %s", s.ID, dash(string(s.Provider))) }
	d := string(diff.Diff(name(r.Original), text(r.Original), name(r.Replay), text(r.Replay)))
	if _, unified, ok := strings.Cut(d, "\n"); ok { // its first line is the command that it stands for
		return unified
	}
	return ""
}

// captureMarks says of a request's row that it was captured, or sent again.
func captureMarks(get func(string) gjson.Result) (s string) {
	if get("captured").Bool() {
		s = "  [captured]"
	}
	if of := get("replay_of").String(); of != "" {
		s += "  [replay of " + of + "]"
	}
	return s
}
