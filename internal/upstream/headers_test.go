package upstream

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// played is a provider in this process, as demo: providers are.
type played func(*http.Request) (*http.Response, error)

func (f played) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(body string) *http.Response {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// TestHeaders lists what goes to a provider, whole, for each kind of provider
// and caller.
func TestHeaders(t *testing.T) {
	caller := http.Header{
		"Anthropic-Version": {"2026-10-21"},
		"Anthropic-Beta":    {"a-1,b-2", "c-3"},
		"Authorization":     {"Bearer sk-caller"},
		"X-Api-Key":         {"sk-caller"},
		"Cookie":            {"c"},
		"X-Stainless-Lang":  {"js"},
		"User-Agent":        {"claude-cli/2"},
		"Traceparent":       {"00-1-2-01"},
		"Accept-Encoding":   {"br"},
		"X-Forwarded-For":   {"1.2.3.4"},
	}
	tests := []struct {
		name string
		cfg  Config
		call Call
		want http.Header
		host string
	}{
		{"openai, paid", Config{Wire: drey.WireChat, Price: drey.Paid, Key: "sk-own", Version: "1.2"}, Call{Header: caller, CallerKey: "sk-caller"}, http.Header{
			"User-Agent": {"drey/1.2"}, "Content-Type": {"application/json"}, "Accept": {"application/json"}, "Authorization": {"Bearer sk-own"},
		}, "h.test"},
		{"openai, local, streamed", Config{Wire: drey.WireChat}, Call{Header: caller, CallerKey: "sk-caller", Stream: true}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"}, "Accept-Encoding": {"identity"}, "Traceparent": {"00-1-2-01"},
		}, "h.test"},
		{"anthropic", Config{Wire: drey.WireAnthropic, Price: drey.Paid, Key: "sk-own"}, Call{Header: caller, CallerKey: "sk-caller", Stream: true}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"}, "Accept-Encoding": {"identity"},
			"X-Api-Key": {"sk-own"}, "Anthropic-Version": {"2026-10-21"}, "Anthropic-Beta": {"a-1,b-2", "c-3"},
		}, "h.test"},
		{"anthropic, the caller says nothing", Config{Wire: drey.WireAnthropic, Price: drey.Paid, Key: "sk-own"}, Call{}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"application/json"},
			"X-Api-Key": {"sk-own"}, "Anthropic-Version": {"2023-06-01"},
		}, "h.test"},
		{"configured headers win, and betas add up", Config{Wire: drey.WireAnthropic, Price: drey.Paid, Key: "sk-own", Headers: map[string]string{
			"anthropic-version": "2024-01-01", "anthropic-beta": "z-9", "x-api-key": "other", "x-team": "a", "host": "other.test",
		}}, Call{Header: caller}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"application/json"}, "Host": {"other.test"},
			"X-Api-Key": {"other"}, "X-Team": {"a"}, "Anthropic-Version": {"2024-01-01"}, "Anthropic-Beta": {"z-9", "a-1,b-2", "c-3"},
		}, "other.test"},
		{"the caller's key to openai", Config{Wire: drey.WireChat, Price: drey.Paid, Key: "sk-own", CallerKey: true}, Call{Header: http.Header{"X-Api-Key": {"sk-caller"}}, CallerKey: "sk-caller"}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"application/json"}, "Authorization": {"Bearer sk-caller"},
		}, "h.test"},
		{"the caller's key to anthropic", Config{Wire: drey.WireAnthropic, Price: drey.Paid, CallerKey: true}, Call{Header: http.Header{"X-Api-Key": {"sk-caller"}}, CallerKey: "sk-caller"}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"application/json"}, "X-Api-Key": {"sk-caller"}, "Anthropic-Version": {"2023-06-01"},
		}, "h.test"},
		{"the caller's bearer to anthropic", Config{Wire: drey.WireAnthropic, Price: drey.Paid, CallerKey: true}, Call{Header: http.Header{"Authorization": {"Bearer sk-caller"}}, CallerKey: "sk-caller"}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"application/json"}, "Authorization": {"Bearer sk-caller"}, "Anthropic-Version": {"2023-06-01"},
		}, "h.test"},
		{"the caller's key is wanted and there is none", Config{Wire: drey.WireChat, Price: drey.Paid, Key: "sk-own", CallerKey: true}, Call{}, http.Header{
			"User-Agent": {"drey"}, "Content-Type": {"application/json"}, "Accept": {"application/json"},
		}, "h.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second time nothing of the first is left
				var got *http.Request
				tt.cfg.URL = "http://h.test/v1"
				tt.cfg.Transport = played(func(r *http.Request) (*http.Response, error) { got = r; return answer("{}"), nil })
				p := provider(t, tt.cfg)
				plain := p.plain.Clone()
				tt.call.Path, tt.call.Body = "/messages", wire.NewBody([]byte("{}"))
				if ans, err := p.Do(t.Context(), tt.call); err != nil || ans.JSON == nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got.Header); diff != "" {
					t.Error(diff)
				}
				if got.Host != tt.host || got.Method != "POST" || got.GetBody != nil {
					t.Errorf("host %s, method %s", got.Host, got.Method)
				}
				if diff := cmp.Diff(plain, p.plain); diff != "" {
					t.Errorf("the fixed headers were changed: %s", diff)
				}
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	tests := []struct{ base, path, query, want string }{
		{"https://api.openai.com/v1", "/chat/completions", "", "https://api.openai.com/v1/chat/completions"},
		{"https://api.anthropic.com/v1/", "/messages", "beta=true", "https://api.anthropic.com/v1/messages?beta=true"},
		{"https://a.test/x/v1?api-version=3", "/chat/completions", "b=2", "https://a.test/x/v1/chat/completions?api-version=3&b=2"},
		{"https://a.test", "/own/path", "", "https://a.test/own/path"},
		{"demo:echo", "/messages", "", "demo://echo/messages"},
		{"demo:slow?ttft=5s", "/messages", "beta=true", "demo://slow/messages?ttft=5s&beta=true"},
	}
	for _, tt := range tests {
		p := provider(t, Config{URL: tt.base})
		for range 2 {
			if got := p.endpoint(tt.path, tt.query).String(); got != tt.want {
				t.Errorf("%s %s %s: %s, want %s", tt.base, tt.path, tt.query, got, tt.want)
			}
		}
	}
	p := provider(t, Config{URL: "http://h.test:11434/v1/"})
	if got := p.root("/api/ps").String(); got != "http://h.test:11434/api/ps" {
		t.Errorf("root is %s", got)
	}
	_, err := provider(t, Config{URL: "http://%"}).Do(t.Context(), call())
	wantFault(t, err, route.OtherTransport, drey.Transport)
}

