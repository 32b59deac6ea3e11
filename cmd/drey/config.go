package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/daemon"
)

func configCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and describe the configuration",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheck(c), configShow(c), configReload(c),
		printer(c, "schema", "Print the JSON Schema of drey.yaml", config.Schema),
		printer(c, "reference", "Print the manual of every key of drey.yaml", config.Reference))
	return cmd
}

// printer is a command that prints what a function returns.
func printer(c *cli, name, short string, text func() []byte) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.stdout.Write(text())
			return err
		},
	}
}

func configCheck(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Check a configuration and say all that is wrong with it",
		Long:    "Check a configuration: exit 0 if it is good, 2 if it is not, with every fault at its place and what to do about it.",
		Example: "  drey config check\n  drey config check ./drey.yaml --json",
		Args:    atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := c.daemonOptions()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				opts.Config = args[0]
			}
			_, source, warnings, err := daemon.Show(cmd.Context(), opts)
			if c.json {
				report := map[string]any{"ok": err == nil, "source": source, "warnings": warnings, "errors": daemon.ConfigFields(err)}
				if perr := c.printJSON(report); perr != nil {
					return perr
				}
				if err != nil {
					return exitStatus(exitUsage)
				}
				return nil
			}
			for _, w := range warnings {
				fmt.Fprintf(c.stderr, "warning: %s\n", w)
			}
			if err != nil {
				for _, f := range daemon.ConfigFields(err) {
					fmt.Fprintln(c.stderr, fieldLine(f))
				}
				return exitStatus(exitUsage)
			}
			fmt.Fprintf(c.stdout, "%s is good\n", source)
			return nil
		},
	}
}

func fieldLine(f api.Field) string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}

func configShow(c *cli) *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration as a file to keep, or every value in force",
		Long: `Print the configuration as a file: without one, what was found on this machine,
ready to be kept as drey.yaml. With --effective every value in force and where
it came from. Secrets are shown as references, never as values.`,
		Example: "  drey config show > ~/.drey/drey.yaml\n  drey config show --effective",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := c.daemonOptions()
			if err != nil {
				return err
			}
			f, source, _, err := daemon.Show(cmd.Context(), opts)
			if err != nil {
				return err
			}
			switch {
			case c.json:
				return c.printJSON(map[string]any{"source": source, "settings": f.Effective()})
			case effective:
				for _, s := range f.Effective() {
					fmt.Fprintf(c.stdout, "%-44s %-28s # %s\n", s.Path, s.Value, s.Source)
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

func configReload(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration again",
		Long:  "Have the daemon read its configuration again. A bad file changes nothing; its faults are printed.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			r, err := cl.Reload(cmd.Context())
			if err != nil {
				for _, f := range daemon.ConfigFields(err) {
					fmt.Fprintln(c.stderr, fieldLine(f))
				}
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

// daemonOptions are what a command needs to see the configuration as the
// daemon would.
func (c *cli) daemonOptions() (daemon.Options, error) {
	home, err := c.homePath()
	if err != nil {
		return daemon.Options{}, err
	}
	return daemon.Options{
		Version: build().Version, Home: home, Config: c.config,
		Env: func(name string) (string, bool) { v := c.getenv(name); return v, v != "" },
	}, nil
}

// getenv looks up a variable of the process.
func (c *cli) getenv(name string) string { return os.Getenv(name) }

var (
	noArgs       = usageArgs(cobra.NoArgs)
	atMostOneArg = usageArgs(cobra.MaximumNArgs(1))
)

// usageArgs makes wrong arguments errors of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{&drey.Error{Op: "arguments", Err: err, Hint: "see `" + cmd.CommandPath() + " --help`"}}
		}
		return nil
	}
}
