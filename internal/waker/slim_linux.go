package waker

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Slim gives back what a process that only waits does not need, and may be
// called at any time. The waker is the same program as the daemon: its start
// has run the initialisation of every package, and paged in the code of it. The
// garbage goes back to the system, and so do the pages of the program's file:
// they are clean, the system's cache keeps them, and the few that waiting needs
// are mapped again when they are touched. What cannot be given back stays. A
// daemon that nobody uses has worked, and only waits then.
func Slim() {
	debug.FreeOSMemory()
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return // no /proc, no figures: nobody will ask for it
	}
	defer maps.Close()
	for _, r := range cleanRanges(bufio.NewScanner(maps)) {
		// A mapping of a file that nobody can write to, and none of its pages
		// is a private copy: dropping them loses nothing.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.start, r.size, unix.MADV_DONTNEED)
	}
}

// span is a part of the address space.
type span struct {
	start uintptr
	size  uintptr
}

// cleanRanges picks the mappings of files that are not writable and have no
// private page from /proc/self/smaps. A mapping that was written to before it
// was protected (relocations) has such pages, and would lose them.
func cleanRanges(lines *bufio.Scanner) []span {
	var out []span
	var at span
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-") && len(f[1]) == 4:
			at = span{}
			from, to, _ := strings.Cut(f[0], "-")
			a, aerr := strconv.ParseUint(from, 16, 64)
			b, berr := strconv.ParseUint(to, 16, 64)
			if aerr == nil && berr == nil && b > a && len(f) >= 6 && strings.HasPrefix(f[5], "/") && f[1][1] == '-' {
				at = span{uintptr(a), uintptr(b - a)}
			}
		case len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && at.size > 0:
			out = append(out, at)
		}
	}
	return out
}
