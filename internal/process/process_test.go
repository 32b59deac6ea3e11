package process

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// begin starts a serving backend that looks ready quickly, and sees to its end.
func begin(t *testing.T, spec Spec, habits ...string) *Process {
	t.Helper()
	if spec.Command == nil {
		spec.Command = self(append([]string{"serve", "${PORT}"}, habits...)...)
	}
	if spec.Ready.Interval == 0 {
		spec.Ready.Interval = 10 * time.Millisecond
	}
	spec.Name = "kept"
	p, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background(), 0); err != nil {
			t.Error(err)
		}
		noneLeft(t, p.PID())
	})
	return p
}

func ready(t *testing.T, p *Process) {
	t.Helper()
	if err := p.Ready(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, p.Output())
	}
}

func ask(p *Process, path string) (int, error) {
	client := loopbackClient()
	defer client.CloseIdleConnections()
	return look(context.Background(), client, "http://127.0.0.1:"+strconv.Itoa(p.Port())+path)
}

func TestStartReadyStop(t *testing.T) {
	for _, habits := range [][]string{nil, {"loading"}, {"no-health"}, {"flood"}, {"grandchildren"}} {
		t.Run(strings.Join(append([]string{"serve"}, habits...), " "), func(t *testing.T) {
			p := begin(t, Spec{}, habits...)
			ready(t, p)
			if p.PID() <= 1 || p.Port() == 0 || p.Identity().StartTime == "" {
				t.Errorf("pid %d, port %d, identity %+v", p.PID(), p.Port(), p.Identity())
			}
			// Those who ignore SIGTERM need the SIGKILL.
			grace := 5 * time.Second
			if len(habits) > 0 && habits[0] == "grandchildren" {
				if n := len(members(p.PID())); n != 3 {
					t.Errorf("%d processes in the group", n)
				}
				grace = 20 * time.Millisecond
			}
			if err := p.Stop(t.Context(), grace); err != nil {
				t.Fatal(err)
			}
			noneLeft(t, p.PID())
			e := p.Wait()
			if !e.Asked || e.Signal != "SIGTERM" || e.Code != -1 || e.OOM || e.Uptime <= 0 || e.String() != "SIGTERM" {
				t.Errorf("%+v", e)
			}
			if err := p.Stop(t.Context(), time.Hour); err != nil {
				t.Error("stopped twice:", err)
			}
			if err := p.Ready(t.Context()); !errors.Is(err, ErrExited) {
				t.Error("ready after its end:", err)
			}
		})
	}
}

