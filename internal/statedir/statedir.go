// Package statedir owns the files that live beside the store: where each of
// them is, the one lock that guards the whole home, the lifecycle's record
// with its event log, wake signal and leases, and the two logs for people
// (audit.jsonl, requests.jsonl) with their readers. Both the daemon and the
// command line need them, so everything here works without a daemon.
package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
)

// Home is the one root of a drey's state, $DREY_HOME. The zero value is not
// usable; see At and Open. Its methods name the files of docs/design.md,
// section 4; none of them touches the disk.
type Home struct{ root string }

// Root finds the home's path: $DREY_HOME, else .drey in the user's home. A
// leading ~/ is the user's home, a relative path is made absolute.
// getenv is os.Getenv outside of tests.
func Root(getenv func(string) string) (string, error) {
	path := getenv("DREY_HOME")
	if path == "" {
		path = "~/.drey"
	}
	path, err := Expand(path, getenv)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// Expand replaces a leading ~/ (or a lone ~) by the user's home, $HOME, and
// nothing else.
func Expand(path string, getenv func(string) string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && rest[0] != '/' {
		return path, nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", &drey.Error{
			Class: drey.Caller, Code: "no_home", Op: "expand " + path,
			Err:  errors.New("HOME is not set"),
			Hint: "write the path in full, or set HOME or DREY_HOME",
		}
	}
	return filepath.Join(home, rest), nil
}

// At returns the home at an absolute path without touching the disk: for
// commands that only read.
func At(root string) Home { return Home{root} }

// Open returns the home at an absolute path and makes its directories, 0700
// whatever the umask. Those that exist keep their mode; what is wrong with it
// is the doctor's to say.
func Open(root string) (Home, error) {
	h := Home{root}
	for _, dir := range []string{h.root, h.Logs(), h.Wrappers(), h.Backups(), h.artifacts()} {
		if err := makeDir(dir); err != nil {
			return Home{}, err
		}
	}
	return h, nil
}

// makeDir makes a directory and its parents, 0700.
func makeDir(path string) error {
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return nil
		}
		return &os.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	if parent := filepath.Dir(path); parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	// Another process may be faster; then the directory is its, mode and all.
	if err := os.Mkdir(path, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	return os.Chmod(path, 0o700) // a umask may have taken our own rights
}

// Root returns the home's own path.
func (h Home) Root() string { return h.root }

// Config returns the path of the configuration where no other is named.
func (h Home) Config() string { return h.join("drey.yaml") }

// DB returns the path of the SQLite store.
func (h Home) DB() string { return h.join("drey.db") }

// Lock returns the path of the one lock, which guards the whole home.
func (h Home) Lock() string { return h.join(".lifecycle.lock") }

// Lifecycle returns the path of the lifecycle record.
func (h Home) Lifecycle() string { return h.join("lifecycle_state.json") }

// LifecycleLog returns the path of the lifecycle's event log for the UTC day
// of t.
func (h Home) LifecycleLog(t time.Time) string {
	return filepath.Join(h.Logs(), "lifecycle-events-"+t.UTC().Format(time.DateOnly)+".jsonl")
}

// Logs returns the directory of the daemon's and its processes' output.
func (h Home) Logs() string { return h.join("logs") }

// DaemonLog returns the path of a background daemon's output.
func (h Home) DaemonLog() string { return filepath.Join(h.Logs(), "drey.log") }

// ProcessLog returns the path of a local backend's output. The name is a
// provider's, which never holds a separator.
func (h Home) ProcessLog(name drey.ProviderID) string {
	return filepath.Join(h.Logs(), "process-"+strings.ReplaceAll(string(name), "/", "_")+".log")
}

// Audit returns the path of the log of decisions.
func (h Home) Audit() string { return h.join("audit.jsonl") }

// Requests returns the path of the log of requests' metadata.
func (h Home) Requests() string { return h.join("requests.jsonl") }

// WakeSignal returns the path of the wake request.
func (h Home) WakeSignal() string { return h.join("wake.signal") }

// Wrappers returns the directory of the clients' heartbeat leases.
func (h Home) Wrappers() string { return h.join("wrappers") }

// StartLock returns the path of the lock that lets one starter at a time in.
func (h Home) StartLock() string { return h.join(".start.lock") }

// WakerLock returns the path of the lock that a waker holds as long as it lives:
// whoever wants it to end finds its process there.
func (h Home) WakerLock() string { return h.join(".waker.lock") }

// Backups returns the directory of the store's copies.
func (h Home) Backups() string { return h.join("backups") }

func (h Home) artifacts() string { return h.join("artifacts") }

// Artifacts returns the directory of a member's files. Both names must be
// plain file names: a mob or member cannot lead out of its place.
func (h Home) Artifacts(mob, member string) (string, error) {
	for _, name := range []string{mob, member} {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return "", fmt.Errorf("%q cannot name a directory of artifacts", name)
		}
	}
	return filepath.Join(h.artifacts(), mob, member), nil
}

// maxSocketPath is what the system's socket addresses hold: 107 bytes on Linux,
// 103 on macOS.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Socket returns the path of the control socket. A path too long for the
// system's sockets is an error with code socket_path_too_long (exit 2).
func (h Home) Socket() (string, error) {
	path := h.join("drey.sock")
	if len(path) > maxSocketPath {
		return "", &drey.Error{
			Class: drey.Caller, Code: "socket_path_too_long", Op: "open control socket",
			Err:  fmt.Errorf("%s has %d bytes, and a socket's path may have %d here", path, len(path), maxSocketPath),
			Hint: "set DREY_HOME to a shorter path, for instance DREY_HOME=~/.drey",
		}
	}
	return path, nil
}

func (h Home) join(name string) string { return filepath.Join(h.root, name) }
