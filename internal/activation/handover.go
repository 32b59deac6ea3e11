package activation

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The waker cannot use LISTEN_FDS: LISTEN_PID is the child's number, which
// nobody knows before the child exists. So it has two variables of its own, and
// a pipe that nothing is ever written to: its end is the waker's end, however
// that comes.
const (
	varOwner = "DREY_OWNER"         // who hands over: the waker's pid
	varNames = "DREY_OWNER_FDNAMES" // of the descriptors from 3 on, with colons between
)

// Handover is what a waker gives to each daemon that it starts. The files stay
// the waker's: those that it binds for a later daemon replace the old ones.
type Handover struct {
	Gateway, Control *os.File // listening sockets
	Owner            *os.File // reading end of a pipe whose other end only the waker has
}

// Give puts the descriptors and the variables into a command that has not been
// started. The command's environment is the process's own, without what was
// inherited by it, unless Env is set already.
func (h Handover) Give(cmd *exec.Cmd) {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	env := make([]string, 0, len(cmd.Env)+2)
	for _, kv := range cmd.Env {
		name, _, _ := strings.Cut(kv, "=")
		if !inherits(name) {
			env = append(env, kv)
		}
	}
	cmd.Env = append(env,
		varOwner+"="+strconv.Itoa(os.Getpid()),
		varNames+"="+strings.Join([]string{nameGateway, nameControl, nameOwner}, ":"))
	cmd.ExtraFiles = []*os.File{h.Gateway, h.Control, h.Owner}
}

func inherits(name string) bool {
	for _, n := range inheritance {
		if n == name {
			return true
		}
	}
	return false
}

// fromWaker adopts what a waker has given. It reports false if the descriptors
// are not there: then the variables came to us through somebody who has closed
// them, and were not meant for us.
func (in *Inherited) fromWaker() (bool, error) {
	names := strings.Split(os.Getenv(varNames), ":")
	pipe := -1
	for i, name := range names {
		if name == nameOwner {
			pipe = firstFD + i
		}
	}
	var st unix.Stat_t
	if pipe < 0 || len(names) > maxFDs || unix.Fstat(pipe, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		in.ignore("%s=%s comes without the descriptors that it speaks of", varOwner, os.Getenv(varOwner))
		return false, nil
	}
	for i, name := range names {
		if name == nameOwner {
			continue
		}
		if err := in.adopt(firstFD+i, name); err != nil {
			_ = in.closeAll() // the first error is the one to tell
			return false, err
		}
	}
	in.Owner, in.Alarm = Waker, true
	in.OwnerName = fmt.Sprintf("%s (pid %s)", Waker, os.Getenv(varOwner))
	in.watch(pipe)
	return true, nil
}

// watch closes Lost when the pipe ends. Its goroutine ends with the pipe or
// with Close.
func (in *Inherited) watch(fd int) {
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true) // so that Close ends the reading; a pipe can always do it
	in.pipe = os.NewFile(uintptr(fd), nameOwner)
	lost := make(chan struct{})
	in.Lost, in.done = lost, make(chan struct{})
	go func() {
		defer close(in.done)
		if _, err := io.Copy(io.Discard, in.pipe); err == nil {
			close(lost)
		}
	}()
}
