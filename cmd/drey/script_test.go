package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite golden files")

// patience is how long a script waits for what must come. It is reached by
// failures alone.
const patience = 30 * time.Second

// TestScripts runs the manual: testdata/script/*.txtar. Each script has a home
// of its own, and besides testscript's commands these:
//
//	exits CODE PROGRAM [ARGS]   run a program that must end with CODE
//	ready [-or-skip]            wait until `drey serve` has opened its doors; sets $URL.
//	                            -or-skip: unless somebody else has the default address
//	http METHOD URL [FILE]      call it with the file as body: stdout is the status line,
//	                            X-Drey- headers and body; sets $REQUEST to its id
//	hang URL FILE               begin a POST whose answer begins and does not end
//	until PATTERN PROGRAM ARGS  run it until a line matches, then Ctrl-C: it must exit 0
//	soon PATTERN PROGRAM ARGS   run it again and again until its output matches
//	signal NAME                 send INT or TERM to what runs in the background
//	json FILE, jsonlines FILE   it is one JSON object, or one per line
//	occupy VAR                  listen on a free address and keep it in VAR
//	free VAR                    keep a free address in VAR
//	expand FILE                 put variables into a file
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsCmd, "ready": readyCmd, "http": httpCmd, "hang": hangCmd, "until": untilCmd, "soon": soonCmd, "signal": signalCmd,
			"json": jsonCmd, "jsonlines": jsonLinesCmd, "occupy": occupyCmd, "free": freeCmd, "expand": expandCmd,
		},
	})
}

type harnessKey struct{}

// harness is what a script's commands share.
type harness struct {
	t     testscript.T
	ready *net.TCPListener
}

func setUpScript(env *testscript.Env) error {
	// Not under $WORK: the path of a socket has to be short.
	home, err := os.MkdirTemp("", "drey")
	if err != nil {
		return err
	}
	env.Defer(func() { stopUp(home); os.RemoveAll(home) })
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	env.Defer(func() { l.Close() })
	env.Values[harnessKey{}] = &harness{env.T(), l}
	env.Setenv("DREY_HOME", home)
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("TZ", "UTC")
	env.Setenv(noStartEnv, "1")               // a script that wants a daemon says so
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each of many short runs ends with a second of waiting
	env.Setenv(readyEnv, l.Addr().String())
	return nil
}

func harnessOf(ts *testscript.TestScript) *harness { return ts.Value(harnessKey{}).(*harness) }

func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s exited with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

func readyCmd(ts *testscript.TestScript, neg bool, args []string) {
	h := harnessOf(ts)
	ts.Check(h.ready.SetDeadline(time.Now().Add(patience)))
	conn, err := h.ready.Accept()
	ts.Check(err)
	defer conn.Close()
	b, err := io.ReadAll(conn)
	ts.Check(err)
	what, addr, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if what == "ready" {
		ts.Setenv("URL", "http://"+addr)
		ts.Setenv("ADDR", addr)
		return
	}
	if len(args) == 1 && args[0] == "-or-skip" {
		if c, err := net.Dial("tcp", "127.0.0.1:3739"); err == nil {
			c.Close()
			h.t.Skip("somebody else serves on 127.0.0.1:3739")
		}
	}
	ts.Fatalf("drey did not open its doors: %s %s", what, addr)
}

func httpCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: http METHOD URL [FILE]")
	}
	var body io.Reader
	if len(args) == 3 {
		body = strings.NewReader(ts.ReadFile(args[2]))
	}
	req, err := http.NewRequest(args[0], args[1], body)
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	ts.Setenv("REQUEST", resp.Header.Get("X-Drey-Request-Id"))
	out := ts.Stdout()
	_, err = io.WriteString(out, resp.Status+"\n")
	ts.Check(err)
	for name, values := range resp.Header {
		if strings.HasPrefix(name, "X-Drey-") {
			_, err = io.WriteString(out, name+": "+strings.Join(values, ", ")+"\n")
			ts.Check(err)
		}
	}
	_, err = io.Copy(out, resp.Body)
	ts.Check(err)
}

func hangCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hang URL FILE")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Post(args[0], "application/json", strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Defer(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("hang: %s", resp.Status)
	}
}

func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN PROGRAM [ARGS]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	cmd := exec.Command(args[1], args[2:]...)
	for _, name := range []string{"PATH", "HOME", "TZ", "DREY_HOME", "GORACE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Stderr = ts.Stderr()
	pipe, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	found := false
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		_, err := io.WriteString(ts.Stdout(), lines.Text()+"\n")
		ts.Check(err)
		if !found && pattern.Match(lines.Bytes()) {
			found = true
			ts.Check(cmd.Process.Signal(os.Interrupt))
		}
	}
	err = cmd.Wait()
	if !found {
		ts.Fatalf("no line matched %q", args[0])
	}
	if err != nil {
		ts.Fatalf("after Ctrl-C: %v", err)
	}
}

func soonCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: soon PATTERN PROGRAM [ARGS]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("nothing matched %q", args[0])
}

func signalCmd(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal INT|TERM")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}

func jsonCmd(ts *testscript.TestScript, neg bool, args []string) {
	var object map[string]any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &object); err != nil {
		ts.Fatalf("%s is not one JSON object: %v", args[0], err)
	}
}

func jsonLinesCmd(ts *testscript.TestScript, neg bool, args []string) {
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%s: %q is not a JSON object: %v", args[0], line, err)
		}
		n++
	}
	if n == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
}

func occupyCmd(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

func freeCmd(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

func expandCmd(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
