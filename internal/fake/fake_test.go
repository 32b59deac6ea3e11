package fake

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func asError[T error](err error, target *T) bool { return errors.As(err, target) }

const (
	messagesPath = "/v1/messages"
	chatPath     = "/v1/chat/completions"
)

func streamBody(stream bool) string {
	return fmt.Sprintf(`{"model":"m","stream":%v,"stream_options":{"include_usage":true},"max_tokens":9,"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":"tell me more"}]}`, stream)
}

// got is what a caller of the fake sees.
type got struct {
	status int
	body   string
	err    error // of the request, or of reading the body
}

func post(ctx context.Context, c *http.Client, url, body string) got {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return got{err: err}
	}
	resp, err := c.Do(r)
	if err != nil {
		return got{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, string(b), err}
}

// TestGoldenFrames holds every byte of the two wires, plain and streamed, of
// the vendors and of Ollama. Read it against the real servers' answers.
func TestGoldenFrames(t *testing.T) {
	now := func() time.Time { return time.Unix(1763784000, 0) }
	for _, ollama := range []bool{false, true} {
		for _, path := range []string{messagesPath, chatPath} {
			for _, stream := range []bool{false, true} {
				up := New(Options{Script: Always(callStory().Thinking("hm").Reports(Usage{Input: 21, Output: 9, CacheRead: 4})), Ollama: ollama, Now: now})
				g := post(t.Context(), &http.Client{Transport: up}, "http://x"+path, streamBody(stream))
				up.Close()
				if g.err != nil || g.status != 200 {
					t.Fatal(g)
				}
				name := fmt.Sprintf("%s_%s_%s.txt", map[bool]string{true: "ollama", false: "vendor"}[ollama],
					map[string]string{messagesPath: "messages", chatPath: "chat"}[path], map[bool]string{true: "stream", false: "plain"}[stream])
				file := filepath.Join("testdata", name)
				if *update {
					if err := os.WriteFile(file, []byte(g.body), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(string(want), g.body); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
		}
	}
}

// events counts the SSE events of a body and checks that each data line but
// the end mark and the given broken ones is JSON.
func events(t *testing.T, body string, broken int) int {
	t.Helper()
	n := 0
	for part := range strings.SplitSeq(body, "\n\n") {
		if part == "" {
			continue
		}
		n++
		for line := range strings.SplitSeq(part, "\n") {
			data, ok := strings.CutPrefix(line, "data: ")
			if ok && data != "[DONE]" && !json.Valid([]byte(data)) {
				if broken--; broken < 0 {
					t.Errorf("no JSON: %s", data)
				}
			}
		}
	}
	if broken > 0 {
		t.Errorf("%d broken frames are missing", broken)
	}
	return n
}

func isReset(err error) bool  { return errors.Is(err, syscall.ECONNRESET) }
func isCutOff(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
func isEOF(err error) bool    { return errors.Is(err, io.EOF) }
func isNil(err error) bool    { return err == nil }

func TestFaultsLookAlikeInTheProcessAndOverASocket(t *testing.T) {
	long := Text("one two three four five six seven eight")
	rows := []struct {
		name   string
		b      Behaviour
		stream bool
		status int
		isErr  func(error) bool
		events int // at least, and exactly if exact
		broken int
		has    string
		hasNot string
	}{
		{"reset before headers", Reset(), true, 0, isReset, 0, 0, "", ""},
		{"hangup before headers", Hangup(), false, 0, isEOF, 0, 0, "", ""},
		{"cut by reset", long.CutAfter(5, RST), true, 200, isReset, 5, 0, "", "six"},
		{"cut by close", long.CutAfter(5, FIN), true, 200, isCutOff, 5, 0, "", "six"},
		{"cut cleanly", long.CutAfter(5, Clean), true, 200, isNil, 5, 0, "", "six"},
		{"cut at once", long.CutAfter(0, FIN), true, 200, isCutOff, 0, 0, "", "one"},
		{"a cut beyond the answer comes before its end", Text("hi").CutAfter(99, Clean), true, 200, isNil, 2, 0, "hi", "message_delta"},
		{"plain cut by reset", long.CutAfter(5, RST), false, 200, isReset, 0, 0, "", "_tokens"},
		{"plain cut by close", long.CutAfter(5, FIN), false, 200, isCutOff, 0, 0, "", "_tokens"},
		{"plain cut cleanly", long.CutAfter(5, Clean), false, 200, isNil, 0, 0, "", "_tokens"},
		{"malformed frame and on", long.MalformedAfter(4), true, 200, isNil, 9, 1, "eight", ""},
		{"malformed plain", long.MalformedAfter(4), false, 200, isNil, 0, 0, "", "_tokens"},
		{"error in the stream", long.ErrorAfter(4, "overloaded_error", "Overloaded"), true, 200, isNil, 5, 0, "overloaded_error", "eight"},
		{"error inside a plain 200", long.ErrorAfter(4, "overloaded_error", "Overloaded"), false, 200, isNil, 0, 0, "overloaded_error", "eight"},
		{"missing end mark", long.NoEndMark(), true, 200, isNil, 9, 0, "eight", "message_stop"},
		{"empty", Empty(), true, 200, isNil, 2, 0, "", "text_delta"},
		{"huge frame", Pieces(strings.Repeat("x", 1<<20)), true, 200, isNil, 3, 0, strings.Repeat("x", 1<<20), ""},
		{"html", HTML(), true, 200, isNil, 0, 0, "<html>", ""},
		{"other JSON", OtherJSON(), false, 200, isNil, 0, 0, `{"status":"ok"}`, ""},
		{"500", ServerError(), true, 500, isNil, 0, 0, "Internal", ""},
		{"503", Unavailable(), true, 503, isNil, 0, 0, "unavailable", ""},
		{"529", Overloaded(), true, 529, isNil, 0, 0, "Overloaded", ""},
		{"429", RateLimited(), true, 429, isNil, 0, 0, "Rate limit", ""},
		{"quota", Quota(), true, 429, isNil, 0, 0, "insufficient_quota", ""},
		{"401", Unauthorized(), true, 401, isNil, 0, 0, "API key", ""},
		{"402", PaymentRequired(), true, 402, isNil, 0, 0, "credit", ""},
		{"403", Forbidden(), true, 403, isNil, 0, 0, "permission", ""},
		{"404 model", ModelNotFound(), true, 404, isNil, 0, 0, "not_found_error", ""},
		{"413", TooLarge(), true, 413, isNil, 0, 0, "exceeds", ""},
		{"400 context", ContextLength(5, 4), true, 400, isNil, 0, 0, "maximum", ""},
		{"400 filter", ContentFilter(), true, 400, isNil, 0, 0, "filtered", ""},
		{"400 prefill", PrefillRefused(), true, 400, isNil, 0, 0, "prefill", ""},
		{"out of memory", OutOfMemory(), true, 500, isNil, 0, 0, "out of memory", ""},
		{"loading", Loading(), true, 503, isNil, 0, 0, "Loading model", ""},
		{"redirect", Redirect("http://elsewhere.invalid/"), true, 307, isNil, 0, 0, "", ""},
		{"raw frames", Frames("data: {}\n\n", "data: {}\n\n"), true, 200, isNil, 2, 0, "", "stop"},
		{"text call", TextCall("", `{"a":1}`), true, 200, isNil, 3, 0, "Bash", "tool_use"},
	}
	for _, path := range []string{messagesPath, chatPath} {
		for _, row := range rows {
			t.Run(path+" "+row.name, func(t *testing.T) {
				eachTransport(t, Options{Script: Always(row.b)}, func(t *testing.T, url string, c *http.Client) {
					c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
					g := post(t.Context(), c, url+path, streamBody(row.stream))
					if g.status != row.status || !row.isErr(g.err) {
						t.Fatalf("status %d, error %v, body %.200s", g.status, g.err, g.body)
					}
					if !strings.Contains(g.body, row.has) || row.hasNot != "" && strings.Contains(g.body, row.hasNot) {
						t.Errorf("body %.300s\nwant %.60q in it and not %q", g.body, row.has, row.hasNot)
					}
					if row.stream && strings.Contains(row.name, "cut") && strings.Contains(g.body, "[DONE]") {
						t.Errorf("a cut answer has its end mark")
					}
					if row.stream && row.status == 200 && row.events > 0 {
						if n := events(t, g.body, row.broken); n < row.events {
							t.Errorf("%d events, want at least %d:\n%s", n, row.events, g.body)
						}
					}
				})
			})
		}
	}
}

func TestCutAfterCountsEvents(t *testing.T) {
	for _, path := range []string{messagesPath, chatPath} {
		for n := range 6 {
			up := New(Options{Script: Always(Text("a b c d e f g").CutAfter(n, FIN))})
			g := post(t.Context(), &http.Client{Transport: up}, "http://x"+path, streamBody(true))
			if got := events(t, g.body, 0); got != n {
				t.Errorf("%s: %d events before the cut, want %d", path, got, n)
			}
			up.Close()
		}
	}
}

func TestScriptsAndOutage(t *testing.T) {
	s, err := Listen(Sequence(ServerError(), Text("ok"), Text("on")))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	do := func() got { return post(t.Context(), c, s.URL()+chatPath, streamBody(false)) }
	for _, want := range []int{500, 200} {
		if g := do(); g.status != want {
			t.Fatalf("status %d, want %d", g.status, want)
		}
	}
	s.Outage(Unavailable())
	if g := do(); g.status != 503 {
		t.Errorf("in the outage: %+v", g)
	}
	if r, err := c.Get(s.URL() + "/v1/models"); err != nil || r.StatusCode != 503 {
		t.Errorf("the models in an outage: %v, %v", r, err)
	} else {
		r.Body.Close()
	}
	s.Outage(Refused())
	if g := do(); !errors.Is(g.err, syscall.ECONNREFUSED) {
		t.Errorf("a closed port gives %v", g.err)
	}
	for range 2 { // restoring twice is harmless
		if err := s.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	if g := do(); g.status != 200 || !strings.Contains(g.body, `"on"`) {
		t.Errorf("an outage has used up the script: %+v", g)
	}
	up := New(Options{Script: FailFirst(2, Refused(), Text("ok"))})
	defer up.Close()
	pc := &http.Client{Transport: up}
	for i := range 3 {
		g := post(t.Context(), pc, "http://x"+chatPath, streamBody(false))
		if i < 2 != errors.Is(g.err, syscall.ECONNREFUSED) {
			t.Errorf("call %d: %v", i+1, g.err)
		}
	}
	var op *net.OpError
	if g := post(t.Context(), &http.Client{Transport: New(Options{Script: Always(Refused())})}, "http://x"+chatPath, "{}"); !errors.As(g.err, &op) || op.Op != "dial" {
		t.Errorf("refused is no failed dial: %v", g.err)
	}
}

func TestToolTurn(t *testing.T) {
	up := New(Options{Script: Always(CallTool(`{}`).Then(Text("final")))})
	defer up.Close()
	c := &http.Client{Transport: up}
	rows := []struct{ name, path, messages, want string }{
		{"anthropic asks", messagesPath, `{"role":"user","content":"go"}`, "tool_use"},
		{"anthropic result", messagesPath, `{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"tool_use"}]},{"role":"user","content":[{"type":"tool_result"},{"type":"text","text":"reminder"}]}`, "final"},
		{"anthropic asks again after an answer", messagesPath, `{"role":"user","content":[{"type":"tool_result"}]},{"role":"assistant","content":"ok"},{"role":"user","content":"again"}`, "tool_use"},
		{"chat asks", chatPath, `{"role":"user","content":"go"}`, "tool_calls"},
		{"chat result", chatPath, `{"role":"user","content":"go"},{"role":"assistant"},{"role":"tool","content":"x"},{"role":"user","content":"image"}`, "final"},
	}
	for _, row := range rows {
		for _, stream := range []bool{false, true} {
			body := fmt.Sprintf(`{"model":"m","stream":%v,"tools":[{"name":"Bash","type":"function"},{"name":"Read"}],"messages":[%s]}`, stream, row.messages)
			if g := post(t.Context(), c, "http://x"+row.path, body); !strings.Contains(g.body, row.want) || strings.Contains(g.body, "Read") {
				t.Errorf("%s: %s", row.name, g.body)
			}
		}
	}
	if g := post(t.Context(), c, "http://x"+chatPath, `{"messages":[]}`); !strings.Contains(g.body, "no tool") {
		t.Errorf("without tools: %s", g.body)
	}
}

func TestUsageIsToldAsAsked(t *testing.T) {
	up := New(Options{Script: Sequence(Text("hi").NoUsage(), Text("hi").NoUsage(), Text("hi"))})
	defer up.Close()
	c := &http.Client{Transport: up}
	for range 2 {
		if g := post(t.Context(), c, "http://x"+chatPath, streamBody(true)); strings.Contains(g.body, "prompt_tokens") {
			t.Errorf("usage although none is told: %s", g.body)
		}
	}
	quiet := strings.Replace(streamBody(true), `"include_usage":true`, `"include_usage":false`, 1)
	if g := post(t.Context(), c, "http://x"+chatPath, quiet); strings.Contains(g.body, `"usage"`) {
		t.Errorf("usage although nobody asked: %s", g.body)
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	up := New(Options{})
	defer up.Close()
	c := &http.Client{Transport: up}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/base"+messagesPath+"?beta=true", strings.NewReader(streamBody(true)))
	r.Header.Set("X-Api-Key", "k")
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	resp, err = c.Get("http://x/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp, err = c.Get("http://x/nowhere"); err != nil || resp.StatusCode != 404 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	calls, err := up.WaitEnded(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	g := calls[0]
	if len(calls) != 1 || len(up.Requests()) != 3 || g.N != 1 || g.Kind != Messages || g.Method != "POST" || g.Path != "/base"+messagesPath ||
		g.Query.Get("beta") != "true" || g.Header.Get("X-Api-Key") != "k" || string(g.Body) != streamBody(true) ||
		g.Model != "m" || !g.Stream || g.Text != "tell me more" || !cmp.Equal(g.Tools, []string{"Bash"}) || g.Cancelled {
		t.Errorf("recorded %+v", g)
	}
}

func TestCancelReachesTheFake(t *testing.T) {
	for _, b := range []Behaviour{Silent(), Text("a b c").StallAfter(4), Text("a b").TTFT(time.Hour), Text("a b").Delay(time.Hour)} {
		eachTransport(t, Options{Script: Always(b)}, func(t *testing.T, url string, c *http.Client) {
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			up := c.Transport
			done := make(chan got, 1)
			go func() { done <- post(ctx, c, url+messagesPath, streamBody(true)) }()
			if u, ok := up.(*Upstream); ok {
				if _, err := u.WaitCalls(t.Context(), 1); err != nil {
					t.Error(err)
				}
				cancel(gone)
				if calls, err := u.WaitCancelled(t.Context(), 1); err != nil || calls[0].CancelledAt.IsZero() {
					t.Error(calls, err)
				}
			} else {
				cancel(gone)
			}
			if g := <-done; !errors.Is(g.err, gone) && !errors.Is(g.err, context.Canceled) {
				t.Errorf("the caller sees %v", g.err)
			}
		})
	}
}

func TestCancelOverASocketIsSeen(t *testing.T) {
	s, err := Listen(Always(Silent()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan got, 1)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() { done <- post(ctx, c, s.URL()+chatPath, streamBody(true)) }()
	if _, err := s.WaitCalls(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if _, err := s.WaitCancelled(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.WaitCalls(short, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for what does not come: %v", err)
	}
}

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := New(Options{Script: Always(Text("a b c").Delay(time.Second).TTFT(5 * time.Second).Gap(time.Minute))})
		defer up.Close()
		start := time.Now()
		resp, err := (&http.Client{Transport: up}).Post("http://x"+messagesPath, "", strings.NewReader(streamBody(true)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if d := time.Since(start); d != time.Second {
			t.Errorf("headers after %v", d)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 6*time.Second+2*time.Minute {
			t.Errorf("the end after %v", d)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	up := New(Options{Script: func(n int, _ Request) Behaviour {
		if n%3 == 0 {
			return Text("x").CutAfter(1, RST)
		}
		return Echo()
	}})
	defer up.Close()
	c := &http.Client{Transport: up}
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() { post(t.Context(), c, "http://x"+chatPath, streamBody(true)) })
	}
	wg.Wait()
	seen := map[int]bool{}
	for _, r := range up.Calls() {
		seen[r.N] = true
	}
	if len(seen) != 60 || !seen[1] || !seen[60] {
		t.Errorf("%d distinct numbers", len(seen))
	}
}

func TestCloseEndsWhatIsInProgress(t *testing.T) {
	up := New(Options{Script: Sequence(Silent(), Text("nobody reads this"))})
	c := &http.Client{Transport: up}
	done := make(chan got, 1)
	go func() { done <- post(t.Context(), c, "http://x"+chatPath, "{}") }()
	if _, err := up.WaitCalls(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	resp, err := c.Post("http://x"+chatPath, "", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	up.Close()
	if g := <-done; g.err == nil {
		t.Errorf("answered: %+v", g)
	}
	if _, err := io.ReadAll(resp.Body); !isCutOff(err) {
		t.Errorf("the body ends with %v", err)
	}
	resp.Body.Close()
	if g := post(t.Context(), c, "http://x"+chatPath, "{}"); !errors.Is(g.err, syscall.ECONNREFUSED) {
		t.Errorf("after Close: %v", g.err)
	}
	rec := httptest.NewRecorder()
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("a closed fake serves")
		}
	}()
	up.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/models", nil))
}

func TestFluentMethodsCopy(t *testing.T) {
	base := Text("a").Header("A", "1").CutAfter(1, RST)
	one, two := base.Header("B", "2").MalformedAfter(1), base.Header("C", "3").StallAfter(1)
	if len(base.headers) != 1 || len(one.headers) != 2 || len(two.headers) != 2 || len(base.faults) != 1 || one.faults[1].kind != malformed || two.faults[1].kind != stall {
		t.Error("behaviours share what they hold")
	}
}
