package process

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dieWithUs asks the kernel to send SIGTERM to the child when the thread that
// starts it ends, and so when this process is killed. The thread matters: who
// starts the child must be locked to its thread for as long as the child
// lives. It is SIGTERM and not SIGKILL because only the child itself is told:
// a server that is asked ends its workers, one that is killed orphans them.
// Who does not listen is found by KillSurvivor.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

// awaitChild waits until the child has ended, and leaves it unreaped: as long
// as that is so, its number and that of its group mean nobody else.
func awaitChild(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// awaitExit waits until the process, which need be no child, has ended, or for
// d. It may return early.
func awaitExit(pid int, d time.Duration) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil { // a kernel before 5.3: there is nothing to wait on
		time.Sleep(min(d, 20*time.Millisecond))
		return
	}
	defer func() { _ = unix.Close(fd) }()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, int((d + time.Millisecond - 1).Milliseconds()))
}

// stat returns the fields of /proc/PID/stat from the third on: the state is
// the first of them, the start in clock ticks since boot the twentieth.
func stat(pid int) ([][]byte, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	// The second field is the program's name in parentheses, and may itself
	// hold spaces and parentheses.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return nil, errors.New("not the form of a stat file")
	}
	return f, nil
}

// members returns the living processes of a group. One that has ended and that
// nobody has reaped yet holds nothing but its number, and is not among them:
// in many containers process 1 reaps nobody. Where drey cannot look (it is out
// of descriptors) it takes them for living.
func members(pgid int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		if syscall.Kill(-pgid, 0) == syscall.ESRCH {
			return nil
		}
		return []int{pgid}
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	var out []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if of, err := syscall.Getpgid(pid); err != nil || of != pgid {
			continue
		}
		f, err := stat(pid)
		ended := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) ||
			err == nil && (f[0][0] == 'Z' || f[0][0] == 'X')
		if !ended {
			out = append(out, pid)
		}
	}
	return out
}

// startTime returns when a process began, in a form that tells it from every
// other one that ever had its number: ticks are counted from the boot, so the
// boot is part of it. It is "" if there is no such process.
func startTime(pid int) string {
	f, err := stat(pid)
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + string(f[19])
}

// hasVariable reports whether a process was started with the variable, given
// as NAME=value, in its environment.
func hasVariable(pid int, variable string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, b...), []byte("\x00"+variable+"\x00"))
}

// oomKills returns how many processes the kernel has killed for memory since
// boot; 0 if it does not tell.
func oomKills() uint64 {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\noom_kill ")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseUint(line, 10, 64)
	return n
}
