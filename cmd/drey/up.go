package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/waker"
)

func upCommand(c *cli) *cobra.Command {
	var detach, locked bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Keep the gateway up: start it when it is needed, again when it fails",
		Long: `Keep the gateway up until it is stopped (Ctrl-C, SIGTERM). A process of a few
megabytes owns the addresses and starts "drey serve": at once, after a crash, and
when the daemon hibernates, with the next connection. Connections that come while
no daemon runs wait; none is refused and none is lost.

With --detach it runs in the background, writes to logs/drey.log in the home, and
the command returns when the gateway answers. Where it is up already there is
nothing to do: exit 0.`,
		Example: "  drey up --detach\n  drey up",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			syscall.Umask(0o077) // what is made here is its owner's: the socket, the log
			home, err := c.openHome()
			if err != nil {
				return err
			}
			if detach {
				return c.upDetached(cmd.Context(), home)
			}
			return c.up(cmd.Context(), home, locked)
		},
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "run in the background, and return when the gateway answers")
	cmd.Flags().BoolVar(&locked, "locked", false, "the start lock is held by whoever starts this")
	_ = cmd.Flags().MarkHidden("locked") // between `up --detach` and the process that it starts
	return cmd
}

// up is the waker: this process, until it is told to stop.
func (c *cli) up(ctx context.Context, home statedir.Home, locked bool) error {
	program, err := c.program()
	if err != nil {
		return err
	}
	// It waits, and the little that it does is not worth a second thread or a
	// heap that may double before it is tidied.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, append(stopSignals, syscall.SIGHUP)...)
	defer signal.Stop(signals)
	path := c.configPath(home)
	err = waker.Run(ctx, waker.Options{
		Home: home, Config: path, Command: append([]string{program, "serve"}, c.sameHome(home)...),
		Addr:    func() (string, error) { return c.listenAddr(home) },
		Rest:    func() (bool, time.Time) { return restOf(home) },
		Signals: signals, Locked: locked,
		Log: slog.New(c.logHandler(slog.LevelInfo)),
	})
	switch {
	case errors.Is(err, waker.ErrRunning):
		return c.upAlready(home)
	case errors.Is(err, context.Canceled):
		return nil // stopped before its doors were open
	case errors.Is(err, statedir.ErrLocked):
		return &drey.Error{Code: "locked", Op: "bring drey up", Err: err, Hint: "it starts or stops, or it hangs; `drey status` tells which process it is"}
	}
	return err
}

// upReport is what `drey up --json` prints where it has nothing else to do, and
// `drey up --detach --json` in any case.
type upReport struct {
	Home    string `json:"home"`
	Already bool   `json:"already"` // it was up before
	PID     int    `json:"pid,omitempty"`
	Addr    string `json:"addr,omitempty"`
}

func (c *cli) upAlready(home statedir.Home) error {
	if c.json {
		return c.printJSON(upReport{Home: home.Root(), Already: true})
	}
	fmt.Fprintf(c.stdout, "drey is up already (home %s)\n", home.Root())
	return nil
}

// upDetached has a waker in the background, and waits for the daemon.
func (c *cli) upDetached(ctx context.Context, home statedir.Home) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	already, err := c.startDaemon(ctx, home)
	if err != nil {
		return err
	}
	cl, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	s, err := cl.Status(ctx)
	if err != nil {
		return err
	}
	addr := strings.Join(s.Listen, " ")
	switch {
	case c.json:
		return c.printJSON(upReport{Home: home.Root(), Already: already, PID: s.PID, Addr: addr})
	case already:
		fmt.Fprintf(c.stdout, "drey is up already: %s (pid %d, home %s)\n", addr, s.PID, home.Root())
	default:
		fmt.Fprintf(c.stdout, "drey is up: %s (pid %d, home %s)\n", addr, s.PID, home.Root())
	}
	return nil
}

// program is the path of this program, for processes that go on without us.
func (c *cli) program() (string, error) {
	if c.exe != "" {
		return c.exe, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's own file: %w", err)
	}
	return path, nil
}

// openHome finds the home, and makes its directories.
func (c *cli) openHome() (statedir.Home, error) {
	path, err := c.homePath()
	if err != nil {
		return statedir.Home{}, err
	}
	home, err := statedir.Open(path)
	if err != nil {
		return statedir.Home{}, fmt.Errorf("make the home: %w", err)
	}
	return home, nil
}

// sameHome are the flags with which another drey has our home and
// configuration.
func (c *cli) sameHome(home statedir.Home) []string {
	flags := []string{"--home", home.Root()}
	if c.config != "" {
		flags = append(flags, "--config", c.configPath(home))
	}
	if c.json {
		flags = append(flags, "--json")
	}
	return flags
}

// configPath is where the daemon looks for its configuration.
func (c *cli) configPath(home statedir.Home) string {
	path := c.config
	if path == "" {
		path = c.getenv("DREY_CONFIG")
	}
	if path == "" {
		return home.Config()
	}
	path = config.ExpandHome(path, c.getenv("HOME"))
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

// listenAddr reads the gateway's address from the configuration, without
// looking for anything that a file would not say.
func (c *cli) listenAddr(home statedir.Home) (string, error) {
	path := c.configPath(home)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && path == home.Config() {
		return config.Default().Listen.Addr, nil
	}
	if err != nil {
		return "", &drey.Error{Class: drey.Caller, Code: "config", Op: "read configuration", Err: err,
			Hint: "the file was named by --config or DREY_CONFIG, so it must be there and readable"}
	}
	env := c.base.Env
	if env == nil {
		env = os.LookupEnv
	}
	f, _, err := config.Parse(path, data, config.Options{Env: env, Home: c.getenv("HOME")})
	if err != nil {
		return "", &drey.Error{Class: drey.Caller, Code: "config", Op: "configuration", Err: err, Hint: drey.HintOf(err)}
	}
	return f.Listen.Addr, nil
}

// restOf reads what the waker needs of the lifecycle record. One that cannot be
// read is no reason to leave the daemon down, which mends it.
func restOf(home statedir.Home) (hibernating bool, wakeAt time.Time) {
	r, err := statedir.ReadLifecycle(home, time.Now())
	return err == nil && r.State == lifecycle.Hibernation, r.WakeAt
}
