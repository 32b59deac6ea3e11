package statedir

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dreyhq/drey"
)

// maxWakeContent is what is read of a wake signal. Its presence is the signal;
// the content is for the log.
const maxWakeContent = 4 << 10

// wakeSignal is the content of wake.signal.
type wakeSignal struct {
	RequestedAt string `json:"requested_at"`
	PID         int    `json:"wrapper_pid"`
	UUID        string `json:"wrapper_uuid"`
	Reason      string `json:"reason,omitempty"`
}

// SignalWake asks for WAKE by putting wake.signal into the home, in place of
// one that waits already. It works with and without a running daemon, and says
// nothing about when it will be seen. reason may be empty.
func (h Home) SignalWake(reason string) error {
	b, err := json.Marshal(wakeSignal{drey.FormatTime(time.Now()), os.Getpid(), clientUUID(), reason})
	if err != nil {
		return err
	}
	if err := makeDir(h.root); err != nil {
		return err
	}
	return realDisk.replace(h.WakeSignal(), wakePrefix+"*"+tempSuffix, append(b, '\n'), true)
}

// WakePending reports whether a wake signal waits, and consumes nothing. What
// cannot be looked at counts as waiting: it may be a signal, and nobody must
// hibernate over one.
func (h Home) WakePending() bool {
	_, err := os.Lstat(h.WakeSignal())
	return !errors.Is(err, os.ErrNotExist)
}

// ConsumeWake takes the wake signal, if there is one, and returns its content,
// of which the first 4 KiB: empty or broken content is a signal as well. Of
// several that try, one finds it. An error says that something is there that
// cannot be taken (a directory, a home that must not be written), and nothing
// was.
func (h Home) ConsumeWake() (content []byte, found bool, err error) {
	path := h.WakeSignal()
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if info.IsDir() { // renaming would succeed, and unlinking would not
		return nil, false, &os.PathError{Op: "consume", Path: path, Err: unix.EISDIR}
	}
	private := h.join(fmt.Sprintf("%s%d-%s%s", wakePrefix, os.Getpid(), rand.Text(), tempSuffix))
	// Who renames it has it: nobody else finds it at its name any more.
	if err := os.Rename(path, private); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, false, nil
		}
		return nil, false, err
	}
	content = readSome(private, maxWakeContent)
	_ = os.Remove(private) // it is consumed; what stays is swept as an old temporary file
	return content, true, nil
}

// readSome returns the beginning of a plain file, or nothing. It neither
// follows a link nor waits for the other end of a pipe.
func readSome(path string, limit int64) []byte {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close() // only read
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	b, _ := io.ReadAll(io.LimitReader(f, limit)) // what could be read
	return b
}

// clientUUID is this process's name in wake signals and leases: random, one
// for the whole life of the process.
var clientUUID = sync.OnceValue(newUUID)

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
