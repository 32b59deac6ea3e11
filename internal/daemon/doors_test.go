package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
)

func TestHostAndOriginOverTCP(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), `listen: {addr: "127.0.0.1:0", allowed_hosts: [drey.lan]}`))
	own := strings.TrimPrefix(h.base, "http://")
	tests := []struct {
		name    string
		headers []string
		want    int
	}{
		{"its own address", nil, 200},
		{"localhost", []string{"Host", "localhost:3739"}, 200},
		{"IPv6 loopback", []string{"Host", "[::1]:1"}, 200},
		{"an allowed name", []string{"Host", "DREY.lan."}, 200},
		{"a rebound name", []string{"Host", "attacker.example"}, 403},
		{"a rebound name that looks like ours", []string{"Host", "localhost.attacker.example"}, 403},
		{"a page of its own", []string{"Origin", "http://" + own}, 200},
		{"another page", []string{"Origin", "https://attacker.example"}, 403},
		{"a page without an origin", []string{"Origin", "null"}, 403},
		{"a page on another port", []string{"Origin", "http://127.0.0.1:1"}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(p.Calls())
			for _, got := range []answer{
				h.chat("hi", tt.headers...),
				h.do(http.MethodGet, "/v1/models", "", tt.headers...),
				h.do(http.MethodGet, "/api/v1/status", "", tt.headers...),
			} {
				if got.status != tt.want || got.header.Get("X-Drey-Request-Id") == "" {
					t.Errorf("%d, want %d: %s", got.status, tt.want, got.body)
				}
				if cors := got.header.Get("Access-Control-Allow-Origin"); cors != "" {
					t.Errorf("a page may read it: %s", cors)
				}
				if got.status == 403 && gjson.Get(got.body, "error.message").Str == "" {
					t.Errorf("the refusal has no message: %s", got.body)
				}
			}
			if tt.want == 403 && len(p.Calls()) != before {
				t.Error("the provider was called")
			}
		})
	}
	if got := h.do(http.MethodGet, "/", "", "Host", "attacker.example"); got.status != 403 {
		t.Errorf("the front page for a rebound name: %d", got.status)
	}
}

// zeros is the endless inside of a JSON string. It counts what is taken of it.
type zeros struct{ taken atomic.Int64 }

var someZeros = bytes.Repeat([]byte("0"), 64<<10)

func (z *zeros) Read(p []byte) (int, error) {
	n := copy(p, someZeros)
	z.taken.Add(int64(n))
	return n, nil
}

func TestABodyOf100MBIsRefused(t *testing.T) {
	const size = 100 << 20
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	for _, tt := range []struct {
		name   string
		length int64
	}{{"with its length", size}, {"chunked", -1}} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), short)
			defer cancel()
			z := &zeros{}
			body := io.MultiReader(strings.NewReader(`{"model":"`), io.LimitReader(z, size))
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+"/v1/chat/completions", body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = -1
			if tt.length > 0 {
				req.ContentLength = size + int64(len(`{"model":"`))
			}
			resp, err := h.http.Do(req)
			if err != nil {
				t.Fatalf("the client does not hear why: %v", err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 413 || gjson.GetBytes(answer, "error.code").Str != "request_too_large" || resp.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("%d %s, %v", resp.StatusCode, answer, err)
			}
			if z.taken.Load() > 16<<20 && tt.length > 0 {
				t.Errorf("%d bytes were taken of a body that says that it is too large", z.taken.Load())
			}
		})
	}
	var mem runtime.MemStats
	eventually(t, "its memory is free again", func() bool {
		runtime.GC()
		runtime.ReadMemStats(&mem)
		return mem.HeapAlloc < 96<<20
	})
	if got := h.chat("hi"); got.status != 200 {
		t.Errorf("afterwards a request gets %d", got.status)
	}
}

func TestSDKsTellOfABodyThatIsTooLarge(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), `listen: {addr: "127.0.0.1:0", max_body_mb: 1}`))
	big := strings.Repeat("0", 1<<20)
	_, err := h.anthropicClient().Messages.New(t.Context(), anthropic.MessageNewParams{Model: "any", MaxTokens: 9, Messages: userMessage(big)})
	if e := anthropicError(t, err); e.status != 413 || e.kind != "request_too_large" || !e.noRetry || e.requestID == "" {
		t.Errorf("Anthropic's SDK says %+v", e)
	}
	_, err = h.openaiClient().Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "any", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(big)},
	})
	if e := openaiError(t, err); e.status != 413 || e.kind != "request_too_large" || !e.noRetry || e.requestID == "" {
		t.Errorf("OpenAI's SDK says %+v", e)
	}
}

