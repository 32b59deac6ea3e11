package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/statedir"
)

func auditCommand(c *cli) *cobra.Command {
	return logCommand(c, "audit", "Show decisions from audit.jsonl", statedir.Home.Audit, statedir.AuditSummary, func(row statedir.LogRow) string {
		var ev drey.Event
		if json.Unmarshal(row.JSON, &ev) != nil {
			return string(row.JSON)
		}
		return eventLine(ev)
	})
}

func requestsCommand(c *cli) *cobra.Command {
	return logCommand(c, "requests", "Show requests from requests.jsonl", statedir.Home.Requests, statedir.RequestSummary, requestLine)
}

// logCommand reads one of the two logs for people. It needs no daemon and wakes
// none.
func logCommand(c *cli, name, short string, path func(statedir.Home) string, fields statedir.SummaryFields, line func(statedir.LogRow) string) *cobra.Command {
	var (
		tail          int
		filter, since string
		summary       bool
	)
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    short + ", rotated files included, oldest first. It reads the files and needs no daemon.",
		Example: fmt.Sprintf("  drey %s --tail 20\n  drey %s --since 2h --filter failed\n  drey %s --summary --json", name, name, name),
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			home, err := c.homePath()
			if err != nil {
				return err
			}
			q := statedir.LogQuery{Tail: tail, Filter: filter}
			if q.Since, err = sinceTime(since, time.Now()); err != nil {
				return err
			}
			r := statedir.ReadLog(path(statedir.At(home)))
			defer func() {
				if r.Broken > 0 {
					fmt.Fprintf(c.stderr, "drey: %d broken lines were skipped\n", r.Broken)
				}
			}()
			if summary {
				s, err := r.Summarize(q, fields)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s)
				}
				printSummary(c.stdout, s)
				return nil
			}
			for row := range r.Rows(q) {
				if c.json {
					fmt.Fprintf(c.stdout, "%s\n", row.JSON)
				} else {
					fmt.Fprintln(c.stdout, line(row))
				}
			}
			return r.Err()
		},
	}
	cmd.Flags().IntVarP(&tail, "tail", "n", 0, "only the last so many (default all)")
	cmd.Flags().StringVar(&filter, "filter", "", "only rows that contain this text")
	cmd.Flags().StringVar(&since, "since", "", "only rows not older than this: a duration (2h, 7d) or a time (RFC 3339)")
	cmd.Flags().BoolVar(&summary, "summary", false, "count them instead")
	return cmd
}

// sinceTime reads a duration back from now, or a time.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := drey.ParseDuration(s); err == nil {
		return now.Add(-d.D()), nil
	}
	t, err := drey.ParseTime(s)
	if err != nil {
		return time.Time{}, usageError{fmt.Errorf("--since: %q is neither a duration like 2h or 7d nor a time (RFC 3339)", s)}
	}
	return t, nil
}

// requestLine writes a request's row on one line for people.
func requestLine(row statedir.LogRow) string {
	get := func(key string) gjson.Result { return gjson.GetBytes(row.JSON, key) }
	var way []string
	for _, a := range get("attempts").Array() {
		way = append(way, a.Get("provider").String()+":"+a.Get("class").String())
	}
	s := fmt.Sprintf("%s  %s  %-9s %-9s %3d %-16s %7.0fms  %s", row.At.Local().Format(time.DateTime), get("id").String(),
		get("wire").String(), get("profile").String(), get("status").Int(), get("outcome").String(), get("ms").Float(), strings.Join(way, " > "))
	if e := get("error").String(); e != "" {
		s += "  " + e
	}
	return s
}

func printSummary(w io.Writer, s statedir.LogSummary) {
	fmt.Fprintf(w, "rows %d", s.Rows)
	if s.Rows > 0 {
		fmt.Fprintf(w, "  from %s to %s", drey.FormatTime(s.First), drey.FormatTime(s.Last))
	}
	fmt.Fprintln(w)
	for _, field := range slices.Sorted(maps.Keys(s.Counts)) {
		fmt.Fprintf(w, "%s:\n", field)
		for _, v := range slices.Sorted(maps.Keys(s.Counts[field])) {
			fmt.Fprintf(w, "  %-32s %d\n", v, s.Counts[field][v])
		}
	}
	for _, field := range slices.Sorted(maps.Keys(s.Sums)) {
		fmt.Fprintf(w, "%s: %g\n", field, s.Sums[field])
	}
}
