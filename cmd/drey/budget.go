package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

func budgetCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "budget",
		Short: "Show what was spent, and what may still be",
		Long: `Show what the paid providers have cost today and this month (UTC), of all
together and by provider, profile and key, and what the budgets of the
configuration leave. HELD is for answers under way: an attempt is counted at the
most that it may cost before it leaves, and at what it did cost when it has ended.`,
		Example: "  drey budget\n  drey budget --json | jq '.budgets[] | select(.scope == \"global\")'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.ensureDaemon(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			b, err := cl.Budgets(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(b)
			}
			if len(b.Budgets) == 0 {
				fmt.Fprintln(c.stdout, "nothing was spent this month, and there is no budget")
				return nil
			}
			printBudgets(c.stdout, b.Budgets, time.Now())
			return nil
		},
	}
}

func printBudgets(w io.Writer, list []api.Budget, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SCOPE\tPERIOD\tSPENT\tHELD\tLIMIT\tLEFT\tRESETS IN")
	for _, b := range list {
		resets := "-"
		if at, err := drey.ParseTime(b.ResetsAt); err == nil {
			resets = span(at.Sub(now))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(b.Scope), b.Period, usd(b.SpentUSD), usd(b.ReservedUSD), limitText(b.LimitUSD), limitText(b.LeftUSD), resets)
	}
	t.Flush()
}

func limitText(v *float64) string {
	if v == nil {
		return "-"
	}
	return usd(*v)
}

// usd writes an amount with two digits behind the point, and more where it
// would be nothing without.
func usd(v float64) string {
	s := strconv.FormatFloat(v, 'f', 6, 64)
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	for len(fraction) < 2 {
		fraction += "0"
	}
	return "$" + whole + "." + fraction
}
