package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
)

// server is a provider's server of one answer, in place of the network.
type server struct {
	status int
	kind   string // Content-Type
	body   string
	more   string // comes in a packet of its own
	cut    bool   // the connection breaks behind it

	calls []call
}

type call struct{ path, body string }

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.calls = append(s.calls, call{r.URL.RequestURI(), string(body)})
	answer := io.MultiReader(strings.NewReader(s.body), strings.NewReader(s.more))
	if s.cut {
		answer = io.MultiReader(answer, brokenReader{})
	}
	return &http.Response{
		StatusCode: s.status, Header: http.Header{"Content-Type": {s.kind}}, Body: io.NopCloser(answer), ContentLength: -1, Request: r,
	}, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// native is a provider that speaks Responses itself.
func native(id drey.ProviderID, s *server) scripted {
	return scripted{id: id, wire: drey.WireChat, change: func(p *Provider) { p.Transport, p.Responses = s, true }}
}

const nativeStream = `event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"gpt-real","status":"in_progress","output":[]}}

event: response.of_tomorrow
data: { "type" : "response.of_tomorrow", "sequence_number":1, "n": 1.0 }

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","content":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"hi"}

`

const nativeEnd = `event: response.completed
data: {"type":"response.completed","sequence_number":4,"response":{"id":"resp_1","model":"gpt-real","status":"completed","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":2,"total_tokens":11}}}

`

// Between a caller and a provider of the Responses wire every byte comes
// through in both directions, but for what drey edits.
func TestNativeResponsesPassThrough(t *testing.T) {
	s := &server{status: 200, kind: "text/event-stream", body: nativeStream + nativeEnd}
	l := newLab(t, nil, native("a", s))
	body := `{ "model":"x", "input":[{"type":"reasoning","id":"rs_0","summary":[],"encrypted_content":"drey1.reasoning"},` +
		`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA","content":null}, {"role":"user","content":"say"}],` +
		`"previous_response_id":"resp_0","stream":true,"temperature":1.0,"x_unknown":{"a":[1e3]}}`
	a := l.ask(t.Context(), drey.WireResponses, body, func(r *Request) { r.Query = "q=1" })
	if a.status != 200 || a.body != nativeStream+nativeEnd {
		t.Errorf("the caller got %d\n%s", a.status, a.body)
	}
	want := `{ "model":"model-of-a", "input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA","content":null}, {"role":"user","content":"say"}],` +
		`"previous_response_id":"resp_0","stream":true,"temperature":1.0,"x_unknown":{"a":[1e3]}}`
	if diff := cmp.Diff([]call{{"/v1/responses?q=1", want}}, s.calls, cmp.AllowUnexported(call{})); diff != "" {
		t.Errorf("the provider got (-want +got):\n%s", diff)
	}
	r := l.last()
	if r.Wire != drey.WireResponses || r.Served != "gpt-real" || r.Usage.Input != 5 || r.Usage.CacheRead != 4 || r.Usage.Output != 2 || r.Stop.String() != "end" {
		t.Errorf("the row says %+v", r)
	}
}

// A stream of events that breaks ends with response.failed, numbered on.
func TestNativeResponsesBreak(t *testing.T) {
	for name, s := range map[string]*server{
		"reset":             {status: 200, kind: "text/event-stream", body: nativeStream, cut: true},
		"clean end":         {status: 200, kind: "text/event-stream", body: nativeStream},
		"within the end":    {status: 200, kind: "text/event-stream", body: nativeStream, more: nativeEnd[:len(nativeEnd)-20]},
		"its own failure":   {status: 200, kind: "text/event-stream", body: nativeStream, more: "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":4,\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n"},
		"its own error":     {status: 200, kind: "text/event-stream", body: nativeStream, more: "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\",\"param\":null}\n\n"},
		"a frame of no use": {status: 200, kind: "text/event-stream", body: nativeStream, more: "data: {\"type\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil, native("a", s))
			a := l.ask(t.Context(), drey.WireResponses, prompt(drey.WireResponses, true))
			rest, ok := strings.CutPrefix(a.body, nativeStream+"event: response.failed\ndata: ")
			if !ok || gjson.Get(rest, "sequence_number").Int() != 4 || gjson.Get(rest, "response.status").Str != "failed" ||
				gjson.Get(rest, "response.error.code").Str != "all_providers_failed" || strings.Contains(a.body, "event: response.completed") {
				t.Errorf("%s", a.body)
			}
			if l.last().Outcome != OutcomeFailedMidstream {
				t.Errorf("outcome %s", l.last().Outcome)
			}
		})
	}
}

