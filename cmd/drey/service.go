package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/service"
	"github.com/dreyhq/drey/internal/statedir"
)

func serviceCommand(c *cli) *cobra.Command {
	var system bool
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Hand drey to the system's service manager",
		Long: `Hand drey to systemd or launchd. Under systemd the manager owns the addresses,
starts the daemon with the first connection and lets it hibernate; under launchd
it keeps "drey up", which does the same.

It is installed for you alone unless --system is given: then for the machine,
from boot on, run as the user who calls sudo.`,
		Example: "  drey service install\n  drey service status\n  sudo drey service install --system",
		Args:    noArgs,
		RunE:    showHelp,
	}
	cmd.PersistentFlags().BoolVar(&system, "system", false, "for the machine and not for you alone")
	// Each command has the manager and what it is to run.
	sub := func(use, short, long, example string, do func(ctx context.Context, h service.Host, s service.Spec) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				m, err := service.ManagerOf(runtime.GOOS)
				if err != nil {
					return err
				}
				s, err := c.serviceSpec(system)
				if err != nil {
					return err
				}
				ctx, stop := interruptible(cmd.Context())
				defer stop()
				return do(ctx, service.Host{Manager: m, UID: os.Getuid(), Run: service.Run}, s)
			}}
	}
	cmd.AddCommand(
		sub("install", "Install the service and start it",
			"Install the service and start it: now, and with each start of the session (of the\nmachine, with --system). Done again it takes over a new place of this program, a\nnew home or a new address.",
			"  drey service install", c.serviceInstall),
		sub("uninstall", "Stop the service and remove it", "Stop the service and remove its files. The home and the configuration stay.",
			"  drey service uninstall", c.serviceUninstall),
		sub("status", "Show what the service manager says", "Show each part of the service as the manager sees it. It changes nothing.",
			"  drey service status --json", c.serviceStatus),
		sub("print", "Print the files that install writes", "Print the files that install writes, each under its path. It changes nothing.",
			"  drey service print", c.servicePrint),
	)
	return cmd
}

// serviceSpec says what the service runs: this program, with the home, the
// configuration and the address that a daemon would have now.
func (c *cli) serviceSpec(system bool) (service.Spec, error) {
	who, err := serviceUser(system)
	if err != nil {
		return service.Spec{}, err
	}
	program, err := c.program()
	if err != nil {
		return service.Spec{}, err
	}
	// sudo may have set HOME to root's, and the home is that of who calls it.
	root, err := statedir.Root(func(name string) string {
		switch {
		case name == "DREY_HOME" && c.home != "":
			return c.home
		case name == "HOME" && system:
			return who.HomeDir
		}
		return c.getenv(name)
	})
	if err != nil {
		return service.Spec{}, err
	}
	home := statedir.At(root)
	socket, err := home.Socket()
	if err != nil {
		return service.Spec{}, err
	}
	addr, err := c.fixedAddr(home)
	if err != nil {
		return service.Spec{}, err
	}
	s := service.Spec{
		Program: program, Home: root, Addr: addr, Socket: socket, Log: home.DaemonLog(), Wake: home.WakeSignal(),
		System: system, UserHome: cmp.Or(c.getenv("HOME"), who.HomeDir),
	}
	if path := c.configPath(home); path != home.Config() {
		s.Config = path
	}
	if system {
		s.User, s.UserHome = who.Username, who.HomeDir
	}
	return s, nil
}

// fixedAddr is the gateway's address as service managers want it: the host as
// a number, and a port that clients can know.
func (c *cli) fixedAddr(home statedir.Home) (string, error) {
	text, err := c.listenAddr(home)
	if err != nil {
		return "", err
	}
	addr, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		return "", fmt.Errorf("look up listen.addr: %w", err)
	}
	if addr.Port == 0 {
		return "", &drey.Error{Class: drey.Caller, Code: codeUsage, Err: fmt.Errorf("listen.addr is %s, and a service needs a port that stays", text),
			Hint: "choose a port in the configuration"}
	}
	return addr.String(), nil
}

