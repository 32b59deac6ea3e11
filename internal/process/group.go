package process

import (
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// killGrace is how long processes that nobody waits for may take to end after
// SIGTERM: a command whose time is over (the healing contract §6), and what a backend
// leaves behind when it ends by itself.
const killGrace = 2 * time.Second

// killWait is how long a group may take to be gone after SIGKILL. It takes no
// time unless the kernel itself is stuck with one of them, in a driver for
// instance.
const killWait = 10 * time.Second

// lookAgain bounds each wait for members of a group, so that a member that
// came after the last look is seen.
const lookAgain = time.Second

// group is a first process and the process group that it leads. Signals go to
// the whole group, and only while its number cannot be somebody else's: until
// the first process is reaped, and after that as long as others held it then.
type group struct {
	cmd *exec.Cmd
	pid int // of the first process; it is the group's number too

	mu     sync.Mutex
	lost   bool // the number may be somebody else's
	killed bool // SIGKILL was sent
}

// start starts cmd as the leader of a new group.
func start(cmd *exec.Cmd, attr syscall.SysProcAttr) (*group, error) {
	attr.Setpgid = true
	cmd.SysProcAttr = &attr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &group{cmd: cmd, pid: cmd.Process.Pid}, nil
}

// signal sends sig to every process of the group; to none if the number is
// lost.
func (g *group) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost {
		return
	}
	g.killed = g.killed || sig == syscall.SIGKILL
	_ = syscall.Kill(-g.pid, sig) // it fails if nobody is left
}

func (g *group) wasKilled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.killed
}

// end ends what lives of the group: SIGTERM, and SIGKILL after the grace. It
// reports whether nobody is left, for which it waits at most killWait longer.
func (g *group) end(grace time.Duration) bool {
	if len(members(g.pid)) == 0 {
		return true
	}
	g.signal(syscall.SIGTERM)
	return awaitGone(g.pid, time.Now().Add(grace)) || g.kill()
}

// kill sends SIGKILL until nobody is left, or for killWait; it reports which.
func (g *group) kill() bool {
	for end := time.Now().Add(killWait); time.Now().Before(end); {
		g.signal(syscall.SIGKILL) // again for whoever was born meanwhile
		if awaitGone(g.pid, time.Now().Add(lookAgain)) {
			return true
		}
	}
	return false
}

// reap takes the first process's end from the kernel, for which it must have
// ended. Whoever of its group lives at that moment keeps the number ours.
func (g *group) reap() {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := len(members(g.pid)) > 0
	_ = g.cmd.Wait() // the state says how it ended
	g.lost = !left
}

// awaitGone waits until no process of the group lives, and reports whether
// that is so. There is no wait for a group, so it waits for each member, and
// then looks again.
func awaitGone(pgid int, deadline time.Time) bool {
	for {
		left := members(pgid)
		if len(left) == 0 {
			return true
		}
		for _, pid := range left {
			d := time.Until(deadline)
			if d <= 0 {
				return len(members(pgid)) == 0
			}
			awaitExit(pid, min(d, lookAgain))
		}
	}
}