// A native provider that fails falls back to one that is translated for, and
// the other way round.
func TestResponsesFallBackAcrossWires(t *testing.T) {
	broken := fake.Always(fake.ServerError())
	for _, stream := range []bool{false, true} {
		for _, other := range bothWires {
			t.Run(form(stream)+" "+other.String(), func(t *testing.T) {
				s := &server{status: 500, kind: "application/json", body: `{"error":{"message":"m"}}`}
				l := newLab(t, nil, native("a", s), scripted{id: "b", wire: other, script: hello("hello there")})
				a := l.ask(t.Context(), drey.WireResponses, prompt(drey.WireResponses, stream))
				if text, complete := a.text(drey.WireResponses); text != "hello there" || !complete {
					t.Errorf("%d %s", a.status, a.body)
				}
				s = &server{status: 200, kind: "text/event-stream", body: nativeStream + nativeEnd}
				if !stream {
					s.kind = "application/json"
					s.body = `{"id":"resp_1","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":null}`
				}
				l = newLab(t, nil, scripted{id: "b", wire: other, script: broken}, native("a", s))
				a = l.ask(t.Context(), drey.WireResponses, prompt(drey.WireResponses, stream))
				if a.body != s.body {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
	}
}

// A whole answer to a request for a stream is told as one, and keeps what only
// its vendor can read.
func TestNativeAnswerIsPlayed(t *testing.T) {
	s := &server{status: 200, kind: "application/json", body: `{"id":"resp_1","model":"gpt-real","status":"completed","output":[` +
		`{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA"},` +
		`{"type":"function_call","id":"fc_1","call_id":"c1","name":"echo","namespace":"mcp__ev","arguments":"{}"},` +
		`{"type":"custom_tool_call","id":"ctc_1","call_id":"c2","name":"patch","input":"*** a"}],"usage":{"input_tokens":9,"output_tokens":2}}`}
	l := newLab(t, nil, native("a", s))
	a := l.ask(t.Context(), drey.WireResponses, prompt(drey.WireResponses, true))
	_, last, _ := strings.Cut(a.body, "event: response.completed\ndata: ")
	got := gjson.Get(last, `response.output.#.[type,encrypted_content,name,namespace,input]`).Raw
	if want := `[["reasoning","gAAAA"],["function_call","echo","mcp__ev"],["custom_tool_call","patch","*** a"]]`; got != want {
		t.Errorf("got  %s\nwant %s\n%s", got, want, a.body)
	}
}

// What another server keeps is refused with the remedy, unless a provider of the
// chain may be that server.
func TestStoredStateNeedsItsServer(t *testing.T) {
	for _, field := range []string{`"previous_response_id":"resp_0"`, `"conversation":"conv_0"`, `"prompt":{"id":"p"}`} {
		body := `{"model":"x","input":"go on",` + field + `}`
		l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi")})
		a := l.ask(t.Context(), drey.WireResponses, body)
		if a.status != 400 || !strings.Contains(gjson.Get(a.body, "error.message").Str, "send the whole conversation as input items") || len(l.fakes["a"].Calls()) > 0 {
			t.Errorf("%s: %d %s", field, a.status, a.body)
		}
		s := &server{status: 200, kind: "application/json", body: `{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]}`}
		l = newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hi")}, native("b", s))
		if a := l.ask(t.Context(), drey.WireResponses, body); a.status != 200 || a.body != s.body {
			t.Errorf("%s, with a native provider: %d %s", field, a.status, a.body)
		}
	}
}

func TestCountInputTokens(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat})
	count := func(body string) (int, string) {
		w := httptest.NewRecorder()
		l.CountTokens(t.Context(), w, &Request{ID: "req_x", At: time.Now(), Wire: drey.WireResponses, Body: []byte(body), Header: http.Header{}})
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, body := range []string{
		`{"model":"x","input":"` + strings.Repeat("four", 100) + `"}`,
		`{"model":"x","input":[{"role":"user","content":[{"type":"input_text","text":"` + strings.Repeat("four", 100) + `"}]}]}`,
	} {
		if status, got := count(body); status != 200 || got != `{"object":"response.input_tokens","input_tokens":100}` {
			t.Errorf("%d %s", status, got)
		}
	}
	for _, bad := range []string{`{"input":"x"}`, `{"model":"x"}`, `{"model":"x","input":3}`} {
		if status, got := count(bad); status != 400 {
			t.Errorf("%s: %d %s", bad, status, got)
		}
	}
}

// embed asks for embeddings.
func (l *lab) embed(body string) answer {
	w := httptest.NewRecorder()
	l.Embed(l.t.Context(), w, &Request{ID: "req_0123456789abcdefghijklmn", At: time.Now(), Wire: drey.WireChat, Body: []byte(body), Header: http.Header{}})
	return answer{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func embedder(id drey.ProviderID, s *server) scripted {
	return scripted{id: id, wire: drey.WireChat, change: func(p *Provider) { p.Transport = s }}
}

func TestEmbeddings(t *testing.T) {
	floats := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1, -0.5,0.25e1]},{"object":"embedding","index":1,"embedding":[]}],"model":"nomic","usage":{"prompt_tokens":7,"total_tokens":7},"x":1.0}`
	packed := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAL8AACBA"},{"object":"embedding","index":1,"embedding":""}],"model":"nomic","usage":{"prompt_tokens":7,"total_tokens":7},"x":1.0}`
	for _, tt := range []struct{ name, asked, given, want string }{
		{"numbers as they came", ``, floats, floats},
		{"numbers that were asked for", `,"encoding_format":"float"`, floats, floats},
		{"packed, where the provider does not", `,"encoding_format":"base64"`, floats, packed},
		{"packed by the provider", `,"encoding_format":"base64"`, packed, packed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{status: 200, kind: "application/json", body: tt.given}
			l := newLab(t, nil, scripted{id: "other", wire: drey.WireAnthropic}, embedder("a", s))
			a := l.embed(`{"model":"text-embedding-3-small","input":["a","b"],"dimensions":3` + tt.asked + `}`)
			if a.status != 200 || a.body != tt.want {
				t.Errorf("%d %s", a.status, a.body)
			}
			want := []call{{"/v1/embeddings", `{"model":"model-of-a","input":["a","b"],"dimensions":3` + tt.asked + `}`}}
			if diff := cmp.Diff(want, s.calls, cmp.AllowUnexported(call{})); diff != "" {
				t.Errorf("the provider got (-want +got):\n%s", diff)
			}
			if r := l.last(); r.Outcome != OutcomeOK || r.Usage.Input != 7 || r.Usage.Output != 0 || r.Usage.Estimated || r.Served != "nomic" {
				t.Errorf("the row says %+v", r)
			}
			if n := len(l.fakes["other"].Requests()); n > 0 {
				t.Errorf("a provider without embeddings was asked %d times", n)
			}
		})
	}
}

