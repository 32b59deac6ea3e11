package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/dreyhq/drey/internal/activation"
)

// answer is what the upstream says to every call.
var answer = []byte(`{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"lorem ipsum"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":3,"total_tokens":203}}`)

const call = `{"model":"bench","messages":[{"role":"user","content":"dolor sit amet"}]}`

func answerCalls(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // what is said does not matter here
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"bench"}]}`)
		return
	}
	_, _ = w.Write(answer)
}

// serveUpstream listens on a free port and prints its address on the first line.
func serveUpstream() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(l.Addr())
		err = http.Serve(l, http.HandlerFunc(answerCalls))
	}
	fmt.Fprintln(os.Stderr, "bench: upstream:", err)
	os.Exit(1)
}

// serveBare is the reference of a start: it takes over the listener that it
// inherits, and answers. It is this program, so that it carries what drey
// carries (the libraries, and what their initialisation costs) and does nothing
// with it.
func serveBare() {
	in, err := activation.Take()
	if err == nil && in.Gateway == nil {
		err = errors.New("no listener was inherited")
	}
	if err == nil {
		err = http.Serve(in.Gateway, http.HandlerFunc(answerCalls))
	}
	fmt.Fprintln(os.Stderr, "bench: bare server:", err)
	os.Exit(1)
}

// startUpstream starts this program as the upstream.
func (l *lab) startUpstream(ctx context.Context) (addr string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, l.self, "-role", "upstream")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("start the upstream: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// end stops a drey in the ordinary way, and waits for it.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	force := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer force.Stop()
	return cmd.Wait()
}

// post makes one model call on a connection of its own, and returns how long
// the first byte of the answer took from the dial on.
func post(ctx context.Context, addr string) (time.Duration, error) {
	begun := time.Now()
	return askUntil(ctx, addr, func() (time.Time, error) { return begun, nil })
}

// askUntil connects to an address, sends a model call, does what begins the
// clock, and returns how long the first byte of the answer took from there.
func askUntil(ctx context.Context, addr string, begin func() (time.Time, error)) (time.Duration, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", addr, len(call), call); err != nil {
		return 0, err
	}
	begun, err := begin()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReader(conn)
	if _, err := r.Peek(1); err != nil {
		return 0, fmt.Errorf("wait for an answer: %w", err)
	}
	took := time.Since(begun)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return took, err
}
