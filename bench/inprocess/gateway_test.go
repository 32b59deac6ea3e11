// Package inprocess profiles a whole daemon under load: client, upstream and
// drey in one process, so that one CPU profile shows where the time goes.
//
//	go test -run '^$' -bench . -cpuprofile cpu.out ./bench/inprocess
package inprocess

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/daemon"
)

const frame = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,"delta":{"content":"lorem "},"finish_reason":null}]}` + "\n\n"

// answering is an upstream that answers at once; it returns its address.
func answering(b testing.TB) (addr string) {
	whole := []byte(`{"id":"c","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("lorem ipsum ", 70) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}`)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head, body := make([]byte, 256), r.Body
		n, _ := io.ReadFull(body, head)
		_, _ = io.Copy(io.Discard, body)
		if !strings.Contains(string(head[:n]), `"stream":true`) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(whole)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for range 64 {
			io.WriteString(w, frame)
			rc.Flush()
		}
		io.WriteString(w, "data: [DONE]\n\n")
	}))
	b.Cleanup(up.Close)
	return up.Listener.Addr().String()
}

// start runs a daemon in front of an upstream that answers at once.
func start(b testing.TB) (addr string) {
	return serve(b, fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
providers:
  bench: {wire: openai, url: "http://%s/v1", model: bench}
profiles:
  default: {chain: [bench]}
`, answering(b)))
}

// serve runs a daemon with a configuration until the end of the test.
func serve(b testing.TB, config string, change ...func(*daemon.Options)) (addr string) {
	home := b.TempDir()
	if err := os.WriteFile(filepath.Join(home, "drey.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	o := daemon.Options{Version: "bench", Home: home, Ready: func(a string) { ready <- a }}
	for _, f := range change {
		f(&o)
	}
	go func() { ended <- daemon.Run(ctx, o) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	select {
	case addr = <-ready:
	case err := <-ended:
		b.Fatal(err)
	}
	return addr
}

func run(b *testing.B, stream bool) {
	addr := start(b)
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	defer tr.CloseIdleConnections()
	body := fmt.Sprintf(`{"model":"bench","stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, strings.Repeat("dolor sit amet ", 60))
	b.ReportAllocs()
	for b.Loop() {
		req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/chat/completions", strings.NewReader(body))
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

func BenchmarkWhole(b *testing.B)  { run(b, false) }
func BenchmarkStream(b *testing.B) { run(b, true) }

// TestLongPromptIsNotCopied holds what a prompt of 1 MB costs in memory over
// the whole way: one buffer, and no second copy of it, whoever reads in it.
func TestLongPromptIsNotCopied(t *testing.T) {
	up := answering(t)
	text := strings.Repeat("dolor sit amet ", 70_000)
	for _, c := range []struct{ name, provider, profile, body string }{
		{"the defaults", "", "{chain: [bench]}", fmt.Sprintf(`{"model":"claude-x","messages":[{"role":"user","content":%q}]}`, text)},
		{
			"all that reads", `, strip_changing_lines: "on", filters: [strip_thinking, strip_stop_markers]`,
			`{chain: [[bench, twin]], drift: {action: warn}, rescue: continue}`,
			session(text),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			provider := fmt.Sprintf(`{wire: openai, url: "http://%s/v1", model: bench, context_tokens: 1000000%s}`, up, c.provider)
			addr := serve(t, fmt.Sprintf("version: 1\nlisten: {addr: \"127.0.0.1:0\"}\nproviders: {bench: %s, twin: %s}\nprofiles: {default: %s}\n", provider, provider, c.profile))
			send := func() {
				resp, err := http.Post("http://"+addr+"/v1/chat/completions", "application/json", strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
					t.Fatal(resp.Status, err)
				}
			}
			send() // connections and buffers that stay
			var before, after runtime.MemStats
			const n = 20
			runtime.ReadMemStats(&before)
			for range n {
				send()
			}
			runtime.ReadMemStats(&after)
			perRequest := float64(after.TotalAlloc-before.TotalAlloc) / n / float64(len(c.body))
			if perRequest > 1.5 {
				t.Errorf("a request allocates %.2f times its body; the limit is 1.5", perRequest)
			}
			t.Logf("%.2f times the body", perRequest)
		})
	}
}

// session is a long conversation with a line that changes and 400 calls of a
// tool, whose results together are text.
func session(text string) string {
	var b strings.Builder
	b.WriteString(`{"model":"claude-x","stream":true,"tools":[{"type":"function","function":{"name":"Read","parameters":{"type":"object"}}}],` +
		`"messages":[{"role":"system","content":"x-anthropic-billing-header: 1\nYou are."},{"role":"user","content":"go on"}`)
	const calls = 400
	for i := range calls {
		fmt.Fprintf(&b, `,{"role":"assistant","content":null,"tool_calls":[{"id":"t%d","type":"function","function":{"name":"Read","arguments":"{\"line\":%d}"}}]}`, i, i)
		fmt.Fprintf(&b, `,{"role":"tool","tool_call_id":"t%d","content":%q}`, i, text[i*len(text)/calls:(i+1)*len(text)/calls])
	}
	return b.String() + "]}"
}
