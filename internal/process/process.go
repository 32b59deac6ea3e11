package process

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
)

// Errors that callers branch on.
var (
	// ErrExited: the process ended before it was ready. Wait tells how.
	ErrExited = errors.New("process exited")
	// ErrNotReady: it did not answer its readiness check in time. It still
	// runs; whoever asked stops it.
	ErrNotReady = errors.New("process is not ready")
	// ErrImmortal: processes live on after SIGKILL; the kernel is stuck with
	// them.
	ErrImmortal = errors.New("processes do not end even when killed")
)

// Spec says which backend to start.
type Spec struct {
	// Name is the provider's: the backend is told it (DREY_PROVIDER).
	Name drey.ProviderID
	// Command is the program with its arguments. ${PORT} and ${MODEL} are
	// replaced, in Env as well: some servers take their port from there alone.
	Command []string
	Model   string
	// Port is where it shall listen; 0 = a free one. Between the choice and
	// the backend's own bind somebody else may take it: Exit.PortTaken says
	// so, and the caller starts it again.
	Port int
	// Env are variables beside the few that every child gets, NAME=value.
	Env []string
	// Dir is the working directory; "" = drey's own.
	Dir string
	// Log is the file that its output is appended to, rotated at 10 MiB, with
	// three older ones beside it; "" = none. It holds what the backend writes,
	// unredacted, and is readable by the owner only.
	Log string
	// Ready says how to see that it is ready.
	Ready Readiness

	grace time.Duration // a test's instead of killGrace
}

// Process is a backend that runs, or has run. All methods may be called at any
// time by anybody.
//
// One goroutine belongs to it from Start until Done. It is locked to its
// thread, because Linux ends a child when the thread that started it ends
// (see dieWithUs), and threads come and go; it waits for the first process,
// then for the rest of the group, and then tells who waits.
type Process struct {
	name  drey.ProviderID
	port  int
	ready Readiness
	began time.Time
	grace time.Duration // for what an unasked exit leaves behind
	ooms  uint64        // oomKills at the start
	id    Identity
	group *group
	tap   *tap
	tail  tail
	log   outputLog // belongs to the tap until it is finished

	asked  atomic.Bool   // Stop was called
	exited chan struct{} // closed when the first process has ended
	done   chan struct{} // closed when the whole group is gone; exit is set
	exit   Exit
}

// Start starts a backend and returns when the operating system has it. The
// error is the operating system's: no such program, no such directory, the
// port is somebody else's (syscall.EADDRINUSE). The
// caller stores Identity, waits for Ready, and in the end for Wait.
//
// If drey is killed, Linux sends SIGTERM to the first process; who is left
// then is for KillSurvivor.
func Start(spec Spec) (*Process, error) {
	if len(spec.Command) == 0 {
		return nil, errors.New("an empty command")
	}
	port, err := choosePort(spec.Port)
	if err != nil {
		return nil, err
	}
	p := &Process{
		name: spec.Name, port: port, ready: spec.Ready.withDefaults(),
		grace:  cmp.Or(spec.grace, killGrace),
		log:    outputLog{path: spec.Log, max: logBytes},
		exited: make(chan struct{}), done: make(chan struct{}),
	}
	p.id.Mark = rand.Text()

	fill := strings.NewReplacer("${PORT}", strconv.Itoa(port), "${MODEL}", spec.Model)
	argv := make([]string, len(spec.Command))
	for i, a := range spec.Command {
		argv[i] = fill.Replace(a)
	}
	env := make([]string, len(spec.Env))
	for i, v := range spec.Env {
		env[i] = fill.Replace(v)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = spec.Dir
	cmd.Env = cleanEnv([]string{"DREY_PROVIDER=" + string(spec.Name), markName + "=" + p.id.Mark}, env)

	started := make(chan error)
	go p.keep(cmd, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// keep is the goroutine of the process.
func (p *Process) keep(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	tap, w, err := openTap(io.MultiWriter(&p.tail, &p.log))
	if err != nil {
		started <- err
		return
	}
	p.tap = tap
	defer tap.close()
	cmd.Stdout, cmd.Stderr = w, w
	var attr syscall.SysProcAttr
	dieWithUs(&attr)
	p.ooms = oomKills()
	p.began = time.Now()
	p.group, err = start(cmd, attr)
	_ = w.Close()
	if err != nil {
		<-tap.done
		started <- err
		return
	}
	// It is not reaped yet, so that this is its own start time even if it has
	// ended already.
	p.id.PID, p.id.PGID, p.id.StartTime = p.group.pid, p.group.pid, startTime(p.group.pid)
	started <- nil

	awaitChild(p.group.pid)
	uptime := time.Since(p.began)
	asked := p.asked.Load()
	close(p.exited)
	if asked {
		// Stop has sent SIGTERM, and sends SIGKILL when the grace is over.
		for !awaitGone(p.group.pid, time.Now().Add(lookAgain)) {
			if p.group.wasKilled() {
				p.group.signal(syscall.SIGKILL) // whoever was born meanwhile
			}
		}
	} else {
		for !p.group.end(p.grace) { // immortal: Done stays open
		}
	}
	p.group.reap()
	tap.finish() // one that left the group loses its pipe here
	p.exit = p.describe(cmd.ProcessState, asked, uptime)
	p.log.Close()
	close(p.done)
}

// choosePort returns the port if nobody has it, or a free one for 0. Without
// that look a stranger on a fixed port would answer the readiness check for a
// backend that cannot bind.
func choosePort(port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("choose a port: %w", err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// PID returns the number of the first process.
func (p *Process) PID() int { return p.id.PID }

// Port returns the port that the backend was told.
func (p *Process) Port() int { return p.port }

// Identity returns what a later daemon needs to find the processes.
func (p *Process) Identity() Identity { return p.id }

// Output returns the end (8 KiB) of what it has written so far, unredacted.
func (p *Process) Output() string { return p.tail.String() }

// Done is closed when the process and all of its group are gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the process and all of its group are gone, and tells how
// the first one ended.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Stop ends the process: SIGTERM to its group, and SIGKILL after the grace (0
// = at once) or when ctx ends. It returns when the whole group is gone. A
// process that has ended is stopped already. Of several calls the shortest
// grace counts.
//
// The error is ErrImmortal: 10 s after SIGKILL somebody is still there. Done
// stays open as long as that is so.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	p.asked.Store(true)
	p.group.signal(syscall.SIGTERM)
	if grace > 0 {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.done:
			return nil
		case <-t.C:
		case <-ctx.Done():
		}
	}
	p.group.signal(syscall.SIGKILL)
	t := time.NewTimer(killWait)
	defer t.Stop()
	select {
	case <-p.done:
		return nil
	case <-t.C:
		return fmt.Errorf("stop process %s (pid %d): %w", p.name, p.id.PID, ErrImmortal)
	}
}
