package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// registryProcess is one life of the program `registry` on a nest's home.
type registryProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	url string
}

// registry starts the program and waits until it serves.
func (n *nest) registry() *registryProcess {
	n.t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command("registry")
	cmd.Env = append(append(os.Environ(), n.env()...), readyEnv+"="+l.Addr().String())
	cmd.Stdout, cmd.Stderr = n.out, n.out
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	p := &registryProcess{t: n.t, cmd: cmd}
	n.t.Cleanup(p.kill)
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		n.t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	var addr string
	if _, err := fmt.Fscanf(conn, "ready %s", &addr); err != nil {
		n.t.Fatalf("the registry did not get ready: %v", err)
	}
	p.url = "http://" + addr
	return p
}

// kill ends the process at once; a second time it does nothing.
func (p *registryProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed
}

// call makes a call on an operation, which must be taken.
func (p *registryProcess) call(name string, args ...string) {
	p.t.Helper()
	q := url.Values{}
	for i := 0; i < len(args); i += 2 {
		q.Set(args[i], args[i+1])
	}
	resp, err := http.Post(p.url+"/"+name+"?"+q.Encode(), "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %v: %s", name, args, resp.Status)
	}
}

// TestOpsWatchSurvivesRestarts: `drey ops watch` follows an operation live while
// the process behind it is killed again and again. It connects again by itself,
// shows every transition once and in order, and ends with the operation.
func TestOpsWatchSurvivesRestarts(t *testing.T) {
	t.Parallel()
	n := newNest(t, "")
	const id = "019a0000-0000-7000-8000-0000000000a1"
	reg := n.registry()
	reg.call("register", "id", id, "mob", "red", "owner", "boss", "child", "s", "text", "member/a")
	reg.call("register", "id", "019a0000-0000-7000-8000-0000000000a2", "mob", "red", "owner", "boss", "child", "s2", "text", "member/b")

	watch := exec.Command("drey", "ops", "watch", "0000a1", "--after", "0", "--json")
	watch.Env = append(append(os.Environ(), n.env()...), noStartEnv+"=1")
	said := &lockedBuffer{}
	watch.Stderr = said
	pipe, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*patience, func() { _ = watch.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(pipe)
	var seq uint64
	version := 0
	expect := func(event string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the watch ended before %s: %s", event, said)
		}
		var ev struct {
			Seq       uint64
			Event, ID string
			Version   int
		}
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if ev.Event != event || ev.ID != id || ev.Version != version+1 || ev.Seq <= seq {
			t.Fatalf("%s, want %s at version %d behind seq %d", lines.Text(), event, version+1, seq)
		}
		seq, version = ev.Seq, ev.Version
	}
	expect("operation.registered")
	expect("operation.running")
	const lives = 4
	for life := range lives {
		for range 3 { // one by one: it follows live
			reg.call("progress", "id", id, "text", "live")
			expect("operation.progress")
		}
		reg.call("progress", "id", "019a0000-0000-7000-8000-0000000000a2", "text", "not asked for")
		for range 5 { // and these it may not have seen when the process is killed
			reg.call("progress", "id", id, "text", "on the way")
		}
		reg.kill()
		reg = n.registry()
		reg.call("progress", "id", id, "text", fmt.Sprint("life ", life+1)) // perhaps before it is back
		for range 6 {
			expect("operation.progress")
		}
	}
	reg.call("complete", "id", id, "text", "done")
	expect("operation.completed")
	if lines.Scan() {
		t.Errorf("after the ending: %s", lines.Text())
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("drey ops watch: %v", err)
	}
	if got := strings.Count(said.String(), "connecting again"); got < lives {
		t.Errorf("it connected again %d times, want %d or more: %s", got, lives, said)
	}
}
