package healing

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dreyhq/drey/internal/fake"
)

// TestMain makes the test binary its own backend: run with "backend" it is a
// model server with the habits that the further words name.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "backend" {
		time.AfterFunc(time.Minute, func() { syscall.Exit(99) }) // whatever a failed test leaves behind
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

// backend is a model server on a port.
func backend(port string, habits []string) int {
	has := func(h string) bool { return slices.Contains(habits, h) }
	if has("stubborn") {
		signal.Ignore(syscall.SIGTERM)
	}
	if has("linger") {
		select {}
	}
	if has("parent") { // a grandchild that does not hear SIGTERM
		argv := self(port, "stubborn", "linger")
		if err := exec.Command(argv[0], argv[1:]...).Start(); err != nil {
			return 4
		}
	}
	if has("dies") {
		fmt.Fprintln(os.Stderr, "no such model")
		return 3
	}
	if has("flood") {
		go func() {
			for line := make([]byte, 32<<10); ; {
				if _, err := os.Stdout.Write(line); err != nil {
					return
				}
			}
		}()
	}
	up := fake.New(fake.Options{})
	mux := http.NewServeMux()
	mux.Handle("/", up)
	began := time.Now()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case has("hangs"):
			<-r.Context().Done()
		case has("slow") && time.Since(began) < 300*time.Millisecond:
			http.Error(w, "loading", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, http.Serve(l, mux))
	return 1
}
