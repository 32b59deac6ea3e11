package process

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit is how a backend ended.
type Exit struct {
	Code   int    // exit code; -1 if a signal ended it
	Signal string // such as "SIGKILL"; "" if none did
	// Asked: Stop was called before it ended.
	Asked bool
	// OOM is a guess: it failed, and its last output speaks of memory that was
	// not to be had, or the kernel killed somebody for memory while it ran and
	// it was killed, not by drey.
	OOM bool
	// PortTaken is a guess from its last output: it failed because somebody
	// else had the port. With a port that drey chose, another start may help.
	PortTaken bool
	// Uptime is from the start to the end of the first process, monotonic.
	Uptime time.Duration
	// Output is the end (8 KiB) of what it wrote, unredacted.
	Output string
}

// String says how it ended on one line: "exit status 3", "SIGKILL".
func (e Exit) String() string {
	if e.Signal != "" {
		return e.Signal
	}
	return "exit status " + strconv.Itoa(e.Code)
}

var (
	// oomText is what servers and their libraries write when memory is out, on
	// the device or the machine: CUDA, ROCm, Metal, Vulkan, PyTorch, C++, Rust,
	// Go, Ollama, errno 12. Memory must be said to be missing: "out of memory:
	// no" is nobody's words.
	oomText = regexp.MustCompile(`(?i)\bout[ _]of[ _](?:\w+[ _])?memory\b|OutOf(?:Device|Host)?Memory|\bbad_alloc\b|\bcannot allocate memory\b|\bMemoryError\b|` +
		`\b(?:failed|unable) to allocate\b[^\n]{0,80}\b(?:buffer|memory|bytes|[kmg]i?b)\b|\bcudaMalloc failed\b|\bmemory allocation of \d+ bytes failed\b|` +
		`\b(?:insufficient|not enough|requires more)\b[^\n]{0,20}\b(?:memory|vram)\b`)
	// portText is EADDRINUSE in words.
	portText = regexp.MustCompile(`(?i)\baddress already in use\b|\bEADDRINUSE\b|\baddress in use\b|\bport \d+ is (?:already )?in use\b|\bcouldn't bind\b|\bfailed to bind\b`)
)

// describe tells how the first process ended. The group is gone.
func (p *Process) describe(state *os.ProcessState, asked bool, uptime time.Duration) Exit {
	e := Exit{Code: state.ExitCode(), Asked: asked, Uptime: uptime, Output: p.tail.String()}
	killed := false
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = signalName(ws.Signal())
		killed = ws.Signal() == syscall.SIGKILL
	}
	if e.Code == 0 {
		return e
	}
	// A shell that its server was killed under ends with 128 + 9.
	killed = killed || e.Code == 128+int(syscall.SIGKILL)
	e.OOM = oomText.MatchString(e.Output) || killed && !p.group.wasKilled() && oomKills() > p.ooms
	e.PortTaken = portText.MatchString(e.Output)
	return e
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return strings.ToUpper(strings.ReplaceAll(sig.String(), " ", "")) // a real-time one: "SIGNAL34"
}
