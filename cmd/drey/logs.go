package main

import (
	"bufio"
	"encoding/json"
	"errors"
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
	return logCommand(c, logKind{
		name: "audit", short: "Show decisions from audit.jsonl", example: "provider-parked",
		path: statedir.Home.Audit, fields: statedir.AuditSummary, line: auditLine,
	})
}

func requestsCommand(c *cli) *cobra.Command {
	return logCommand(c, logKind{
		name: "requests", short: "Show requests from requests.jsonl", example: `'"outcome":"failed"'`,
		path: statedir.Home.Requests, fields: statedir.RequestSummary, line: requestLine,
	})
}

// logKind is what the two logs for people differ in.
type logKind struct {
	name, short string
	example     string // of a --filter
	path        func(statedir.Home) string
	fields      statedir.SummaryFields
	line        func(statedir.LogRow) string
}

// logCommand reads one of the logs. It needs no daemon and wakes none.
func logCommand(c *cli, k logKind) *cobra.Command {
	var (
		tail          int
		filter, since string
		summary       bool
	)
	cmd := &cobra.Command{
		Use:   k.name,
		Short: k.short,
		Long: k.short + `, rotated files included, oldest first. It reads the
files and needs no daemon. With --json it prints the rows as they are, one
object per line; with --summary too, one object.`,
		Example: fmt.Sprintf("  drey %s --tail 20\n  drey %s --since 2h --filter %s\n  drey %s --summary --json", k.name, k.name, k.example, k.name),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := c.homePath()
			if err != nil {
				return err
			}
			if tail < 0 {
				return usage(cmd, fmt.Errorf("--tail: %d is negative", tail))
			}
			q := statedir.LogQuery{Tail: tail, Filter: filter}
			if q.Since, err = sinceTime(since, time.Now()); err != nil {
				return usage(cmd, err)
			}
			r := statedir.ReadLog(k.path(statedir.At(home)))
			if summary {
				err = c.summarize(r, q, k.fields)
			} else {
				err = c.printRows(r, q, k.line)
			}
			if r.Broken > 0 && !(summary && c.json) { // there it is counted
				fmt.Fprintf(c.stderr, "drey: %d broken lines were skipped\n", r.Broken)
			}
			return err
		},
	}
	cmd.Flags().IntVarP(&tail, "tail", "n", 0, "only the last so many (default all)")
	cmd.Flags().StringVar(&filter, "filter", "", "only rows that contain this text")
	cmd.Flags().StringVar(&since, "since", "", "only rows not older than this: a duration (2h, 7d) or a time (RFC 3339)")
	cmd.Flags().BoolVar(&summary, "summary", false, "count them instead")
	completeFlag(cmd, "tail", complete("10", "100"))
	completeFlag(cmd, "filter", complete())
	completeFlag(cmd, "since", complete("10m", "1h", "1d", "7d"))
	return cmd
}

// sinceTime reads a duration back from now, or a time.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := drey.ParseTime(s); err == nil {
		return t, nil
	}
	d, err := drey.ParseDuration(s)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("--since: %w, and it is not a time (RFC 3339) either", err)
	case d < 0:
		return time.Time{}, errors.New("--since: a duration goes back from now by itself; write it without the minus")
	}
	return now.Add(-d.D()), nil
}

func (c *cli) printRows(r *statedir.LogReader, q statedir.LogQuery, line func(statedir.LogRow) string) error {
	w := bufio.NewWriter(c.stdout)
	for row := range r.Rows(q) {
		text := string(row.JSON)
		if !c.json {
			text = line(row)
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return errors.Join(r.Err(), w.Flush())
}

// auditLine writes an event of the audit log on one line for people.
func auditLine(row statedir.LogRow) string {
	var ev drey.Event
	if json.Unmarshal(row.JSON, &ev) != nil {
		return printable(string(row.JSON))
	}
	return eventLine(ev)
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
	for _, g := range get("guards").Array() {
		s += "  [" + g.Get("guard").String() + ":" + g.Get("action").String() + "]"
	}
	s += captureMarks(get)
	if e := get("error").String(); e != "" {
		s += "  " + e
	}
	return strings.TrimRight(printable(s), " ")
}

// summaryReport is what --summary --json prints.
type summaryReport struct {
	Rows   int                       `json:"rows"`
	Broken int                       `json:"broken,omitempty"`
	First  string                    `json:"first,omitempty"`
	Last   string                    `json:"last,omitempty"`
	Counts map[string]map[string]int `json:"counts"`
	Sums   map[string]float64        `json:"sums,omitempty"`
}

func (c *cli) summarize(r *statedir.LogReader, q statedir.LogQuery, fields statedir.SummaryFields) error {
	s, err := r.Summarize(q, fields)
	if err != nil {
		return err
	}
	report := summaryReport{Rows: s.Rows, Broken: s.Broken, Counts: s.Counts, Sums: s.Sums}
	if s.Rows > 0 {
		report.First, report.Last = drey.FormatTime(s.First), drey.FormatTime(s.Last)
	}
	if c.json {
		return c.printJSON(report)
	}
	printSummary(c.stdout, report)
	return nil
}

func printSummary(w io.Writer, s summaryReport) {
	fmt.Fprintf(w, "rows %d", s.Rows)
	if s.Rows > 0 {
		fmt.Fprintf(w, "  from %s to %s", s.First, s.Last)
	}
	fmt.Fprintln(w)
	for _, field := range slices.Sorted(maps.Keys(s.Counts)) {
		fmt.Fprintf(w, "%s:\n", field)
		for _, v := range slices.Sorted(maps.Keys(s.Counts[field])) {
			fmt.Fprintf(w, "  %-32s %d\n", printable(v), s.Counts[field][v])
		}
	}
	for _, field := range slices.Sorted(maps.Keys(s.Sums)) {
		fmt.Fprintf(w, "%s: %g\n", field, s.Sums[field])
	}
}
