package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// startFor bounds the start of a server, recovery after a crash included.
const startFor = time.Minute

// Server is a PostgreSQL server of this process. Its methods are not for
// concurrent use; a test that crashes a server starts one for itself.
type Server struct {
	bin  string // the directory of its programs
	dir  string
	who  *syscall.Credential // nil: who we are
	cmd  *exec.Cmd           // the guard, see Up; nil while it is down
	hold io.WriteCloser      // the guard's standard input
}

// Start makes a server and starts it. The error says what is missing where that
// cannot be.
func Start() (_ *Server, err error) {
	s := &Server{}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	if s.who, err = unprivileged(); err != nil {
		return nil, err
	}
	// A short path: that of a Unix socket has about a hundred bytes.
	if s.dir, err = os.MkdirTemp("", "drey-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.who != nil {
		if err := os.Chown(s.dir, int(s.who.Uid), int(s.who.Gid)); err != nil {
			return nil, err
		}
	}
	// The files of the empty cluster need not survive the loss of power; what
	// the server writes later is synced.
	init := s.command(filepath.Join(s.bin, "initdb"), "--pgdata="+s.data(), "--username=drey", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := s.Up(); err != nil {
		return nil, err
	}
	return s, nil
}

// programs finds the directory of the server's programs.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "postgres")); err == nil {
				return filepath.Dir(path), nil
			}
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is sound
	if len(found) == 0 {
		return "", errors.New("initdb is neither in PATH nor in /usr/lib/postgresql/*/bin")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged returns whom to run the server as: it refuses to be run by root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("root cannot run PostgreSQL, and there is neither a user postgres nor a user nobody")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	if s.who != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.who}
	}
	return cmd
}

// URL returns the URL of the server's database.
func (s *Server) URL() string {
	u := url.URL{Scheme: "postgres", User: url.User("drey"), Path: "/postgres", RawQuery: url.Values{"host": {s.dir}}.Encode()}
	return u.String()
}

// guard runs the server and ends it when our end of the pipe is closed: by
// Crash, which says so before and keeps the files, or by the end of this
// process, however that came.
const guard = `
dir=$1; shift
"$@" & pid=$!
trap '' INT
{
	read -r word
	kill -QUIT $pid
	while kill -0 $pid 2>/dev/null; do sleep 0.02; done
	[ "$word" = crash ] || rm -rf "$dir"
} <&3 &
wait`

// Up starts the server, after Start for the first time and then after Crash,
// and returns when it can be used.
func (s *Server) Up() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := s.command("/bin/sh", "-c", guard, "sh", s.dir, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "fsync=on", "-c", "synchronous_commit=on",
		"-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "max_wal_size=512MB", "-c", "log_min_messages=fatal")
	cmd.ExtraFiles = []*os.File{r} // 3
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return err
	}
	s.cmd, s.hold = cmd, w
	ctx, cancel := context.WithTimeout(context.Background(), startFor)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			return c.Close(ctx)
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			s.Crash()
			said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("start PostgreSQL: %w: %s", err, bytes.TrimSpace(said))
		}
	}
}

// Crash ends the server at once, without a checkpoint and without a word to its
// clients: what it had not synced is gone, and Up recovers the rest.
func (s *Server) Crash() {
	if s.cmd == nil {
		return
	}
	_, _ = io.WriteString(s.hold, "crash\n") // the guard sends it SIGQUIT, an immediate shutdown
	_ = s.hold.Close()
	_ = s.cmd.Wait() // its code is that of a process that was ended
	s.cmd = nil
}

// Close ends the server and removes its files.
func (s *Server) Close() {
	s.Crash()
	_ = os.RemoveAll(s.dir)
}
