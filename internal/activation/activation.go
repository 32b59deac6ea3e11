// Package activation takes over what the process was started with: listening
// sockets that somebody else holds open (systemd, the waker of `drey up`, any
// activator that speaks LISTEN_FDS), and the word on whether that somebody
// lives on and will start the next process. It also tells the service manager
// when the doors are open. The rules are the lifecycle contract's, §7.7.
package activation

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey"
)

// Owner says who holds the inherited listeners open beside us. Only a living
// owner (Systemd, Waker) can start the next process when a connection comes.
type Owner uint8

// The owners. The zero value is None.
const (
	None    Owner = iota // nothing was inherited
	Systemd              // a socket unit: it outlives us, and starts us again on a connection
	Waker                // `drey up`: likewise, and it has an alarm
	Other                // LISTEN_FDS from somebody of whom nothing shows that it lives on
)

var ownerNames = [...]string{"none", "systemd", "waker", "other"}

// String returns the owner's name in logs and in `drey lifecycle status`.
func (o Owner) String() string {
	if int(o) < len(ownerNames) {
		return ownerNames[o]
	}
	return fmt.Sprintf("owner(%d)", uint8(o))
}

// Inherited is what the process was started with. Whoever takes it closes the
// listeners; closing one neither shuts the socket down nor removes its file,
// and connections that wait stay in the owner's backlog.
type Inherited struct {
	// Gateway, Control and Metrics are nil where none was inherited.
	Gateway, Control, Metrics net.Listener
	Owner                     Owner
	OwnerName                 string // of Owner, for messages: "systemd", "waker (pid 12)"
	Alarm                     bool   // the owner starts us again at the record's wake_at
	// Lost is closed when the waker ends while we live. Of other owners nobody
	// tells us: it stays open.
	Lost <-chan struct{}
	// Ignored says, for the log, what was in the environment and not for us.
	Ignored []string

	pipe *os.File // the waker's end of life; nil with other owners
	done chan struct{}
}

// Living reports whether somebody will start the next process when a
// connection comes, as far as can be known at the start; Lost takes it back.
func (in *Inherited) Living() bool { return in.Owner == Systemd || in.Owner == Waker }

// Close ends the watch over the owner. Listeners stay open, and Lost is not
// closed by it.
func (in *Inherited) Close() error {
	if in.pipe == nil {
		return nil
	}
	err := in.pipe.Close()
	<-in.done
	return err
}

// Names of inherited descriptors: FileDescriptorName= of a socket unit.
const (
	nameGateway = "gateway"
	nameControl = "control"
	nameMetrics = "metrics"
	nameOwner   = "owner" // the waker's pipe
)

// firstFD is where inherited descriptors begin (SD_LISTEN_FDS_START of
// sd_listen_fds(3), and ExtraFiles of os/exec).
const firstFD = 3

// Take adopts what was inherited. Nothing inherited is no error: Owner is None
// then. The variables that tell of it are removed from the environment, so
// that no child takes our descriptors for its own, and the descriptors are
// closed in children. It is called once, before anything else is opened.
//
// An error says that descriptors which are meant for us cannot be used.
func Take() (*Inherited, error) {
	return take(os.Getpid())
}

