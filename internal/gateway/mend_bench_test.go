package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
)

// streamed is a provider that answers at once with a stream.
type streamed string

func (s streamed) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}},
		Body: io.NopCloser(strings.NewReader(string(s))), ContentLength: -1, Request: r,
	}, nil
}

// chatText is a chat stream of text in pieces.
func chatText(pieces ...string) string {
	var b strings.Builder
	const head = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":`
	b.WriteString(head + `{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n")
	for _, p := range pieces {
		quoted, _ := json.Marshal(p)
		b.WriteString(head + `{"content":` + string(quoted) + `},"finish_reason":null}]}` + "\n\n")
	}
	b.WriteString(head + `{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n")
	return b.String()
}

// behind is a gateway in front of one chat provider.
func behind(b testing.TB, tr http.RoundTripper, m Mending) *Gateway {
	s := Settings{
		DefaultProfile: "default", Keepalive: 10 * time.Second,
		Providers: []Provider{{
			Config:  upstream.Config{ID: "a", Wire: drey.WireChat, URL: "http://a.test/v1", Model: "m", Transport: tr},
			Connect: 3 * time.Second, Stall: time.Minute, Total: time.Hour, Mending: m,
		}},
		Profiles: []Profile{{ID: "default", Chain: [][]drey.ProviderID{{"a"}}, Retry: route.DefaultPolicy()}},
	}
	metrics := NewMetrics(discard{})
	g, err := New(Config{Recorder: nobody{}, Healer: keep(b, nobody{}, s), Redact: func(s string) string { return s }, InFlight: metrics.InFlight, Random: func() float64 { return 0.5 }}, s)
	if err != nil {
		b.Fatal(err)
	}
	return g
}

func send(g *Gateway, b testing.TB, w drey.Wire, body string) {
	g.Generate(b.Context(), httptest.NewRecorder(), &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: w, Body: []byte(body), Header: http.Header{}})
}

// BenchmarkMend is a normal stream of 256 frames, in which there is nothing to
// mend, on the provider's own wire and across wires, with nothing to do, with
// what is on by default, and with everything on. The metric is the cost of one
// frame.
func BenchmarkMend(b *testing.B) {
	const frames = 256
	stream := streamed(chatText(slices.Repeat([]string{"lorem ", "ipsum, ", "dolor\n", "`sit` "}, frames/4)...))
	all := Mending{Repair: true, Filters: []string{repair.StripThinking, repair.StripStopMarkers, repair.StripToolCallXML, repair.RepairByteFallback}}
	for _, w := range []drey.Wire{drey.WireChat, drey.WireAnthropic} {
		for _, c := range []struct {
			name string
			m    Mending
		}{{"off", Mending{}}, {"repair", Mending{Repair: true}}, {"all", all}} {
			b.Run(w.String()+"/"+c.name, func(b *testing.B) {
				g, body := behind(b, stream, c.m), toolPrompt(w, true)
				b.ReportAllocs()
				for b.Loop() {
					send(g, b, w, body)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/frames, "ns/frame")
			})
		}
	}
}

// BenchmarkTranslated is a whole answer of about 1 KB on the provider's own wire
// and across wires, with the defaults on. The difference is the translation,
// request and answer, for which the contract (§19) allows 60 µs.
func BenchmarkTranslated(b *testing.B) {
	text := strings.Repeat("lorem ipsum ", 70)
	tr := instant(`{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		text + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}`)
	for _, w := range []drey.Wire{drey.WireChat, drey.WireAnthropic} {
		b.Run(w.String(), func(b *testing.B) {
			g := behind(b, tr, Mending{Repair: true})
			body := strings.Replace(toolPrompt(w, false), "say hello", text, 1)
			b.ReportAllocs()
			for b.Loop() {
				send(g, b, w, body)
			}
		})
	}
}

// braces is what a model prints that has lost its way, and what costs a naive
// search for calls quadratic time.
var braces = strings.Repeat("{", 48<<10)

// BenchmarkBraces is an answer of 48 KB of "{", in one piece and in pieces of a
// token, searched and not: the difference is what the search costs, for which the
// contract (§19) allows 10 ms.
func BenchmarkBraces(b *testing.B) {
	for _, m := range []Mending{{}, {Repair: true, Filters: []string{repair.StripThinking}}} {
		for _, size := range []int{48 << 10, 4} {
			b.Run(name("repair", m.Repair, "pieces", size), func(b *testing.B) {
				g := behind(b, bracesIn(size), m)
				body := toolPrompt(drey.WireAnthropic, true)
				for b.Loop() {
					send(g, b, drey.WireAnthropic, body)
				}
			})
		}
	}
}

func bracesIn(size int) streamed { return streamed(chatText(slices.Collect(chunks(braces, size))...)) }

// BenchmarkBesideBraces is a small request, alone and while such answers are
// searched one after the other. It tells the slowest of a hundred besides.
func BenchmarkBesideBraces(b *testing.B) {
	for _, busy := range []bool{false, true} {
		b.Run(name("busy", busy), func(b *testing.B) {
			g := behind(b, streamed(chatText("hello")), Mending{Repair: true})
			body := toolPrompt(drey.WireAnthropic, true)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			if busy {
				beside := behind(b, bracesIn(48<<10), Mending{Repair: true})
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							send(beside, b, drey.WireAnthropic, body)
						}
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				send(g, b, drey.WireAnthropic, body)
				took = append(took, time.Since(start))
			}
			close(stop)
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}

// chunks cuts a text into pieces of a size.
func chunks(text string, size int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for text != "" {
			n := min(size, len(text))
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

// TestBracesHoldNobodyUp lets others in while such an answer is searched, again
// and again: both are done, and every byte has come through.
func TestBracesHoldNobodyUp(t *testing.T) {
	p := pairing{drey.WireAnthropic, drey.WireChat}
	l := newLab(t, nil, p.answering(true, Mending{Repair: true}, fake.Pieces(slices.Collect(chunks(braces, 64))...)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a := l.ask(t.Context(), p.caller, toolPrompt(p.caller, true))
			if text, complete := a.text(p.caller); text != braces || !complete {
				t.Errorf("%d bytes of %d came through, complete=%v", len(text), len(braces), complete)
			}
		})
	}
	wg.Wait()
}