func TestKeysGuardTheDoors(t *testing.T) {
	p := provider(t, nil)
	const agent, admin = "key-of-an-agent-0815", "key-of-the-admin-4711"
	h := open(t, yamlOf("openai", p.URL(), `keys:
  - {name: agent, secret: "env:AGENT"}
  - {name: boss, secret: "env:ADMIN", admin: true}`), func(o *Options) {
		o.Env = environment(map[string]string{"AGENT": agent, "ADMIN": admin})
	})
	tests := []struct {
		method, path          string
		none, ofAgent, ofBoss int
	}{
		{"GET", "/", 200, 200, 200},
		{"HEAD", "/", 200, 200, 200},
		{"GET", "/healthz", 200, 200, 200},
		{"GET", "/readyz", 200, 200, 200},
		{"POST", "/v1/chat/completions", 401, 200, 200},
		{"POST", "/p/default/v1/chat/completions", 401, 200, 200},
		{"GET", "/v1/models", 401, 200, 200},
		{"GET", "/metrics", 401, 200, 200},
		{"GET", "/api/v1/status", 401, 403, 200},
		{"GET", "/api/v1/config", 401, 403, 200},
		{"POST", "/api/v1/config/reload", 401, 403, 200},
		{"GET", "/api/v1/events?after=0", 401, 403, 200},
	}
	for _, tt := range tests {
		for key, want := range map[string]int{"": tt.none, agent + "x": tt.none, agent: tt.ofAgent, admin: tt.ofBoss} {
			for _, header := range []string{"Authorization", "X-Api-Key"} {
				value := key
				if header == "Authorization" {
					value = "Bearer " + key
				}
				headers := []string{"Accept", "application/json"}
				if key != "" {
					headers = append(headers, header, value)
				}
				body := ""
				if strings.Contains(tt.path, "completions") {
					body = chatBody("hi", false)
				}
				if got := h.do(tt.method, tt.path, body, headers...); got.status != want {
					t.Errorf("%s %s with %s %q: %d, want %d: %s", tt.method, tt.path, header, key, got.status, want, got.body)
				}
			}
		}
	}
	for _, call := range p.Calls() {
		for name, values := range call.Header {
			if strings.Contains(strings.Join(values, " "), agent) || strings.Contains(strings.Join(values, " "), admin) {
				t.Errorf("the provider was sent a key of drey's in %s", name)
			}
		}
	}
	// The socket asks for none.
	if _, err := h.control().Status(t.Context()); err != nil {
		t.Error(err)
	}
	got := h.chat("hi", "Authorization", "Bearer "+agent)
	if row := h.row(got.header.Get("X-Request-Id")); row.Key != "agent" {
		t.Errorf("the row names the key %q", row.Key)
	}
	// Guessing fills nobody's journal.
	if evs := h.events(store.Query{Event: "key-refused"}); len(evs) == 0 || len(evs) > 10 {
		t.Errorf("%d refusals are journaled", len(evs))
	}

	// A key that is taken back does not let anybody in any more.
	writeConfig(t, h.home.Root(), yamlOf("openai", p.URL(), `keys: [{name: boss, secret: "env:ADMIN", admin: true}]`))
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.chat("hi", "Authorization", "Bearer "+agent); got.status != 401 {
		t.Errorf("a key that was taken back: %d", got.status)
	}
}

func TestMoreStreamsThanThereIsRoomFor(t *testing.T) {
	p := provider(t, fake.Always(fake.Silent()))
	h := open(t, strings.Replace(yamlOf("openai", p.URL(), `listen: {addr: "127.0.0.1:0", max_streams: 2}`), "first_token: 1s", "first_token: 1m", 1))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			s := h.openaiClient().Chat.Completions.NewStreaming(ctx, helloChat)
			s.Next()
			ended <- errors.Join(s.Err(), s.Close())
		}()
	}
	if _, err := p.WaitCalls(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if e := h.openaiFails(true); e.status != 503 || e.kind != "no_provider" || e.retryAfter == "" {
		t.Errorf("the third one gets %+v", e)
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
