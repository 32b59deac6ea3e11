package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config/migrate"
)

// importReport is what `drey config import --json` prints.
type importReport struct {
	YAML  string         `json:"yaml"`
	Lost  []migrate.Item `json:"lost"`
	Notes []migrate.Item `json:"notes"`
	ToDo  []string       `json:"todo"`
}

// maxImport is above what any source may have, which is for migrate to say.
const maxImport = 2 << 20

func configImport(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "import " + strings.Join(migrate.Sources(), "|") + " FILE",
		Short: "Write a drey.yaml from the configuration of another gateway",
		Long: `Write a drey.yaml from the configuration of another gateway: CodeRouter's
providers.yaml or the config.yaml of LiteLLM's proxy; - reads it from stdin.

Each field of it is carried over, or listed at the head of what is written, with
the reason. Secrets that stand in it are not written: references to variables
take their place, and the head says which to set. Exit 0 if nothing was lost, 1
if something was, 2 if the file cannot be read as such.`,
		Example: "  drey config import litellm config.yaml > drey.yaml\n  drey config import coderouter ~/.coderouter/providers.yaml > drey.yaml\n  drey config check drey.yaml",
		Args:    usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return migrate.Sources(), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return completeYAML(cmd, args, typed)
			default:
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(migrate.Sources(), args[0]) {
				return usage(cmd, fmt.Errorf("%q is no gateway that drey can import from; known are %s", args[0], strings.Join(migrate.Sources(), " and ")))
			}
			data, err := c.source(args[1])
			var r *migrate.Result
			if err == nil {
				r, err = migrate.Import(args[0], data)
			}
			if err != nil {
				return &drey.Error{Class: drey.Caller, Code: "config", Op: "import " + args[1], Err: err, Hint: "see `drey config import --help`"}
			}
			if err := c.printImport(r); err != nil {
				return err
			}
			if len(r.Lost) == 0 {
				return nil
			}
			if !c.json {
				fmt.Fprintf(c.stderr, "something could not be carried over; the head of what was written says what, and why (%d)\n", len(r.Lost))
			}
			return exitStatus(exitFailed)
		},
	}
}

func (c *cli) printImport(r *migrate.Result) error {
	if !c.json {
		_, err := c.stdout.Write(r.YAML)
		return err
	}
	report := importReport{YAML: string(r.YAML), Lost: []migrate.Item{}, Notes: []migrate.Item{}, ToDo: []string{}}
	report.Lost, report.Notes, report.ToDo = append(report.Lost, r.Lost...), append(report.Notes, r.Notes...), append(report.ToDo, r.ToDo...)
	return c.printJSON(report)
}

// source reads a file, or stdin for -.
func (c *cli) source(path string) ([]byte, error) {
	in := c.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			if p, ok := errors.AsType[*os.PathError](err); ok {
				err = p.Err // the path is told anyway
			}
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxImport))
}
