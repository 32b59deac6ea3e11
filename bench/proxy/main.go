// Command proxy measures what drey adds to a call: its latency at one
// connection and its throughput at 64, beside a bare httputil.ReverseProxy to
// the same upstream, in the same run. Each of the three is a process of its
// own; the two are measured in turns, window by window, and their ratio is
// taken pair by pair, because machines are shared and noisy.
//
//	make build && go run ./bench/proxy [-rounds 9] [-window 1s]
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	rounds = flag.Int("rounds", 9, "pairs of windows of each case")
	window = flag.Duration("window", time.Second, "length of a window")
	binary = flag.String("drey", "bin/drey", "the drey to measure")
	role   = flag.String("role", "", "internal: upstream or proxy")
	target = flag.String("target", "", "internal: the proxy's upstream")
)

func main() {
	flag.Parse()
	switch *role {
	case "upstream":
		serve(http.HandlerFunc(upstream))
	case "proxy":
		u, err := url.Parse(*target)
		check(err)
		p := httputil.NewSingleHostReverseProxy(u)
		p.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
		p.ErrorLog = log.New(io.Discard, "", 0)
		serve(p)
	default:
		measure()
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve listens on a free port and prints its address on the first line.
func serve(h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(l.Addr())
	check(http.Serve(l, h))
}

// upstream answers at once: JSON of about 1 KB, or 64 frames.
func upstream(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"object":"list","data":[{"id":"bench"}]}`)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(whole)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for _, f := range frames {
		w.Write(f)
		rc.Flush()
	}
}

var whole = []byte(`{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"` +
	strings.Repeat("lorem ipsum ", 70) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}`)

var frames = func() [][]byte {
	var out [][]byte
	frame := func(delta, finish string) {
		out = append(out, fmt.Appendf(nil, "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}\n\n", delta, finish))
	}
	frame(`{"role":"assistant","content":""}`, "null")
	for range 62 {
		frame(`{"content":"lorem "}`, "null")
	}
	frame(`{}`, `"stop"`)
	return append(out, []byte("data: [DONE]\n\n"))
}()

var prompt = strings.Repeat("dolor sit amet ", 60)

func request(stream bool) []byte {
	return fmt.Appendf(nil, `{"model":"bench","stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, prompt)
}

func measure() {
	self, err := os.Executable()
	check(err)
	up, stopUp := start(self, "-role", "upstream")
	defer stopUp()
	proxy, stopProxy := start(self, "-role", "proxy", "-target", "http://"+up)
	defer stopProxy()
	drey, pid, stopDrey := startDrey(up, "", "chain: [bench]")
	defer stopDrey()

	fmt.Printf("%s/%s, %d cores, %s; %d pairs of %s windows; medians (min to max of the pairs)\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), *rounds, *window)
	fmt.Printf("%-36s %14s %14s %8s\n", "", "ReverseProxy", "drey", "ratio")
	for _, c := range []struct {
		name    string
		stream  bool
		workers int
	}{
		{"whole answer, 1 connection", false, 1},
		{"whole answer, 64 connections", false, 64},
		{"64 frames, 1 connection", true, 1},
		{"64 frames, 64 connections", true, 64},
	} {
		var a, b, ratio []float64
		var cutA, cutB int64
		run(proxy, c.stream, c.workers, *window/2) // warm, uncounted
		run(drey, c.stream, c.workers, *window/2)
		for range *rounds {
			x, y := run(proxy, c.stream, c.workers, *window), run(drey, c.stream, c.workers, *window)
			vx, vy := x.p50, y.p50
			if c.workers > 1 {
				vx, vy = x.rate, y.rate
			}
			cutA, cutB = cutA+x.cut, cutB+y.cut
			a, b, ratio = append(a, vx), append(b, vy), append(ratio, vy/vx)
		}
		unit, aim := "µs p50", "≤ 1.15"
		if c.workers > 1 {
			unit, aim = "req/s", "≥ 0.80"
		}
		fmt.Printf("%-36s %14s %14s %8.2f  (%.2f to %.2f; aim %s)\n", c.name,
			fmt.Sprintf("%.0f %s", median(a), unit), fmt.Sprintf("%.0f %s", median(b), unit), median(ratio), slices.Min(ratio), slices.Max(ratio), aim)
		if cutA+cutB > 0 {
			fmt.Printf("%-36s %14d %14d\n", "  answers cut", cutA, cutB)
		}
	}
	fmt.Println()
	crowd("streams", drey, pid, 1000, request(true), " (aim ≤ 150 MB)")
	guardedCrowd(up, 1000)
}

// crowd opens many streams at once and counts what each of them gets.
func crowd(what, addr string, pid, streams int, body []byte, aim string) {
	tr := &http.Transport{MaxIdleConnsPerHost: streams}
	defer tr.CloseIdleConnections()
	want := bytes.Join(frames, nil)
	var bad atomic.Int64
	var first, last sync.WaitGroup
	first.Add(streams)
	start := time.Now()
	for range streams {
		last.Go(func() {
			first.Done()
			first.Wait()
			req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/chat/completions", bytes.NewReader(body))
			resp, err := tr.RoundTrip(req)
			if err != nil {
				bad.Add(1)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, want) {
				bad.Add(1)
			}
		})
	}
	last.Wait()
	fmt.Printf("%d %s at once, %d frames each: %d not as the upstream sent them; %s; drey's peak %s resident%s\n",
		streams, what, len(frames), bad.Load(), time.Since(start).Round(time.Millisecond), peak(pid), aim)
}

// peak is the most that a process has had in memory, as Linux tells it.
func peak(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var n int
			fmt.Sscan(kb, &n)
			return fmt.Sprintf("%d MB", n/1024)
		}
	}
	return "unknown"
}

type result struct {
	p50, rate float64
	cut       int64 // answers that ended too early
}

// run loads an address for a while.
func run(addr string, stream bool, workers int, d time.Duration) result {
	tr := &http.Transport{MaxIdleConnsPerHost: workers}
	defer tr.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	body := request(stream)
	lat := make([][]time.Duration, workers)
	var wg sync.WaitGroup
	var failed, cut atomic.Int64
	start := time.Now()
	for i := range workers {
		wg.Go(func() {
			buf := make([]byte, 32<<10)
			for ctx.Err() == nil {
				began := time.Now()
				req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/chat/completions", bytes.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				resp, err := tr.RoundTrip(req)
				if err == nil {
					_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
					resp.Body.Close()
					if err == nil && resp.StatusCode != 200 {
						err = fmt.Errorf("status %s", resp.Status)
					}
				}
				switch {
				case errors.Is(err, io.ErrUnexpectedEOF):
					// The bare proxy sometimes cuts a stream whose request body
					// is still on its way (seen with Go 1.26); its windows would
					// end here otherwise. What is cut is not counted as served.
					cut.Add(1)
					continue
				case err != nil:
					failed.Add(1)
					fmt.Fprintln(os.Stderr, "bench:", err)
					return
				}
				lat[i] = append(lat[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if failed.Load() > 0 {
		os.Exit(1)
	}
	all := slices.Concat(lat...)
	slices.Sort(all)
	return result{cut: cut.Load(), p50: float64(all[len(all)/2].Nanoseconds()) / 1e3, rate: float64(len(all)) / took.Seconds()}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// start runs this program in another role and returns its address.
func start(name string, args ...string) (addr string, stop func()) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	check(err)
	return strings.TrimSpace(line), func() { cmd.Process.Kill(); cmd.Wait() }
}

// startDrey runs drey with everything at its default but what is said of its
// provider, of which there are two alike, bench and twin, and of its profile.
func startDrey(up, provider, profile string) (addr string, pid int, stop func()) {
	home, err := os.MkdirTemp("", "drey-bench")
	check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	addr = l.Addr().String()
	l.Close()
	p := fmt.Sprintf(`{wire: openai, url: "http://%s/v1", model: bench%s}`, up, provider)
	check(os.WriteFile(filepath.Join(home, "drey.yaml"), fmt.Appendf(nil, `version: 1
listen: {addr: %q}
providers: {bench: %s, twin: %s}
profiles: {default: {%s}}
`, addr, p, p, profile), 0o600))
	cmd := exec.Command(*binary, "serve", "--home", home)
	cmd.Stderr = io.Discard
	check(cmd.Start())
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(home)
	}
	for range 100 {
		if resp, err := http.Get("http://" + addr + "/healthz"); err == nil {
			resp.Body.Close()
			return addr, cmd.Process.Pid, stop
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	check(fmt.Errorf("drey does not answer on %s", addr))
	return
}
