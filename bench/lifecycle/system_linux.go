package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// drop writes a file to its disk and drops it from the page cache. It is an
// error if most of it is there all the same, since what is measured next would
// not be what it is called.
func drop(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return &os.PathError{Op: "drop from the page cache", Path: path, Err: err}
	}
	size := int(info.Size())
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return &os.PathError{Op: "map", Path: path, Err: err}
	}
	defer func() { _ = unix.Munmap(m) }() // it was only looked at
	pages := make([]byte, (size+os.Getpagesize()-1)/os.Getpagesize())
	if err := mincore(m, pages); err != nil {
		return &os.PathError{Op: "look for in the page cache", Path: path, Err: err}
	}
	resident := 0
	for _, p := range pages {
		resident += int(p & 1)
	}
	if resident > len(pages)/10 {
		return fmt.Errorf("%s: %d of %d pages stay in the page cache", path, resident, len(pages))
	}
	return nil
}

// mincore sets the lowest bit of each page that is in memory.
func mincore(mapped, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

// cpu returns the processor time that a process has used, to the nanosecond:
// its clock tells it, where /proc counts in ticks of 10 ms.
func cpu(pid int) (time.Duration, error) {
	var t unix.Timespec
	const scheduled = 2 // CPUCLOCK_SCHED: of all threads, while they run
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// resident returns what a process has in memory, in MB, and how much of that
// is its own and not pages of files that the system may drop.
func resident(pid int) (all, own float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64) // 0 where it is no number
		switch f[0] {
		case "VmRSS:":
			all = kb / 1024
		case "RssAnon:":
			own = kb / 1024
		}
	}
	if all == 0 {
		return 0, 0, fmt.Errorf("process %d has no memory: it has ended", pid)
	}
	return all, own, nil
}

// load is what else the machine does.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(data)); err == nil && len(f) > 0 {
		return f[0]
	}
	return "unknown"
}
