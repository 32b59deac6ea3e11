package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name          string
		cmd           Command
		error, output string // regular expressions; "" = empty
	}{
		{"exit 0 is a success, whatever it says", Command{Argv: self("say", "0", "warning")}, "", `^warning\n$`},
		{"the error is the end of stderr", Command{Argv: self("say", "3", " no such unit ")}, `^no such unit$`, `no such unit`},
		{"else the exit status", Command{Argv: self("say", "3", "")}, `^exit status 3$`, `^\n$`},
		{"stdout is no error text", Command{Shell: "echo out; exit 4"}, `^exit status 4$`, `^out\n$`},
		{"or the signal", Command{Shell: "kill -KILL $$"}, `^signal: killed$`, ""},
		{"a long error keeps its end", Command{Shell: "printf '%02000d' 0 >&2; echo end >&2; exit 1"}, `^0{500}0{500}0{21}end$`, `end\n$`},
		{"no program: the operating system's words", Command{Argv: []string{"./drey-no-such-program"}}, `no such file or directory`, ""},
		{"not in PATH", Command{Argv: []string{"drey-no-such-program"}}, `not found`, ""},
		{"no directory", Command{Argv: self("env"), Dir: "/drey/no/such"}, `no such file or directory`, ""},
		{"no command", Command{}, `^an empty command$`, ""},
		{"both outputs are drained", Command{Argv: self("flood", "3000000")}, "", `^0{1000}.*\n?0*$`},
		{"a shell only when asked", Command{Argv: []string{"/bin/echo", "$HOME", "&&"}}, "", `^\$HOME &&\n$`},
		{"a line by the shell", Command{Shell: "echo a && echo b"}, "", `^a\nb\n$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Run(t.Context(), c.cmd)
			if r.OK != (c.error == "") || !matches(c.error, r.Error) || !matches(c.output, r.Output) {
				t.Errorf("OK %v, error %q, output (%d) %.200q; want %q, %q", r.OK, r.Error, len(r.Output), r.Output, c.error, c.output)
			}
			if r.Duration <= 0 || len(r.Error) > errorBytes || len(r.Output) > keptOutput {
				t.Errorf("duration %v, %d bytes of error, %d of output", r.Duration, len(r.Error), len(r.Output))
			}
		})
	}
}

func matches(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	return regexp.MustCompile(pattern).MatchString(s)
}

func TestRunGivesACleanEnvironment(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-secret")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	t.Setenv("LANG", "C.UTF-8")
	t.Setenv("SHELL", "")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := Run(t.Context(), Command{
		Argv: self("env"), Dir: dir, Provider: "llama", Reason: "consecutive",
		Env: []string{"TOKEN=t", "LANG=de_DE.UTF-8"},
	})
	lines := strings.Split(strings.TrimSpace(r.Output), "\n")
	for _, want := range []string{"DREY_PROVIDER=llama", "DREY_REASON=consecutive", "TOKEN=t", "LANG=de_DE.UTF-8",
		"XDG_RUNTIME_DIR=/run/user/7", "PATH=" + os.Getenv("PATH"), "SHELL=", "cwd " + dir} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is missing in %q", want, lines)
		}
	}
	allowed := append(passed[:], "DREY_PROVIDER", "DREY_REASON", "TOKEN", "PWD") // PWD is os/exec's, for Dir
	for _, l := range lines {
		if name, _, ok := strings.Cut(l, "="); ok && !slices.Contains(allowed, name) {
			t.Errorf("%q reached the command", l)
		}
	}
}

func TestRunTimeoutEndsTheWholeGroup(t *testing.T) {
	r := Run(t.Context(), Command{
		Shell:   `trap "" TERM; echo group $$; sleep 60 & wait; sleep 60`,
		Timeout: 250 * time.Millisecond, grace: 50 * time.Millisecond,
	})
	if r.OK || r.Error != "timeout after 0.25s" {
		t.Errorf("%+v", r)
	}
	if r.Duration < 250*time.Millisecond {
		t.Errorf("it had only %v", r.Duration)
	}
	noneLeft(t, groupOf(t, r.Output))
}

func TestTimeoutTextIsInSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{30 * time.Second: "timeout after 30s", 90 * time.Second: "timeout after 90s", 5500 * time.Millisecond: "timeout after 5.5s"} {
		if got := timedOut(d).Error(); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	stop := errors.New("the daemon stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan Result, 1)
	go func() {
		done <- Run(ctx, Command{Shell: `trap "" TERM; echo group $$; echo runs >` + fifo + `; sleep 60 & wait; sleep 60`})
	}()
	if b, err := os.ReadFile(fifo); err != nil || string(b) != "runs\n" {
		t.Fatal(string(b), err)
	}
	cancel(stop)
	r := <-done
	if r.OK || r.Error != "stopped: the daemon stops" {
		t.Errorf("%+v", r)
	}
	noneLeft(t, groupOf(t, r.Output))

	if r := Run(ctx, Command{Argv: self("say", "0", "runs")}); r.OK || r.Output != "" {
		t.Errorf("it started after the end of its context: %+v", r)
	}
}

func groupOf(t *testing.T, output string) int {
	t.Helper()
	_, rest, _ := strings.Cut(output, "group ") // the two outputs come in any order
	line, _, _ := strings.Cut(rest, "\n")
	pgid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("no group in %q", output)
	}
	return pgid
}

func TestRunFailureLeavesNothingBehind(t *testing.T) {
	r := Run(t.Context(), Command{Shell: `echo group $$; sleep 60 & echo failed >&2; exit 5`})
	if r.OK || r.Error != "failed" {
		t.Errorf("%+v", r)
	}
	noneLeft(t, groupOf(t, r.Output))
}

// TestRunLeavesAServerBehind: the first process ends with success, its child
// has the pipes and goes on writing into them.
func TestRunLeavesAServerBehind(t *testing.T) {
	r := Run(t.Context(), Command{Argv: self("leave", "survivor")})
	var pid int
	var addr string
	if _, err := fmt.Sscanf(r.Output, "left %d %s", &pid, &addr); !r.OK || err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	tell := func(what string) string {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		fmt.Fprintln(c, what)
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		return string(buf[:n])
	}
	// A megabyte is more than any pipe holds: somebody reads.
	if got := tell("flood"); got != "flooded <nil>\n" {
		t.Errorf("the server said %q", got)
	}
	tell("quit")
	pgid, err := syscall.Getpgid(pid)
	if err == nil && !awaitGone(pgid, time.Now().Add(5*time.Second)) {
		t.Error("the server did not quit")
	}
}

func TestRunDoesNotWaitForClosedPipes(t *testing.T) {
	r := Run(t.Context(), Command{Shell: `sleep 60 >/dev/null 2>&1 & echo $!`})
	pid, err := strconv.Atoi(strings.TrimSpace(r.Output))
	if !r.OK || err != nil {
		t.Fatalf("%+v", r)
	}
	if syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Error("the group was killed after a success")
	}
}
