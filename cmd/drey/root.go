package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
)

// Exit codes, the same for all commands (docs/design.md, section 9).
const (
	exitOK       = 0   // done, or so already
	exitFailed   = 1   // failed, refused, or an id that is not there
	exitUsage    = 2   // usage or configuration
	exitNoDaemon = 3   // no daemon, and none could be started
	exitLocked   = 4   // another daemon holds the lock
	exitTimedOut = 124 // time over
)

// cli is what every subcommand shares. It belongs to one run.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	home   string // --home; "" = $DREY_HOME, else ~/.drey
	config string // --config; "" = $DREY_CONFIG, else drey.yaml in the home
	json   bool
}

// run is the whole program but for the process around it, so that a test can
// call it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	var quiet exitStatus
	if errors.As(err, &quiet) {
		return code
	}
	fmt.Fprintf(stderr, "drey: %s\n", err)
	if hint := drey.HintOf(err); hint != "" {
		fmt.Fprintf(stderr, "  %s\n", hint)
	}
	return code
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "drey",
		Short: "A home for AI agents that mends itself and sleeps when they do",
		Long: `drey is the one address that coding agents call for models. Each request goes
down a chain of providers, local ones first; what breaks is passed over, and
every step can be explained.

Start here:
  drey serve     find local models and keys, and serve them on http://127.0.0.1:3739
  drey demo      watch a provider break and come back, without any model`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&c.home, "home", "", "where drey keeps its state (default $DREY_HOME, else ~/.drey)")
	flags.StringVar(&c.config, "config", "", "configuration file (default $DREY_CONFIG, else drey.yaml in the home)")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	root.AddCommand(
		serveCommand(c), demoCommand(c), statusCommand(c), eventsCommand(c),
		auditCommand(c), requestsCommand(c), configCommand(c), versionCommand(c),
	)
	return root
}

// usageError is a wrong flag or argument.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitStatus ends the program with a code and nothing more to say.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitCode is the one place that maps an error to an exit code.
func exitCode(err error) int {
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if e, ok := errors.AsType[*drey.Error](err); ok {
		switch e.Code {
		case "usage", "config", "invalid_argument":
			return exitUsage
		case "no_daemon":
			return exitNoDaemon
		case "locked":
			return exitLocked
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitTimedOut
	}
	return exitFailed
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
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
