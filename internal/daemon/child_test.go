package daemon

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/statedir"
)

// childHome tells the child of a test which home to serve.
const childHome = "DREY_DAEMON_TEST_HOME"

// runChild is the other half of child: in the process that a test has started
// it serves a home until it is killed, and never returns; in any other it does
// nothing.
func runChild() {
	home := os.Getenv(childHome)
	if home == "" {
		return
	}
	o := options(home)
	o.Ready = func(addr string) { fmt.Println("ready", addr) }
	if err := Run(context.Background(), o); err != nil {
		fmt.Println("error", err)
	}
	os.Exit(1)
}

// child is a daemon in a process of its own, with a client's side.
type child struct {
	*house
	cmd *exec.Cmd
}

// startChild starts a daemon on a home and waits until it serves.
func startChild(t *testing.T, home string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{house: &house{t: t, home: statedir.At(home)}, cmd: exec.Command(exe)}
	c.cmd.Env = append(os.Environ(), childHome+"="+home)
	c.cmd.Stderr = os.Stderr // what the race detector says
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(short, c.kill)
	defer hung.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		c.kill()
		_ = c.cmd.Wait()
		t.Fatalf("the daemon does not serve: %q, %v", line, err)
	}
	c.base = "http://" + addr
	c.http = newHTTPClient()
	return c
}

// kill is kill -9.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// gone waits for the end of a child that was killed.
func (c *child) gone() {
	_ = c.cmd.Wait()
	c.http.CloseIdleConnections()
}