// take is Take for a process of another number.
func take(pid int) (*Inherited, error) {
	in := &Inherited{OwnerName: None.String(), Lost: make(chan struct{})}
	defer forget()
	if os.Getenv(varOwner) != "" {
		if ok, err := in.fromWaker(); ok || err != nil {
			return in, err
		}
	}
	said := os.Getenv("LISTEN_FDS")
	count, err := strconv.Atoi(said)
	switch {
	case said == "":
		return in, nil
	case os.Getenv("LISTEN_PID") != strconv.Itoa(pid):
		in.ignore("LISTEN_FDS=%s is for process %q, and this is %d", said, os.Getenv("LISTEN_PID"), pid)
		return in, nil
	case err != nil || count < 0 || count > maxFDs:
		in.ignore("LISTEN_FDS=%q is no number of descriptors", said)
		return in, nil
	case count == 0:
		return in, nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range count {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		if err := in.adopt(firstFD+i, name); err != nil {
			return in, errors.Join(err, in.closeAll())
		}
	}
	in.Owner = listenOwner(pid)
	in.OwnerName = in.Owner.String()
	return in, nil
}

// maxFDs bounds LISTEN_FDS. Nobody gives us more than a handful.
const maxFDs = 64

// listenOwner tells systemd from an activator that has become us by exec, and
// is gone: systemd names the invocation, and the process that it started.
func listenOwner(pid int) Owner {
	exec := os.Getenv("SYSTEMD_EXEC_PID")
	if os.Getenv("INVOCATION_ID") != "" && (exec == "" || exec == strconv.Itoa(pid)) {
		return Systemd
	}
	return Other
}

// adopt makes a listener of an inherited descriptor and puts it in its place:
// by name, and by type where the name is none of ours.
func (in *Inherited) adopt(fd int, name string) error {
	l, err := listener(fd, name)
	if err != nil {
		return &drey.Error{Class: drey.Internal, Code: "activation", Op: "take over inherited descriptor " + strconv.Itoa(fd),
			Err: err, Hint: "give `drey serve` listening stream sockets only, named gateway and control"}
	}
	place := in.place(l, name)
	if *place != nil {
		_ = l.Close() // ours is a copy, and nothing was accepted from it
		return &drey.Error{Class: drey.Internal, Code: "activation", Op: "take over inherited descriptor " + strconv.Itoa(fd),
			Err: fmt.Errorf("%s is a second listener of its kind, beside %s", l.Addr(), (*place).Addr()), Hint: "name each gateway, control or metrics, once (FileDescriptorName= of systemd)"}
	}
	*place = l
	return nil
}

func (in *Inherited) place(l net.Listener, name string) *net.Listener {
	switch {
	case name == nameControl:
		return &in.Control
	case name == nameMetrics:
		return &in.Metrics
	case name != nameGateway && l.Addr().Network() == "unix":
		return &in.Control
	}
	return &in.Gateway
}

// listener makes a listener of a descriptor, which is closed: the listener has
// a copy of its own.
func listener(fd int, name string) (net.Listener, error) {
	// Asked first: what is no listener may be a descriptor of somebody else in
	// this process, and is left alone; and net takes any socket for a listener.
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	} else if on == 0 {
		return nil, errors.New("it is no listening socket")
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return net.FileListener(f)
}

func (in *Inherited) closeAll() error {
	var errs []error
	for _, l := range []net.Listener{in.Gateway, in.Control, in.Metrics} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

func (in *Inherited) ignore(format string, args ...any) {
	in.Ignored = append(in.Ignored, fmt.Sprintf(format, args...))
}

// inheritance are the variables that tell of what was inherited.
var inheritance = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", varOwner, varNames}

func forget() {
	for _, name := range inheritance {
		_ = os.Unsetenv(name) // it cannot fail for a name without = or NUL
	}
}

// Readable reports whether a connection waits at l, without accepting it. A
// listener without a descriptor has none.
func Readable(l net.Listener) bool {
	c, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	waits := false
	err = raw.Control(func(fd uintptr) { waits = Waits(fd) })
	return err == nil && waits
}

// Waits is Readable for a descriptor.
func Waits(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
		}
	}
}

// Ready tells the service manager that the doors are open (READY=1 of
// sd_notify(3)), Stopping that the process is about to end. Without
// NOTIFY_SOCKET nobody asks, and both do nothing. The variable stays in the
// environment: the manager listens to the main process only.
func Ready() error { return notify(systemd.SdNotifyReady) }

// Stopping is described at Ready.
func Stopping() error { return notify(systemd.SdNotifyStopping) }

func notify(state string) error {
	if _, err := systemd.SdNotify(false, state); err != nil {
		return fmt.Errorf("tell the service manager %s: %w", state, err)
	}
	return nil
}
