package process

import (
	"bytes"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dieWithUs does nothing: macOS cannot tell a child of its parent's death.
// KillSurvivor finds who is left.
func dieWithUs(*syscall.SysProcAttr) {}

// awaitChild waits until the child has ended, and leaves it unreaped: as long
// as that is so, its number and that of its group mean nobody else.
func awaitChild(pid int) {
	for state, ok := stateOf(pid); ok && state != zombie; state, ok = stateOf(pid) {
		awaitExit(pid, time.Hour)
	}
}

// awaitExit waits until the process, which need be no child, has ended, or for
// d. It may return early.
func awaitExit(pid int, d time.Duration) {
	kq, err := unix.Kqueue()
	if err != nil { // no descriptor left: there is nothing to wait on
		time.Sleep(min(d, 20*time.Millisecond))
		return
	}
	defer func() { _ = unix.Close(kq) }()
	var ev unix.Kevent_t
	unix.SetKevent(&ev, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	ev.Fflags = unix.NOTE_EXIT
	out := make([]unix.Kevent_t, 1)
	timeout := unix.NsecToTimespec(int64(d))
	// An error says that it has ended before (ESRCH), or that a signal came.
	_, _ = unix.Kevent(kq, []unix.Kevent_t{ev}, out, &timeout)
}

// zombie is SZOMB of <sys/proc.h>: ended, and not reaped yet.
const zombie = 5

func stateOf(pid int) (state int8, ok bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return 0, false
	}
	return k.Proc.P_stat, true
}

// members returns the living processes of a group. One that has ended and that
// nobody has reaped yet holds nothing but its number, and is not among them.
// Where drey cannot look it takes them for living.
func members(pgid int) []int {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.pgrp", pgid)
	if err != nil {
		if syscall.Kill(-pgid, 0) == syscall.ESRCH {
			return nil
		}
		return []int{pgid}
	}
	var out []int
	for i := range procs {
		if p := &procs[i].Proc; p.P_stat != zombie {
			out = append(out, int(p.P_pid))
		}
	}
	return out
}

// startTime returns when a process began, in a form that tells it from every
// other one that ever had its number. It is "" if there is no such process.
func startTime(pid int) string {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return ""
	}
	t := k.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", t.Sec, t.Usec)
}

// hasVariable reports whether a process was started with the variable, given
// as NAME=value, in its environment.
func hasVariable(pid int, variable string) bool {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	return err == nil && bytes.Contains(b, []byte("\x00"+variable+"\x00"))
}

// oomKills returns 0: macOS does not count the processes that it kills for
// memory.
func oomKills() uint64 { return 0 }
