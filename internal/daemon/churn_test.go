package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
	"github.com/dreyhq/drey/internal/store"
)

// churn sends requests to a daemon, of which some are left by their clients.
type churn struct {
	h       *house
	p       *fake.Server
	arrived sync.Map // a request's text: chan struct{}, closed when the provider has it

	ok, cancelled, anytime atomic.Int64
}

// script answers as the request's text asks.
func (c *churn) script(_ int, r fake.Request) fake.Behaviour {
	if ch, ok := c.arrived.LoadAndDelete(r.Text); ok {
		close(ch.(chan struct{}))
	}
	switch kind, _, _ := strings.Cut(r.Text, " "); kind {
	case "silent":
		return fake.Silent()
	case "stall":
		return fake.Text("some words of an answer, and then nothing any more").StallAfter(6)
	default:
		return fake.Text("an answer")
	}
}

// TestCancelledRequestsLeaveNothingBehind: of many requests three in ten are
// left by their clients, before headers, in the middle of a stream, while they
// wait for the first word, with half a body sent, and whenever it happens to
// be. Nothing is left over, no provider pays for it, and the books are right.
func TestCancelledRequestsLeaveNothingBehind(t *testing.T) {
	total := 1500
	if soak() {
		total = 10_000
	}
	c := &churn{}
	c.p = provider(t, c.script)
	c.h = open(t, fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
providers:
  same: {wire: openai, url: %q, class: local, model: m}
  cross: {wire: anthropic, url: %q, class: local, model: m}
profiles: {default: {chain: [same]}, other: {chain: [cross]}}
`, c.p.URL(), c.p.URL()))
	c.h.chat("an answer") // whatever is made once is made now
	c.ok.Add(1)
	c.rest(t)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)

	work := make(chan int)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := range work {
				if err := c.one(t.Context(), i); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
	}
	for i := range total {
		work <- i
	}
	close(work)
	wg.Wait()

	c.rest(t)
	eventually(t, "no goroutine, connection or file is left over", func() bool {
		runtime.GC() // a reader pool's connection may be among what is left
		return runtime.NumGoroutine() <= goroutines+2 && descriptors(t) <= files+2
	})
	c.books(t)
}

// rest waits until nothing is under way, and closes idle connections.
func (c *churn) rest(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is under way", func() bool {
		c.h.http.CloseIdleConnections()
		if c.h.d.server.InFlight() > 0 {
			return false
		}
		for _, p := range c.h.d.gateway.Providers() {
			if p.InFlight > 0 {
				return false
			}
		}
		c.h.d.gateway.Close()
		return true
	})
}

// one sends the i-th request.
func (c *churn) one(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, short)
	defer cancel()
	if i%10 >= 3 {
		return c.whole(ctx, i)
	}
	switch i / 10 % 5 {
	case 0: // before headers, when the provider has the request
		text := fmt.Sprintf("silent %d", i)
		arrived := make(chan struct{})
		c.arrived.Store(text, arrived)
		go func() {
			select {
			case <-arrived:
				cancel()
			case <-ctx.Done():
			}
		}()
		if err := c.left(c.send(ctx, i, text)); err != nil {
			return err
		}
		c.cancelled.Add(1)
	case 1: // in the middle of a stream
		resp, err := c.send(ctx, i|1, fmt.Sprintf("stall %d", i))
		if err != nil {
			return err
		}
		if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
			return err
		}
		cancel()
		_ = resp.Body.Close()
		c.cancelled.Add(1)
	case 2: // whenever it happens to be
		time.AfterFunc(time.Duration(rand.Int64N(int64(3*time.Millisecond))), cancel)
		c.anytime.Add(1)
		return c.left(c.send(ctx, i, fmt.Sprintf("silent %d", i)))
	case 3: // the connection is gone when the request has been sent
		return c.raw(i, 1)
	default: // half of the request is sent
		return c.raw(i, 0.5)
	}
	return nil
}

// whole sends a request and reads its answer.
func (c *churn) whole(ctx context.Context, i int) error {
	resp, err := c.send(ctx, i, "an answer")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), "answer") {
		return fmt.Errorf("%d %s, %v", resp.StatusCode, b, err)
	}
	c.ok.Add(1)
	return nil
}

// left is the end of a request that its client has left.
func (c *churn) left(resp *http.Response, err error) error {
	if err == nil {
		_ = resp.Body.Close()
		return fmt.Errorf("it was answered with %d", resp.StatusCode)
	}
	return nil
}

// request is the i-th one: on both wires, whole and streamed, to both kinds of
// provider.
func (c *churn) request(i int, text string) (path, body string) {
	stream := i%2 == 1
	if i%4 < 2 {
		path, body = "/v1/chat/completions", chatBody(text, stream)
	} else {
		path, body = "/v1/messages", fmt.Sprintf(`{"model":"m","max_tokens":9,"stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, text)
	}
	if i%8 < 4 {
		path = "/p/other" + path
	}
	return path, body
}

func (c *churn) send(ctx context.Context, i int, text string) (*http.Response, error) {
	path, body := c.request(i, text)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.h.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return c.h.http.Do(req)
}

// raw sends a part of a request on a connection of its own and closes it.
func (c *churn) raw(i int, part float64) error {
	path, body := c.request(i, fmt.Sprintf("silent %d", i))
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.h.base, "http://"))
	if err != nil {
		return err
	}
	text := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	_, err = conn.Write([]byte(text[:int(part*float64(len(text)))]))
	if part == 1 {
		c.anytime.Add(1)
	}
	_ = conn.Close()
	return err
}

// books stops the daemon, after which everything is written down, and compares
// what was sent with metrics, rows and providers.
func (c *churn) books(t *testing.T) {
	t.Helper()
	if err := c.h.stop(); err != nil {
		t.Fatal(err)
	}
	total, outcomes := c.h.d.metrics.Requests()
	ok, least, most := uint64(c.ok.Load()), uint64(c.cancelled.Load()), uint64(c.cancelled.Load()+c.anytime.Load())
	if outcomes["ok"] != ok || outcomes["cancel"] < least || outcomes["cancel"] > most || total != outcomes["ok"]+outcomes["cancel"] {
		t.Errorf("the outcomes are %v of %d; ok must be %d and cancel %d to %d", outcomes, total, ok, least, most)
	}
	attempts := uint64(0)
	for _, p := range c.h.d.keeper.Views() {
		if p.ConsecutiveFailures != 0 || len(p.Failures) != 0 || p.LastError != nil || p.State != health.Healthy {
			t.Errorf("a provider pays for its clients: %+v", p)
		}
		attempts += p.Successes
	}
	// An answer that has ended is the provider's success, although its last
	// byte may find the caller gone.
	if attempts < ok || attempts > ok+most {
		t.Errorf("the providers count %d successes for %d answers", attempts, ok)
	}
	if n := c.h.d.dropped(); n != 0 {
		t.Errorf("%d rows were dropped", n)
	}

	rows := map[string]uint64{}
	st := reopen(t, c.h.home)
	q := store.RequestQuery{Limit: store.MaxLimit}
	for {
		page, err := st.Requests(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			rows[row.Outcome]++
		}
		if q.Before = page.Next; q.Before == "" {
			break
		}
	}
	if fmt.Sprint(rows) != fmt.Sprint(outcomes) {
		t.Errorf("the rows say %v, the metrics %v", rows, outcomes)
	}
	if lines, broken := readLog(t, c.h.home.Requests()); uint64(len(lines)) != total || broken != 0 {
		t.Errorf("requests.jsonl has %d rows (%d broken) of %d", len(lines), broken, total)
	}
}
