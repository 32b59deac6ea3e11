package process

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain makes the test binary its own bad company: run with "backend" it
// behaves as the further words say.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "backend" {
		// Whatever a failed test leaves behind ends by itself.
		time.AfterFunc(time.Minute, func() { syscall.Exit(99) })
		// os.Exit(0) would wait a second for late reports of the race detector.
		syscall.Exit(backend(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}

// self returns the command that runs the test binary as a backend.
func self(words ...string) []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{exe, "backend"}, words...)
}

func backend(kind string, args []string) int {
	switch kind {
	case "serve": // PORT BEHAVIOUR…
		return serve(args[0], args[1:])
	case "say": // CODE TEXT: on stderr
		fmt.Fprintln(os.Stderr, args[1])
		code, _ := strconv.Atoi(args[0])
		return code
	case "linger": // ignores SIGTERM and lives on
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("lingering")
		select {}
	case "leave": // KIND: starts such a child, waits for its first line, and ends
		line := child(args[0])
		fmt.Println("left", line)
		return 0
	case "survivor":
		return survive()
	case "keeper": // BEHAVIOUR…: a daemon that keeps a backend, and is killed
		p, err := Start(Spec{Name: "kept", Command: self(append([]string{"serve", "${PORT}"}, args...)...), Ready: Readiness{Interval: 10 * time.Millisecond}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := p.Ready(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_ = json.NewEncoder(os.Stdout).Encode(p.Identity())
		select {}
	case "env":
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
		wd, _ := os.Getwd()
		fmt.Println("cwd", wd)
		return 0
	case "flood": // N bytes on both
		n, _ := strconv.Atoi(args[0])
		for _, w := range []io.Writer{os.Stdout, os.Stderr} {
			_, _ = io.CopyN(w, zeros{}, int64(n))
		}
		fmt.Println("end of flood")
		return 0
	default:
		fmt.Fprintln(os.Stderr, "no such behaviour:", kind)
		return 98
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// child starts another one of us in the same group, with our own stderr, and
// returns its pid and the first line that it says.
func child(words ...string) string {
	argv := self(words...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	r, err := cmd.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	return strconv.Itoa(cmd.Process.Pid) + " " + strings.TrimSpace(line)
}

// serve is a model server with habits.
func serve(port string, habits []string) int {
	has := func(h string) bool { return slices.Contains(habits, h) }
	if has("ignore-term") {
		signal.Ignore(syscall.SIGTERM)
	}
	if has("grandchildren") {
		for range 2 {
			fmt.Println("grandchild", child("linger"))
		}
	}
	if has("flood") {
		for _, w := range []io.Writer{os.Stdout, os.Stderr} {
			go func() { _, _ = io.Copy(w, zeros{}) }()
		}
	}
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case has("no-health"):
			http.NotFound(w, r)
		case has("hang"):
			<-r.Context().Done()
		case has("never"), has("loading") && asked.Add(1) <= 3:
			http.Error(w, "loading model", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/v1/models", func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= 2 {
			http.Error(w, "loading model", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) {
		fmt.Fprintln(os.Stderr, "ggml_cuda: out of memory")
		os.Exit(3)
	})
	fmt.Println("serving on", port)
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, http.Serve(l, mux))
	return 1
}

// survive is a server that a restart command leaves behind. It says where it
// listens, and writes much to the pipes that it was given when it is told to.
func survive() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == "quit\n" {
			return 0
		}
		_, err = io.CopyN(os.Stderr, zeros{}, 1<<20)
		fmt.Fprintln(c, "flooded", err)
		_ = c.Close()
	}
}

// noneLeft fails the test if a process of the group lives.
func noneLeft(t *testing.T, pgid int) {
	t.Helper()
	if left := members(pgid); len(left) > 0 {
		t.Errorf("processes %v of group %d are left", left, pgid)
	}
}
