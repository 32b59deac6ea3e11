package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// Runner runs a program and returns what it printed on both outputs. Without
// the program the error is exec.ErrNotFound.
type Runner func(ctx context.Context, program string, args ...string) (string, error)

// Run runs a program of the system.
func Run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Host is a machine with its manager. Errors of its methods are *drey.Error:
// "no_service_manager" where the manager is not there or does not answer.
type Host struct {
	Manager Manager
	UID     int // whose session it is, for launchd
	Run     Runner
}

// Part is one unit or job of the service as the manager sees it.
type Part struct {
	Name      string `json:"name"`
	Installed bool   `json:"installed"`
	Enabled   bool   `json:"enabled"` // starts with the system or the session
	State     string `json:"state"`   // the manager's word: "active (listening)"; "" = it does not know the part
	Active    bool   `json:"active"`
}

// Install writes the files and has the manager start what they describe, now
// and with each start of the system or session. Done twice it changes nothing.
func (h Host) Install(ctx context.Context, s Spec) error {
	files, err := h.Manager.Files(s)
	if err != nil {
		return err
	}
	if err := h.reachable(ctx, s); err != nil {
		return err
	}
	for _, f := range files {
		if err := write(f); err != nil {
			return fmt.Errorf("install the service: %w", err)
		}
	}
	if h.Manager == Launchd {
		// A job that is loaded keeps its old file; of one that is not there is
		// nothing to take out.
		_, _ = h.Run(ctx, "launchctl", "bootout", h.job(s))
		return h.tell(ctx, "launchctl", "bootstrap", h.domain(s), files[0].Path)
	}
	if err := h.tell(ctx, "systemctl", scope(s, "daemon-reload")...); err != nil {
		return err
	}
	return h.tell(ctx, "systemctl", scope(s, append([]string{"enable", "--now"}, enabled...)...)...)
}

// Uninstall stops the service and removes its files. It reports whether there
// were any.
func (h Host) Uninstall(ctx context.Context, s Spec) (bool, error) {
	files, err := h.Manager.Files(s)
	if err != nil {
		return false, err
	}
	found := false
	for _, f := range files {
		if _, err := os.Lstat(f.Path); err == nil {
			found = true
		}
	}
	if !found {
		return false, nil
	}
	if err := h.reachable(ctx, s); err != nil {
		return true, err
	}
	if h.Manager == Launchd {
		_, _ = h.Run(ctx, "launchctl", "bootout", h.job(s)) // it may not be loaded
	} else if err := h.tell(ctx, "systemctl", scope(s, append(append([]string{"disable", "--now"}, enabled...), unitService)...)...); err != nil {
		return true, err
	}
	for _, f := range files {
		if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return true, fmt.Errorf("remove the service: %w", err)
		}
	}
	if h.Manager == Launchd {
		return true, nil
	}
	return true, h.tell(ctx, "systemctl", scope(s, "daemon-reload")...)
}

// Status returns what the manager says of each part.
func (h Host) Status(ctx context.Context, s Spec) ([]Part, error) {
	files, err := h.Manager.Files(s)
	if err != nil {
		return nil, err
	}
	if err := h.reachable(ctx, s); err != nil {
		return nil, err
	}
	var parts []Part
	for _, f := range files {
		p := Part{Name: filepath.Base(f.Path)}
		if _, err := os.Lstat(f.Path); err == nil {
			p.Installed = true
		}
		if h.Manager == Launchd {
			if out, err := h.Run(ctx, "launchctl", "print", h.job(s)); err == nil {
				p.Enabled, p.State = true, property(out, "state = ")
				p.Active = p.State == "running"
			}
		} else {
			out, err := h.Run(ctx, "systemctl", scope(s, "show", "--property=ActiveState,SubState,UnitFileState", p.Name)...)
			if err != nil {
				return nil, refused("systemctl show", out, err)
			}
			active := property(out, "ActiveState=")
			p.State = active + " (" + property(out, "SubState=") + ")"
			p.Active = active == "active"
			p.Enabled = property(out, "UnitFileState=") == "enabled"
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// reachable says in words that there is no manager to talk to.
func (h Host) reachable(ctx context.Context, s Spec) error {
	program, args := "systemctl", scope(s, "show", "--property=Version")
	if h.Manager == Launchd {
		program, args = "launchctl", []string{"print", h.domain(s)}
	}
	out, err := h.Run(ctx, program, args...)
	if err == nil {
		return nil
	}
	e := &drey.Error{Code: codeNoManager, Op: "ask " + h.Manager.String(), Hint: keepUp + "; `drey service print` shows the files for a machine that has one"}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		e.Err = fmt.Errorf("there is no %s here: %w", program, err)
	case h.Manager == Systemd && !s.System:
		e.Err = fmt.Errorf("no user's session of systemd answers: %s", said(out, err))
	default:
		e.Err = fmt.Errorf("it does not answer: %s", said(out, err))
	}
	return e
}

// tell runs a command of the manager that must succeed.
func (h Host) tell(ctx context.Context, program string, args ...string) error {
	if out, err := h.Run(ctx, program, args...); err != nil {
		return refused(program+" "+strings.Join(args, " "), out, err)
	}
	return nil
}

func refused(op, out string, err error) error {
	return &drey.Error{Op: op, Err: errors.New(said(out, err)), Hint: "the manager's own words are above; a system's service is root's to install"}
}

// said is what a program printed, or else how it ended.
func said(out string, err error) string {
	if out != "" {
		return out
	}
	return err.Error()
}

// scope says whose manager a systemctl call is for.
func scope(s Spec, args ...string) []string {
	if s.System {
		return args
	}
	return append([]string{"--user"}, args...)
}

func (h Host) domain(s Spec) string {
	if s.System {
		return "system"
	}
	return "gui/" + strconv.Itoa(h.UID)
}

func (h Host) job(s Spec) string { return h.domain(s) + "/" + label }

// property finds what follows a key at the beginning of a line.
func property(out, key string) string {
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			return v
		}
	}
	return ""
}

// write puts a file in its place in one step. It is no secret: the manager and
// its tools read it.
func write(f File) error {
	if old, err := os.ReadFile(f.Path); err == nil && string(old) == f.Content {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(f.Path), ".drey-*")
	if err != nil {
		return err
	}
	defer os.Remove(t.Name()) // it is gone when all went well
	_, err = t.WriteString(f.Content)
	err = errors.Join(err, t.Chmod(0o644), t.Close())
	if err != nil {
		return err
	}
	return os.Rename(t.Name(), f.Path)
}
