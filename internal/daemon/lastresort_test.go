package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
)

// asks are the ways to ask: both wires, streaming and not.
var asks = []struct{ name, path, body string }{
	{"chat", "/v1/chat/completions", chatBody("hi", false)},
	{"chat, streamed", "/v1/chat/completions", chatBody("hi", true)},
	{"anthropic", "/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`},
	{"anthropic, streamed", "/v1/messages", `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`},
}

// allOut opens a house whose two providers are both excluded, the first of them
// a while before the second, and neither of which is probed soon.
func allOut(t *testing.T, panicWait string) (h *house, first, second *fake.Server) {
	t.Helper()
	first, second = provider(t, fake.Always(fake.Text("from first"))), provider(t, fake.Always(fake.Text("from second")))
	h = open(t, fmt.Sprintf(`version: 1
health: {panic_wait: %s, probe: {initial: 30s}}
providers:
  first: {wire: openai, url: %q, class: local, model: fake-model}
  second: {wire: anthropic, url: %q, class: local, model: fake-model}
profiles:
  default: {chain: [second, first], retry: {same_provider: 0}, timeouts: {first_token: 20s}}
  alone: {chain: [first], retry: {same_provider: 0}}
`, panicWait, first.URL(), second.URL())+listenAnywhere(nil))
	first.Outage(fake.ServerError())
	second.Outage(fake.ServerError())
	for range 6 {
		h.do("POST", "/p/alone/v1/chat/completions", chatBody("hi", false))
	}
	out := h.event("self-healing-exclude", 0)
	for range 6 {
		h.chat("hi")
	}
	h.event("self-healing-exclude", out.Seq)
	return h, first, second
}

// With all of them out the one that recovers soonest gets one request as a
// trial. The others wait for its verdict, and go to it when it is good.
func TestTheLastResortIsBack(t *testing.T) {
	t.Parallel() // it waits more than it works
	h, first, second := allOut(t, "20s")
	if err := first.Restore(); err != nil {
		t.Fatal(err)
	}
	first.Outage(fake.Text("from first").TTFT(500 * time.Millisecond))
	before := len(first.Requests()) // an outage counts no calls
	second2 := len(second.Requests())
	var wg sync.WaitGroup
	for i, a := range append(asks, asks...) {
		wg.Go(func() {
			got, err := h.try("POST", a.path, a.body)
			if err != nil || got.status != 200 || got.header.Get("X-Drey-Provider") != "first" || !strings.Contains(got.body, "first") {
				t.Errorf("%d, %s: %v %d %v %s", i, a.name, err, got.status, got.header, got.body)
			}
		})
	}
	trial := h.event("chain-panic-trial", 0)
	if who := string(fieldOf(trial, "provider")); who != `"first"` {
		t.Errorf("the trial went to %s, and first recovers soonest", who)
	}
	h.event("self-healing-restore", 0)
	wg.Wait()
	if n := len(h.events(store.Query{Event: "chain-panic-trial"})); n != 1 {
		t.Errorf("there were %d trials", n)
	}
	if n := len(first.Requests()) - before; n != 2*len(asks) {
		t.Errorf("first was asked %d times by %d callers", n, 2*len(asks))
	}
	if n := len(second.Requests()) - second2; n != 0 {
		t.Errorf("second was asked %d times", n)
	}
}

// While a trial hangs the others wait a bounded while, and then are told in
// their own wire, as JSON, why nobody is there and when to come back.
func TestTheLastResortHangs(t *testing.T) {
	t.Parallel() // it waits more than it works
	h, first, _ := allOut(t, "300ms")
	first.Outage(fake.Silent())
	before := len(first.Requests())
	ctx, hangUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer hangUp()
	wg.Go(func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+asks[0].path, strings.NewReader(asks[0].body))
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := h.http.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("a provider that is silent has answered: %s", resp.Status)
		}
	})
	h.event("chain-panic-trial", 0)
	for _, a := range asks {
		t.Run(a.name, func(t *testing.T) {
			at := time.Now()
			got := h.do("POST", a.path, a.body)
			if took := time.Since(at); took < 250*time.Millisecond {
				t.Errorf("it waited %v for the verdict", took)
			}
			if got.status != 503 || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
				t.Errorf("%d %v", got.status, got.header)
			}
			if s, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || s < 1 || s > 60 {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			var body struct {
				Type  string
				Error struct{ Type, Message string }
			}
			if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.Error.Type == "" {
				t.Fatalf("%v: %s", err, got.body)
			}
			if anthropic := strings.HasPrefix(a.path, "/v1/messages"); anthropic != (body.Type == "error") {
				t.Errorf("this is another wire's error: %s", got.body)
			}
			for _, id := range []string{"first", "second"} {
				if !strings.Contains(body.Error.Message, id) {
					t.Errorf("no reason is told for %s: %s", id, body.Error.Message)
				}
			}
			if !strings.Contains(body.Error.Message, "excluded") {
				t.Errorf("the reason is not told: %s", body.Error.Message)
			}
		})
	}
	if n := len(first.Requests()) - before; n != 1 {
		t.Errorf("first was asked %d times while its trial ran", n)
	}
	exhausted := h.event("chain-exhausted", 0)
	if reasons := string(fieldOf(exhausted, "reasons")); !strings.Contains(reasons, `"first"`) || !strings.Contains(reasons, `"second"`) {
		t.Errorf("chain-exhausted tells %s", reasons)
	}
}
