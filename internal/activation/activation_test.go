package activation_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dreyhq/drey/internal/activation"
	"github.com/dreyhq/drey/internal/activation/activationtest"
)

// asChild has a copy of this test binary say what it has inherited.
const asChild = "ACTIVATION_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// report is what a child says of Take.
type report struct {
	Owner, Name               string
	Living, Alarm             bool
	Gateway, Control, Metrics string
	Ignored                   []string
	Left                      []string // variables that are still there
	Err                       string
	Waits                     bool // a connection waits at the gateway
}

// child says what it has inherited, and with an owner that is a waker, when it
// is lost.
func child() int {
	in, err := activation.Take()
	if err != nil {
		return say(report{Err: err.Error()})
	}
	r := report{Owner: in.Owner.String(), Living: in.Living(), Alarm: in.Alarm, Ignored: in.Ignored}
	r.Name, _, _ = strings.Cut(in.OwnerName, " (")
	for _, l := range []struct {
		is net.Listener
		at *string
	}{{in.Gateway, &r.Gateway}, {in.Control, &r.Control}, {in.Metrics, &r.Metrics}} {
		if l.is != nil {
			*l.at = l.is.Addr().String()
		}
	}
	if in.Gateway != nil {
		r.Waits = activation.Readable(in.Gateway)
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LISTEN_") || strings.HasPrefix(kv, "DREY_OWNER") {
			r.Left = append(r.Left, kv)
		}
	}
	code := say(r)
	if in.Owner == activation.Waker {
		<-in.Lost
		fmt.Println("lost")
	}
	if err := in.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