func TestStopKillsWhoIgnoresIt(t *testing.T) {
	t.Run("when the grace is over", func(t *testing.T) {
		p := begin(t, Spec{}, "ignore-term", "grandchildren")
		ready(t, p)
		if err := p.Stop(t.Context(), 30*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if e := p.Wait(); e.Signal != "SIGKILL" || !e.Asked || e.OOM {
			t.Errorf("%+v", e)
		}
		noneLeft(t, p.PID())
	})
	t.Run("when the context ends", func(t *testing.T) {
		p := begin(t, Spec{}, "ignore-term")
		ready(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Stop(ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		if e := p.Wait(); e.Signal != "SIGKILL" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("when it is frozen", func(t *testing.T) {
		p := begin(t, Spec{})
		ready(t, p)
		if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if e := p.Wait(); e.Signal != "SIGKILL" {
			t.Errorf("%+v", e)
		}
	})
}

func TestUnaskedExits(t *testing.T) {
	t.Run("a crash at the start", func(t *testing.T) {
		p := begin(t, Spec{Command: self("say", "3", "CUDA error: out of memory")})
		if err := p.Ready(t.Context()); !errors.Is(err, ErrExited) {
			t.Error(err)
		}
		e := p.Wait()
		if e.Code != 3 || e.Signal != "" || e.Asked || !e.OOM || e.PortTaken || e.String() != "exit status 3" || !strings.Contains(e.Output, "CUDA") {
			t.Errorf("%+v", e)
		}
	})
	t.Run("a crash later takes the grandchildren with it", func(t *testing.T) {
		p := begin(t, Spec{grace: 30 * time.Millisecond}, "grandchildren")
		ready(t, p)
		_, _ = ask(p, "/crash")
		if e := p.Wait(); e.Code != 3 || e.Asked || !e.OOM {
			t.Errorf("%+v", e)
		}
		noneLeft(t, p.PID())
	})
	t.Run("killed by a stranger", func(t *testing.T) {
		p := begin(t, Spec{})
		ready(t, p)
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if e := p.Wait(); e.Signal != "SIGKILL" || e.Asked {
			t.Errorf("%+v", e)
		}
	})
	t.Run("a daemon that sends itself to the background has ended", func(t *testing.T) {
		p := begin(t, Spec{Command: self("leave", "linger"), grace: 30 * time.Millisecond})
		if e := p.Wait(); e.Code != 0 || e.Asked || e.OOM {
			t.Errorf("%+v", e)
		}
		noneLeft(t, p.PID())
	})
	t.Run("the port is taken after it was chosen", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		p := begin(t, Spec{Command: self("serve", port)})
		if e := p.Wait(); e.Code != 1 || !e.PortTaken || e.OOM {
			t.Errorf("%+v", e)
		}
	})
}

func TestNotReady(t *testing.T) {
	for _, c := range []struct{ habit, want string }{
		{"never", `^process is not ready after 150ms: (answer 503 at /health|.*connection refused|no answer)$`},
		{"hang", `^process is not ready after 150ms: (no answer|.*connection refused)$`},
	} {
		t.Run(c.habit, func(t *testing.T) {
			p := begin(t, Spec{Ready: Readiness{Timeout: 150 * time.Millisecond}}, c.habit)
			err := p.Ready(t.Context())
			if !errors.Is(err, ErrNotReady) || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Error(err)
			}
			select {
			case <-p.Done():
				t.Error("Ready has ended it")
			default:
			}
		})
	}
	t.Run("nobody waits any more", func(t *testing.T) {
		p := begin(t, Spec{}, "never")
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("nobody waits")
		cancel(gone)
		if err := p.Ready(ctx); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
}

func TestStartFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, c := range []struct {
		name string
		spec Spec
		want error
	}{
		{"no program", Spec{Command: []string{"/drey/no/such"}}, os.ErrNotExist},
		{"no directory", Spec{Command: self("env"), Dir: "/drey/no/such"}, os.ErrNotExist},
		{"a stranger has the port", Spec{Command: self("env"), Port: l.Addr().(*net.TCPAddr).Port}, syscall.EADDRINUSE},
	} {
		if _, err := Start(c.spec); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Start(Spec{}); err == nil {
		t.Error("an empty command started")
	}
}

func TestStartFillsIn(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-secret")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "process-kept.log")
	p := begin(t, Spec{
		Command: []string{"/bin/sh", "-c", `echo "$0 $1"; exec "$@"`, "${MODEL}:${PORT}", self()[0], "backend", "env"},
		Model:   "qwen3:8b", Dir: dir, Log: log, Env: []string{"SERVE_AT=127.0.0.1:${PORT}"},
	})
	e := p.Wait()
	port := strconv.Itoa(p.Port())
	for _, want := range []string{"qwen3:8b:" + port + " ", "SERVE_AT=127.0.0.1:" + port + "\n", "cwd " + dir + "\n", "DREY_PROVIDER=kept\n"} {
		if !strings.Contains(e.Output, want) {
			t.Errorf("%q is missing in %q", want, e.Output)
		}
	}
	if strings.Contains(e.Output, "sk-secret") {
		t.Error("a key reached the backend")
	}
	written, err := os.ReadFile(log)
	if err != nil || string(written) != e.Output {
		t.Errorf("the log holds %q, %v", written, err)
	}
}

// TestEndOfTheStartersThread: Linux sends the death signal when the thread ends
// that started the child, and a goroutine that ends locked takes its thread
// along.
func TestEndOfTheStartersThread(t *testing.T) {
	started := make(chan *Process)
	go func() {
		runtime.LockOSThread() // and never unlock
		started <- begin(t, Spec{})
	}()
	p := <-started
	ready(t, p)
	for range 20 {
		over := make(chan struct{})
		go func() {
			defer close(over)
			runtime.LockOSThread()
		}()
		<-over
	}
	if status, err := ask(p, "/health"); status != http.StatusOK || err != nil {
		t.Error(status, err)
	}
	select {
	case <-p.Done():
		t.Errorf("%+v", p.Wait())
	default:
	}
}

func TestExitGuesses(t *testing.T) {
	for text, want := range map[string]struct{ oom, port bool }{
		"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB":                   {true, false},
		"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB: cudaMalloc failed":    {true, false},
		"llama_kv_cache_init: failed to allocate buffer for kv cache":                              {true, false},
		"terminate called after throwing an instance of 'std::bad_alloc'":                          {true, false},
		"model requires more system memory (9.1 GiB) than is available":                            {true, false},
		"vk::Device::allocateMemory: ErrorOutOfDeviceMemory":                                       {true, false},
		"fork: Cannot allocate memory":                                                             {true, false},
		"error while attempting to bind on address ('127.0.0.1', 8080): address already in use":    {false, true},
		"Error: listen EADDRINUSE: address already in use :::8080":                                 {false, true},
		"couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080":                        {false, true},
		"error loading model: failed to open model.gguf: No such file or directory":                {},
		"llm_load_tensors: CUDA0 buffer size = 4095.05 MiB\nmemory: 8 GiB, enough room\nlistening": {},
		"listening on port 8080, memory in use 5 GiB":                                              {},
	} {
		if got := oomText.MatchString(text); got != want.oom {
			t.Errorf("%q: out of memory %v", text, got)
		}
		if got := portText.MatchString(text); got != want.port {
			t.Errorf("%q: port taken %v", text, got)
		}
	}
}