// serviceUser is whom the service is for: with --system who calls sudo.
func serviceUser(system bool) (*user.User, error) {
	if name := os.Getenv("SUDO_USER"); system && name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return nil, fmt.Errorf("look up SUDO_USER: %w", err)
		}
		return u, nil
	}
	u, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("look up the user: %w", err)
	}
	return u, nil
}

func (c *cli) serviceInstall(ctx context.Context, h service.Host, s service.Spec) error {
	if err := c.doorsFree(ctx, h, s); err != nil {
		return err
	}
	if err := h.Install(ctx, s); err != nil {
		return err
	}
	files, err := h.Manager.Files(s)
	if err != nil {
		return err
	}
	if c.json {
		return c.serviceStatus(ctx, h, s)
	}
	for _, f := range files {
		fmt.Fprintln(c.stdout, f.Path)
	}
	fmt.Fprintf(c.stdout, "installed for %s; the gateway is http://%s\n", cmp.Or(s.User, "you"), s.Addr)
	fmt.Fprintln(c.stdout, "it does not see your shell's variables: give secrets as file:PATH")
	if h.Manager == service.Systemd && !s.System {
		fmt.Fprintln(c.stdout, "to have it run while you are logged out: loginctl enable-linger")
	}
	return nil
}

// doorsFree refuses where a drey outside of the service has the addresses.
func (c *cli) doorsFree(ctx context.Context, h service.Host, s service.Spec) error {
	cl, err := client.Dial(ctx, s.Socket)
	if err != nil {
		return nil // the manager will say what is wrong, if something is
	}
	cl.Close()
	parts, err := h.Status(ctx, s)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.Active {
			return nil // it is the service's own
		}
	}
	return &drey.Error{Code: "running", Op: "install the service", Err: errors.New("drey runs already, and has the addresses"),
		Hint: "stop it, and install again"}
}

func (c *cli) serviceUninstall(ctx context.Context, h service.Host, s service.Spec) error {
	found, err := h.Uninstall(ctx, s)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]bool{"removed": found})
	}
	if !found {
		fmt.Fprintln(c.stdout, "the service is not installed")
		return nil
	}
	fmt.Fprintf(c.stdout, "the service is removed; the home %s stays\n", s.Home)
	return nil
}

// serviceReport is what `drey service status --json` prints.
type serviceReport struct {
	Manager   string         `json:"manager"`
	Installed bool           `json:"installed"`
	Parts     []service.Part `json:"parts"`
}

func (c *cli) serviceStatus(ctx context.Context, h service.Host, s service.Spec) error {
	parts, err := h.Status(ctx, s)
	if err != nil {
		return err
	}
	r := serviceReport{Manager: h.Manager.String(), Installed: true, Parts: parts}
	for _, p := range parts {
		r.Installed = r.Installed && p.Installed
	}
	if c.json {
		return c.printJSON(r)
	}
	if !r.Installed {
		fmt.Fprintf(c.stdout, "the service is not installed (%s)\n", r.Manager)
	}
	t := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PART\tINSTALLED\tENABLED\tSTATE")
	for _, p := range parts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, yesNo(p.Installed), yesNo(p.Enabled), printable(dash(p.State)))
	}
	return t.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (c *cli) servicePrint(_ context.Context, h service.Host, s service.Spec) error {
	files, err := h.Manager.Files(s)
	if err != nil {
		return err
	}
	if c.json {
		out := map[string]string{}
		for _, f := range files {
			out[f.Path] = f.Content
		}
		return c.printJSON(map[string]map[string]string{"files": out})
	}
	for i, f := range files {
		if i > 0 {
			fmt.Fprintln(c.stdout)
		}
		if filepath.Ext(f.Path) == ".plist" {
			fmt.Fprintf(c.stderr, "%s:\n", f.Path) // XML begins with its declaration
		} else {
			fmt.Fprintf(c.stdout, "# %s\n", f.Path)
		}
		fmt.Fprint(c.stdout, f.Content)
	}
	return nil
}
