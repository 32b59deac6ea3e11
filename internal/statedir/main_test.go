package statedir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// contend names the lock that a copy of this test binary tries to take.
const contend = "STATEDIR_TEST_CONTEND"

// Copies of this test binary that dispatch until they are killed, or append
// their share of lines; the value is the home.
const (
	dispatches = "STATEDIR_TEST_DISPATCH"
	appends    = "STATEDIR_TEST_APPEND"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(contend); path != "" {
		os.Exit(contender(path))
	}
	if root := os.Getenv(dispatches); root != "" {
		os.Exit(dispatcher(root))
	}
	if root := os.Getenv(appends); root != "" {
		os.Exit(appender(root))
	}
	goleak.VerifyTestMain(m)
}

// contender tries the lock once, says how it went, and holds what it has got
// until its standard input ends.
func contender(path string) int {
	l, err := TryLock(path)
	switch {
	case errors.Is(err, ErrLocked):
		fmt.Println("locked")
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println("held")
		if os.Getenv("STATEDIR_TEST_CHILD") != "" {
			child := exec.Command("sleep", "60")
			if err := child.Start(); err != nil {
				fmt.Println(err)
				return 1
			}
			fmt.Println(child.Process.Pid)
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	l.Release()
	return 0
}

// process is a contender as its parent sees it.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	said  *bufio.Reader
}

func startContender(t *testing.T, path string) *process {
	t.Helper()
	return startCopy(t, contend+"="+path)
}

// startCopy starts a copy of this test binary in the part that env gives it.
func startCopy(t *testing.T, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &process{cmd, in, bufio.NewReader(out)}
}

func (p *process) answer(t *testing.T) string {
	t.Helper()
	line, err := p.said.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (p *process) end() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait() // its answer has said all
}
