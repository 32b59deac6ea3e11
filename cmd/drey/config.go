package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/daemon"
	"github.com/dreyhq/drey/internal/statedir"
)

// zeroConfig is the daemon's word for the source where there is no file.
const zeroConfig = "zero-config"

func configCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check, show, describe and import the configuration",
		Example: "  drey config check\n  drey config show > ~/.drey/drey.yaml\n  drey config reload",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(configCheck(c), configShow(c), configReload(c), configSchema(c), configReference(c), configImport(c))
	return cmd
}

// checkReport is what `drey config check --json` prints.
type checkReport struct {
	OK       bool        `json:"ok"`
	Source   string      `json:"source,omitempty"` // of a good one; a fault names its place
	Warnings []string    `json:"warnings,omitempty"`
	Errors   []api.Field `json:"errors,omitempty"`
}

func configCheck(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration and say all that is wrong with it",
		Long: `Check a configuration: exit 0 if it is good, 2 if it is not, with every fault at
its place and what to do about it.`,
		Example:           "  drey config check\n  drey config check ./drey.yaml --json",
		Args:              atMostOneArg,
		ValidArgsFunction: completeYAML,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := c.daemonOptions()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				opts.Config = args[0]
			}
			f, source, warnings, err := daemon.Show(cmd.Context(), opts)
			if c.json {
				report := checkReport{OK: err == nil, Source: source, Warnings: warnings, Errors: daemon.ConfigFields(err)}
				if perr := c.printJSON(report); perr != nil || err == nil {
					return perr
				}
				return exitStatus(exitCode(err))
			}
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(c.stderr, "warning: %s\n", w)
			}
			if source == zeroConfig {
				fmt.Fprintf(c.stdout, "no configuration file: what was found on this machine is good (providers %d; see `drey config show`)\n", len(f.Providers))
				return nil
			}
			fmt.Fprintf(c.stdout, "%s is good\n", source)
			return nil
		},
	}
}

func configShow(c *cli) *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration as a file to keep, or every value in force",
		Long: `Print the configuration as a file: without one, what was found on this machine,
ready to be kept as drey.yaml. With --effective or --json every value in force
and where it came from. Secrets are shown as references, never as values.`,
		Example: "  drey config show > ~/.drey/drey.yaml\n  drey config show --effective",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := c.daemonOptions()
			if err != nil {
				return err
			}
			if c.writesItsOwnFile(opts.Home) {
				opts.Home = filepath.Join(opts.Home, "no-such-home")
			}
			f, source, warnings, err := daemon.Show(cmd.Context(), opts)
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintf(c.stderr, "warning: %s\n", w)
			}
			switch {
			case c.json:
				return c.printJSON(map[string]any{"source": source, "settings": f.Effective()})
			case effective:
				for _, s := range f.Effective() {
					fmt.Fprintf(c.stdout, "%-44s %-28s # %s\n", s.Path, printable(s.Value), s.Source)
				}
				return nil
			default:
				fmt.Fprintf(c.stdout, "# %s\n", source)
				_, err := c.stdout.Write(config.Marshal(f))
				return err
			}
		},
	}
	cmd.Flags().BoolVar(&effective, "effective", false, "every value in force and where it came from")
	return cmd
}

// writesItsOwnFile reports whether stdout is the home's own configuration,
// still empty. `drey config show > ~/.drey/drey.yaml` is what everybody types,
// and the shell makes the file before drey looks whether there is one.
func (c *cli) writesItsOwnFile(home string) bool {
	out, ok := c.stdout.(*os.File)
	if !ok {
		return false
	}
	mine, err := out.Stat()
	if err != nil {
		return false
	}
	file, err := os.Stat(statedir.At(home).Config())
	return err == nil && file.Size() == 0 && os.SameFile(mine, file)
}

func configReload(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "reload",
		Short:   "Have the daemon read its configuration again",
		Long:    "Have the daemon read its configuration again. A bad file changes nothing; its faults are printed.",
		Example: "  drey config check && drey config reload",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.look(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			r, err := cl.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(r)
			}
			fmt.Fprintf(c.stdout, "loaded %s\n", r.Source)
			for _, k := range r.NeedsRestart {
				fmt.Fprintf(c.stdout, "%s changes with the next start\n", k)
			}
			return nil
		},
	}
}

func configSchema(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of drey.yaml",
		Example: "  drey config schema > drey.schema.json\n  # then, first in drey.yaml:  # yaml-language-server: $schema=drey.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.stdout.Write(config.Schema())
			return err
		},
	}
}

func configReference(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Print the manual of every key of drey.yaml",
		Long:    "Print the manual of every key of drey.yaml, as Markdown; with --json as one\nobject with the text in it.",
		Example: "  drey config reference | less",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return c.printJSON(map[string]string{"markdown": string(config.Reference())})
			}
			_, err := c.stdout.Write(config.Reference())
			return err
		},
	}
}

// daemonOptions are what a daemon of this home would start with.
func (c *cli) daemonOptions() (daemon.Options, error) {
	opts := c.base
	home, err := c.homePath()
	opts.Home, opts.Config = home, c.config
	return opts, err
}

// getenv looks up a variable as the daemon will.
func (c *cli) getenv(name string) string {
	if c.base.Env == nil {
		return os.Getenv(name)
	}
	v, _ := c.base.Env(name)
	return v
}