func say(r report) int {
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

// ask runs a child to its end.
func ask(t *testing.T, cmd *exec.Cmd) report {
	t.Helper()
	cmd.Env = append(cmd.Env, asChild+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

func activator(t *testing.T) *activationtest.Activator {
	t.Helper()
	dir, err := os.MkdirTemp("", "drey") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a, err := activationtest.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func TestTakeFromAManager(t *testing.T) {
	a := activator(t)
	for name, row := range map[string]struct {
		living bool
		env    []string
		want   report
	}{
		"systemd": {true, nil, report{Owner: "systemd", Name: "systemd", Living: true, Gateway: a.Addr, Control: a.Socket}},
		"systemd of old, that does not tell whom it has started": {true, []string{"SYSTEMD_EXEC_PID="},
			report{Owner: "systemd", Name: "systemd", Living: true, Gateway: a.Addr, Control: a.Socket}},
		"an activator that has become the daemon": {false, nil, report{Owner: "other", Name: "other", Gateway: a.Addr, Control: a.Socket}},
		"the same in a session of systemd": {false, []string{"INVOCATION_ID=1", "SYSTEMD_EXEC_PID=1"},
			report{Owner: "other", Name: "other", Gateway: a.Addr, Control: a.Socket}},
		"no names: told by type": {true, []string{"LISTEN_FDNAMES="}, report{Owner: "systemd", Name: "systemd", Living: true, Gateway: a.Addr, Control: a.Socket}},
		"names of somebody else": {true, []string{"LISTEN_FDNAMES=drey.socket:drey.socket"},
			report{Owner: "systemd", Name: "systemd", Living: true, Gateway: a.Addr, Control: a.Socket}},
		"a metrics door": {true, []string{"LISTEN_FDNAMES=metrics"}, report{Owner: "systemd", Name: "systemd", Living: true, Metrics: a.Addr, Control: a.Socket}},
		"none":           {true, []string{"LISTEN_FDS=0"}, report{Owner: "none", Name: "none"}},
		"no number": {true, []string{"LISTEN_FDS=many"}, report{Owner: "none", Name: "none",
			Ignored: []string{`LISTEN_FDS="many" is no number of descriptors`}}},
		"two of a kind": {true, []string{"LISTEN_FDNAMES=gateway:gateway"}, report{
			Err: "take over inherited descriptor 4: " + a.Socket + " is a second listener of its kind, beside " + a.Addr}},
		"more than there are": {true, []string{"LISTEN_FDS=40"}, report{Err: "take over inherited descriptor "}},
	} {
		t.Run(name, func(t *testing.T) {
			a.Living = row.living
			cmd := a.Command(t.Context(), nil, os.Args[0])
			// The shell exports what it sets; what a row sets comes after.
			if n := slices.Index(row.env, "SYSTEMD_EXEC_PID="); n >= 0 {
				cmd.Args[2] = `export LISTEN_PID=$$; unset SYSTEMD_EXEC_PID; exec "$@"`
			}
			cmd.Env = append(cmd.Env, row.env...)
			got := ask(t, cmd)
			if row.want.Err != "" {
				if !strings.Contains(got.Err, row.want.Err) {
					t.Errorf("error %q, want %q", got.Err, row.want.Err)
				}
				return
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVariablesOfAnotherProcessAreIgnored(t *testing.T) {
	for _, env := range [][]string{
		{"LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=gateway:control"},
		{"LISTEN_FDS=2"},
		{"DREY_OWNER=12", "DREY_OWNER_FDNAMES=gateway:control:owner"},
		{"DREY_OWNER=12"},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), env...)
		got := ask(t, cmd)
		if len(got.Ignored) != 1 || got.Owner != "none" || got.Left != nil || got.Gateway != "" || got.Err != "" {
			t.Errorf("%s: %+v", env, got)
		}
	}
}

func TestConnectedSocketIsNoListener(t *testing.T) {
	a := activator(t)
	conn, err := net.Dial("tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := a.Command(t.Context(), nil, os.Args[0])
	cmd.ExtraFiles = []*os.File{f, f}
	if got := ask(t, cmd); !strings.Contains(got.Err, "no listening socket") {
		t.Errorf("%+v", got)
	}
}

func TestActivatorSeesAConnectionAndSoDoesTheDaemon(t *testing.T) {
	a := activator(t)
	if got := ask(t, a.Command(t.Context(), nil, os.Args[0])); got.Waits {
		t.Error("a connection waits before there is one")
	}
	conn, err := net.Dial("tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := a.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Two processes come and go, and the connection waits on.
	for range 2 {
		if got := ask(t, a.Command(t.Context(), nil, os.Args[0])); !got.Waits {
			t.Error("the connection does not wait")
		}
	}
}

func TestTakeFromAWaker(t *testing.T) {
	a := activator(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	defer read.Close()
	cmd := exec.Command(os.Args[0])
	template := a.Command(t.Context(), nil, os.Args[0])
	// What we have inherited ourselves is nothing to the daemon.
	t.Setenv("LISTEN_FDS", "7")
	t.Setenv("LISTEN_PID", "7")
	activation.Handover{Gateway: template.ExtraFiles[0], Control: template.ExtraFiles[1], Owner: read}.Give(cmd)
	for _, kv := range cmd.Env {
		if strings.HasPrefix(kv, "LISTEN_") {
			t.Errorf("the daemon gets %s", kv)
		}
	}
	cmd.Env = append(cmd.Env, asChild+"=1", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it says nothing")
	}
	var got report
	if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := report{Owner: "waker", Name: "waker", Living: true, Alarm: true, Gateway: a.Addr, Control: a.Socket}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := write.Close(); err != nil { // the waker's end
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "lost" {
		t.Errorf("at its owner's end it says %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestReadableNeedsADescriptor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if activation.Readable(struct{ net.Listener }{l}) {
		t.Error("a listener without a descriptor is readable")
	}
	l.Close()
	if activation.Readable(l) {
		t.Error("a closed listener is readable")
	}
}

func TestReadiness(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := activation.Ready(); err != nil {
		t.Errorf("nobody asks, and %v", err)
	}
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for _, row := range []struct {
		say  func() error
		want string
	}{{activation.Ready, "READY=1"}, {activation.Stopping, "STOPPING=1"}} {
		if err := row.say(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != row.want {
			t.Errorf("the manager hears %q, %v; want %q", b[:n], err, row.want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", path+"gone")
	if err := activation.Ready(); err == nil {
		t.Error("nobody is there, and no error")
	}
}
