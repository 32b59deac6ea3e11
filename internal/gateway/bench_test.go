package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
)

// instant is a provider that answers at once, so that what is left is drey's.
type instant string

func (i instant) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(i))), ContentLength: int64(len(i)), Request: r,
	}, nil
}

type nobody struct{}

func (nobody) Record(*Record)          {}
func (nobody) Emit(drey.Event)         {}
func (nobody) Committed(...drey.Event) {}
func (nobody) Publish(...drey.Event)   {}

func BenchmarkGenerateWhole(b *testing.B) { generate(b, Guards{}) }

// BenchmarkGenerateGuarded is the same with every guard on, as by default.
func BenchmarkGenerateGuarded(b *testing.B) {
	generate(b, Guards{
		Tools: guard.Policy{
			Profile: "default",
			Cap:     guard.Cap{Action: guard.Warn, Limit: 50},
			Loop:    guard.Loop{Action: guard.Warn, Window: 20, Threshold: 3},
		},
		Context: guard.Budget{Action: guard.BudgetWarn, Warn: 0.8, Trim: 0.9, Target: 0.75, KeepLast: 4},
	})
}

func generate(b *testing.B, guards Guards) {
	answer := instant(`{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("lorem ipsum ", 70) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}`)
	s := Settings{
		DefaultProfile: "default", Keepalive: 10 * time.Second,
		Providers: []Provider{{
			Config:  upstream.Config{ID: "a", Wire: drey.WireChat, URL: "http://a.test/v1", Model: "m", Transport: answer},
			Connect: 3 * time.Second, Stall: time.Minute, Total: time.Hour,
		}},
		Profiles: []Profile{{ID: "default", Chain: [][]drey.ProviderID{{"a"}}, Retry: route.DefaultPolicy(), Guards: guards}},
	}
	m := NewMetrics(discard{})
	g, err := New(Config{Recorder: nobody{}, Healer: keep(b, nobody{}, s), Redact: func(s string) string { return s }, InFlight: m.InFlight, Random: func() float64 { return 0.5 }}, s)
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"model":"bench","stream":false,"messages":[{"role":"user","content":"` + strings.Repeat("dolor sit amet ", 60) + `"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		g.Generate(b.Context(), httptest.NewRecorder(), &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: drey.WireChat, Body: body, Header: http.Header{}})
	}
}

// discard registers nothing.
type discard struct{ prometheus.Registerer }

func (discard) MustRegister(...prometheus.Collector) {}
