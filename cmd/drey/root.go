package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/daemon"
)

// cli is what every subcommand shares. It belongs to one run.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	base     daemon.Options // what every daemon of this run starts from: the seam of tests
	patience time.Duration  // how long a daemon that holds the home and is silent is waited for
	answerIn time.Duration  // how long an answer may take that needs no work; who is slower hangs
	exe      string         // the program that is started in the background; "" = this one: the seam of tests

	home   string // --home; "" = $DREY_HOME, else ~/.drey
	config string // --config; "" = $DREY_CONFIG, else drey.yaml in the home
	json   bool
}

// run is the whole program but for the process around it, so that a test can
// call it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newCLI(stdin, stdout, stderr).run(ctx, args)
}

func newCLI(stdin io.Reader, stdout, stderr io.Writer) *cli {
	return &cli{
		stdin: stdin, stdout: stdout, stderr: stderr,
		base: daemon.Options{Version: build().Version}, patience: 2 * time.Second, answerIn: startPatience,
	}
}

// run returns the exit code. All that is said of an error is said here.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if slices.Contains(args, "--json") {
		c.json = true // also where a flag before it could not be read
	}
	c.printError(err)
	return exitCode(err)
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "drey",
		Short: "A home for AI agents that mends itself and sleeps when they do",
		Long: `drey is the one address that coding agents call for models. Each request goes
down a chain of providers, local ones first; what breaks is passed over, and
every step can be explained.

Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 no daemon; 4 another
daemon holds the home; 5 works, and wants attention (doctor); 124 time over.`,
		Example: `  drey serve                  find local models and keys, and serve them on http://127.0.0.1:3739
  drey demo                   watch a provider break and come back, without any model
  drey status                 what runs: providers, profiles, traffic
  drey why provider NAME      what became of a provider, in sentences
  drey events --follow        every decision as it is made
  drey config check           all that is wrong with the configuration`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              noArgs,
		RunE:              showHelp,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	flags := root.PersistentFlags()
	flags.StringVar(&c.home, "home", "", "where drey keeps its state (default $DREY_HOME, else ~/.drey)")
	flags.StringVar(&c.config, "config", "", "configuration file (default $DREY_CONFIG, else drey.yaml in the home)")
	flags.BoolVar(&c.json, "json", false, "print JSON, errors too")
	completeFlag(root, "home", completeDirs)
	completeFlag(root, "config", completeYAML)

	root.SetHelpCommand(helpCommand())
	root.AddCommand(
		serveCommand(c), upCommand(c), downCommand(c), demoCommand(c), statusCommand(c), providerCommand(c), budgetCommand(c), whyCommand(c), lifecycleCommand(c), opsCommand(c), doctorCommand(c), eventsCommand(c),
		auditCommand(c), requestsCommand(c), replayCommand(c), configCommand(c), serviceCommand(c), completionCommand(c), versionCommand(c),
	)
	noFileNames(root)
	return root
}

// showHelp is what a command does that is only the parent of others.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Show the help of a command",
		Example:           "  drey help serve\n  drey help config check",
		ValidArgsFunction: completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(found, fmt.Errorf("unknown command %q", strings.Join(args, " ")), rest...)
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

var (
	noArgs       = usageArgs(cobra.NoArgs)
	oneArg       = usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs))
	atMostOneArg = usageArgs(cobra.MaximumNArgs(1))
)

// usageArgs makes wrong arguments errors of usage. Those that are missing are
// told by their names.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		if missing := missingArgs(cmd, len(args)); len(missing) > 0 {
			err = fmt.Errorf("%s is missing", strings.Join(missing, " "))
		}
		return usage(cmd, err, args...)
	}
}

// missingArgs returns the names of the arguments that a command needs beyond the
// n that it got.
func missingArgs(cmd *cobra.Command, n int) []string {
	var names []string
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if !strings.HasPrefix(word, "[") {
			names = append(names, strings.TrimSuffix(word, "..."))
		}
	}
	return names[min(n, len(names)):]
}

// usage is an error about how the command was called. The hint is the command
// that may have been meant, or else where to look.
func usage(cmd *cobra.Command, err error, args ...string) error {
	hint := "see `" + cmd.CommandPath() + " --help`"
	if cmd.HasSubCommands() && len(args) > 0 {
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
		}
	}
	return &drey.Error{Class: drey.Caller, Code: codeUsage, Err: err, Hint: hint}
}

// printJSON writes one object for programs.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// interruptible returns a context that Ctrl-C ends.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, stopSignals...)
}

// stopSignals are the signals that ask a command to stop.
var stopSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}