// A provider without embeddings is passed over, and nothing is held against it.
func TestEmbeddingsFallBack(t *testing.T) {
	good := `{"data":[],"model":"nomic"}`
	for _, tt := range []struct {
		status int
		body   string
		counts int
	}{
		{404, `404 page not found`, 0},
		{404, `{"error":{"message":"model not found"}}`, 0},
		{405, ``, 0},
		{501, `{"error":"this server was started without embeddings"}`, 0},
		{400, `{"error":{"message":"this model does not embed"}}`, 0},
		{500, `{"error":{"message":"boom"}}`, 1},
		{200, `{"object":"list"}`, 1},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			a, b := &server{status: tt.status, kind: "application/json", body: tt.body}, &server{status: 200, kind: "application/json", body: good}
			l := newLab(t, nil, embedder("a", a), embedder("b", b))
			if got := l.embed(`{"model":"m","input":"four"}`); got.status != 200 || got.body != good || got.header.Get("X-Drey-Provider") != "b" {
				t.Errorf("%d %s", got.status, got.body)
			}
			if v := l.view("a"); v.ConsecutiveFailures != tt.counts {
				t.Errorf("%d failures are held against the provider, want %d", v.ConsecutiveFailures, tt.counts)
			}
			if r := l.last(); len(r.Attempts) != 2 {
				t.Errorf("attempts %+v", r.Attempts)
			}
			if l.embed(`{"model":"m","input":"four"}`); len(a.calls) != 2 {
				t.Errorf("it was asked %d times by two requests: it is parked", len(a.calls))
			}
			if r := l.last(); r.Usage.Input != 1 || !r.Usage.Estimated {
				t.Errorf("usage %+v", r.Usage)
			}
		})
	}
}

func TestEmbeddingsRefused(t *testing.T) {
	bad := &server{status: 400, kind: "application/json", body: `{"error":{"message":"input: too strange","type":"invalid_request_error"}}`}
	for _, tt := range []struct {
		name, body, says string
		provider         scripted
	}{
		{"no provider of the wire", `{"model":"m","input":"x"}`, "embeddings", scripted{id: "a", wire: drey.WireAnthropic}},
		{"no input", `{"model":"m"}`, "input", embedder("a", bad)},
		{"no JSON", `{"model":"m"`, "JSON", embedder("a", bad)},
		{"refused by the provider", `{"model":"m","input":"x"}`, "too strange", embedder("a", bad)},
	} {
		l := newLab(t, nil, tt.provider)
		if a := l.embed(tt.body); a.status != 400 || !strings.Contains(gjson.Get(a.body, "error.message").Str, tt.says) {
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		}
	}
}
