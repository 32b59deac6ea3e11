// Package service hands drey to the system's service manager: systemd on
// Linux, launchd on macOS. It writes what they read, has them read it, and
// takes it back. The rules are the lifecycle contract's, §7.6.
//
// Under systemd the manager owns the listeners and starts the daemon with the
// first connection; under launchd it keeps `drey up`, since taking launchd's
// sockets over needs a system call that is awkward without cgo.
package service

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dreyhq/drey"
)

// Manager is a service manager.
type Manager uint8

// The managers. The zero value is systemd.
const (
	Systemd Manager = iota
	Launchd
)

// ManagerOf returns the manager of an operating system (runtime.GOOS). An
// error of code "no_service_manager" says that drey knows none there.
func ManagerOf(goos string) (Manager, error) {
	switch goos {
	case "linux":
		return Systemd, nil
	case "darwin":
		return Launchd, nil
	}
	return 0, &drey.Error{Code: codeNoManager, Op: "find the service manager", Err: fmt.Errorf("none is known on %s", goos), Hint: keepUp}
}

const (
	codeNoManager = "no_service_manager"
	keepUp        = "`drey up --detach` keeps drey up without one; have it run when the machine starts"
)

// String returns the manager's name.
func (m Manager) String() string {
	if m == Launchd {
		return "launchd"
	}
	return "systemd"
}

// Spec says what is to run. All paths are absolute.
type Spec struct {
	Program string // drey's own file
	Home    string // $DREY_HOME
	Config  string // the configuration; "" = drey.yaml in the home
	Addr    string // listen.addr with the host as a number, as systemd wants it, or without one
	Socket  string // the control socket
	Log     string // where output goes under launchd; systemd has the journal
	Wake    string // the file that is a wake request

	// System installs for the machine and not for one user: it runs from boot,
	// as User, and root installs it.
	System bool
	User   string // the user's name; needed with System
	// UserHome is the home directory of whoever it is installed for.
	UserHome string
}

// File is one file of a service.
type File struct {
	Path    string
	Content string
}

// check refuses what no unit file can hold. Quoting covers the rest.
func (s Spec) check() error {
	for _, v := range []struct{ name, value string }{
		{"program", s.Program}, {"home", s.Home}, {"configuration", s.Config}, {"address", s.Addr},
		{"control socket", s.Socket}, {"log", s.Log}, {"wake request", s.Wake}, {"user", s.User}, {"user's home", s.UserHome},
	} {
		if strings.ContainsFunc(v.value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return &drey.Error{Class: drey.Caller, Op: "write the service's files", Err: fmt.Errorf("the %s %q has a control character in it", v.name, v.value)}
		}
	}
	for _, v := range []struct{ name, value string }{
		{"program", s.Program}, {"home", s.Home}, {"control socket", s.Socket}, {"wake request", s.Wake},
	} {
		if !filepath.IsAbs(v.value) {
			return fmt.Errorf("write the service's files: the %s %q is no absolute path", v.name, v.value)
		}
	}
	if s.System && s.User == "" {
		return errors.New("write the service's files: a system's service needs the name of the user that it runs as")
	}
	return nil
}

// Files returns what the manager reads, in the order in which it is printed.
func (m Manager) Files(s Spec) ([]File, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if m == Launchd {
		return launchdFiles(s), nil
	}
	return systemdFiles(s), nil
}