// TestPlayed lets a provider of this process answer, hang and be given up: it
// obeys the clock like any other.
func TestPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		p := provider(t, Config{URL: "demo:slow", Transport: played(func(req *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Second)
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: bodyUntil{r, req.Context().Done()}, ContentLength: -1}, nil
		})})
		start := time.Now()
		ans, err := p.Do(t.Context(), streamCall())
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(w, "data: 1\n\n: ping\n\n")
		_, err = drain(ans.Stream)
		f := wantFault(t, err, route.StallTimeout, drey.Silence)
		if got := time.Since(start); got != 70*time.Second || !f.Dialed {
			t.Errorf("struck after %v, dialed %v", got, f.Dialed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := provider(t, Config{URL: "demo:slow", Transport: played(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})})
		start := time.Now()
		_, err := p.Do(t.Context(), call())
		wantFault(t, err, route.FirstTokenTimeout, drey.Silence)
		if got := time.Since(start); got != 30*time.Second {
			t.Errorf("struck after %v", got)
		}
	})
}

// bodyUntil is a pipe's reading end that breaks when its request ends.
type bodyUntil struct {
	*io.PipeReader
	done <-chan struct{}
}

func (b bodyUntil) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	got := make(chan result, 1)
	go func() {
		n, err := b.PipeReader.Read(p)
		got <- result{n, err}
	}()
	select {
	case r := <-got:
		return r.n, r.err
	case <-b.done:
		b.PipeReader.CloseWithError(io.ErrUnexpectedEOF)
		r := <-got
		return r.n, r.err
	}
}

// TestNotReady wants a failure of a process that is starting to be no failure
// of it.
func TestNotReady(t *testing.T) {
	p := provider(t, Config{URL: "http://h.test", Transport: played(func(*http.Request) (*http.Response, error) { return nil, io.EOF })})
	c := call()
	c.NotReady = true
	_, err := p.Do(t.Context(), c)
	if f := wantFault(t, err, route.EndOfFile, drey.Loading); f.Counts {
		t.Error("it counts")
	}
}

// TestLargePromptIsNotCopied sends a megabyte with an edit in its middle, and
// looks at what that allocates.
func TestLargePromptIsNotCopied(t *testing.T) {
	half := bytes.Repeat([]byte("x"), 512<<10)
	body := wire.NewBody(half, []byte(`"model"`), half)
	p := provider(t, Config{URL: "http://h.test", Transport: played(func(r *http.Request) (*http.Response, error) {
		if n, err := io.Copy(io.Discard, r.Body); n != body.Len() {
			return nil, err
		}
		return answer("{}"), nil
	})})
	c := call()
	c.Body = body
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := p.Do(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
		t.Errorf("%d bytes allocated for a body of %d", got, body.Len())
	}
}
