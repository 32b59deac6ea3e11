package upstream

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/wire"
)

// The benchmarks compare an attempt with a bare RoundTrip of an http.Transport
// to the same server; the ratio of the two is what the package costs.

const (
	benchBody   = `{"model":"m","messages":[{"role":"user","content":"hello"}]}`
	benchAnswer = `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	benchFrames = 64
)

func benchServer(b *testing.B) string {
	frame := []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hello"}}]}` + "\n\n")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("Accept") != "text/event-stream" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, benchAnswer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for range benchFrames {
			w.Write(frame)
			rc.Flush()
		}
	}))
	b.Cleanup(srv.Close)
	return srv.URL
}

func bare(b *testing.B, url, accept string) {
	tr := &http.Transport{MaxIdleConnsPerHost: idlePerHost, DisableCompression: true}
	b.Cleanup(tr.CloseIdleConnections)
	buf := make([]byte, 32<<10)
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/chat/completions", strings.NewReader(benchBody))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", accept)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		resp.Body.Close()
	}
}

func BenchmarkDoJSON(b *testing.B) {
	url := benchServer(b)
	b.Run("bare", func(b *testing.B) { b.ReportAllocs(); bare(b, url, "application/json") })
	b.Run("drey", func(b *testing.B) {
		b.ReportAllocs()
		p := New(Config{ID: "p", URL: url})
		b.Cleanup(p.Close)
		body := wire.NewBody([]byte(benchBody))
		for b.Loop() {
			ans, err := p.Do(b.Context(), Call{Path: "/chat/completions", Body: body, FirstToken: 30 * time.Second, Stall: time.Minute})
			if err != nil || len(ans.JSON) != len(benchAnswer) {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDoStream(b *testing.B) {
	url := benchServer(b)
	b.Run("bare", func(b *testing.B) { b.ReportAllocs(); bare(b, url, "text/event-stream") })
	b.Run("drey", func(b *testing.B) {
		b.ReportAllocs()
		p := New(Config{ID: "p", URL: url})
		b.Cleanup(p.Close)
		body := wire.NewBody([]byte(benchBody))
		for b.Loop() {
			ans, err := p.Do(b.Context(), Call{Path: "/chat/completions", Body: body, Stream: true, FirstToken: 30 * time.Second, Stall: time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			if n, err := drain(ans.Stream); n != benchFrames || err != io.EOF {
				b.Fatal(n, err)
			}
		}
	})
}
