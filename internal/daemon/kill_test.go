package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/store"
)

const killStreams = 64

// TestKill kills a daemon in the middle of 64 streams, over and over on one
// home. Every request of them falls back, which is journaled; what a live
// reader has seen of that is acknowledged, and must be there for ever after.
func TestKill(t *testing.T) {
	rounds := 5
	if soak() {
		rounds = 60
	}
	bad := provider(t, fake.Always(fake.ServerError()))
	good := provider(t, fake.Always(fake.Text("an answer of some words that takes its time").Gap(time.Millisecond)))
	home := newHome(t, fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
logs: {level: error}
providers:
  bad: {wire: openai, url: %q, class: local, model: m}
  good: {wire: anthropic, url: %q, class: local, model: m}
profiles: {default: {chain: [bad, good]}}
`, bad.URL(), good.URL()))

	acked := map[drey.Seq]json.RawMessage{}
	for round := range rounds {
		at := time.Now()
		c := startChild(t, home)
		if took := time.Since(at); took > short { // with the race detector, on a busy machine
			t.Errorf("the start of round %d took %v", round, took)
		}
		checkJournal(t, c, acked)
		if got := c.chat("does it serve?"); got.status != 200 || !strings.Contains(got.body, "words") {
			t.Fatalf("round %d: %d %s", round, got.status, got.body)
		}
		killInTheMiddle(t, c, acked, 100+rand.IntN(300))
		checkLogs(t, c, acked, round+1)
	}
	// A row of a request may be lost with the last second; not once it is shown.
	c := startChild(t, home)
	id := c.chat("is it written down?").header.Get("X-Request-Id")
	ctl := c.control()
	eventually(t, "the row is shown", func() bool {
		_, err := ctl.Request(t.Context(), drey.RequestID(id))
		return err == nil
	})
	c.kill()
	c.gone()
	c = startChild(t, home)
	checkJournal(t, c, acked)
	checkRows(t, c, id)
	c.kill()
	c.gone()
	t.Logf("%d acknowledged events have survived %d kills", len(acked), rounds)
}

// killInTheMiddle drives streams through the daemon, kills it when so many
// events have been seen, and adds what was seen to acked.
func killInTheMiddle(t *testing.T, c *child, acked map[drey.Seq]json.RawMessage, events int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range killStreams {
		wg.Go(func() {
			for ctx.Err() == nil {
				stream(ctx, c, i%2 == 0)
			}
		})
	}
	ctl := c.control()
	seen := 0
	deadline := time.AfterFunc(short, cancel)
	defer deadline.Stop()
	lost := func(error) { cancel() }
	for m, err := range ctl.Events(ctx, client.EventQuery{Event: "fallback-*", Lost: lost}) {
		if err != nil {
			break
		}
		if m.Event.Seq == 0 {
			continue
		}
		acked[m.Event.Seq] = m.Data
		if seen++; seen == events {
			c.kill() // and read on: what was sent before is acknowledged too
		}
	}
	cancel()
	c.kill()
	wg.Wait()
	c.gone()
	if seen < events {
		t.Fatalf("only %d events were seen", seen)
	}
}

// stream sends one streamed request and reads what comes.
func stream(ctx context.Context, c *child, chat bool) {
	path, body := "/v1/messages", `{"model":"m","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	if chat {
		path, body = "/v1/chat/completions", chatBody("hi", true)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, strings.NewReader(body))
	if err != nil {
		return
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return // it has been killed
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // likewise
}

// checkJournal reads the whole journal: it has no hole and no torn row, and
// holds what was acknowledged, as it was.
func checkJournal(t *testing.T, c *child, acked map[drey.Seq]json.RawMessage) {
	t.Helper()
	ctl := c.control()
	last := drey.Seq(0)
	found := 0
	for {
		page, err := ctl.EventPage(t.Context(), client.EventQuery{After: &last, Limit: store.MaxLimit})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range page.Events {
			if ev.Seq != last+1 {
				t.Errorf("after seq %d comes %d", last, ev.Seq)
			}
			last = ev.Seq
			want, ok := acked[ev.Seq]
			if !ok {
				continue
			}
			found++
			got, err := ev.MarshalJSON()
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("seq %d was acknowledged as\n     %s\nand is %s (%v)", ev.Seq, want, got, err)
			}
		}
		if page.NextCursor == "" {
			break
		}
	}
	if found != len(acked) {
		t.Errorf("%d of %d acknowledged events are there", found, len(acked))
	}
}

// checkLogs reads the logs of a daemon that was killed: each kill may have torn
// one line of each, and nothing in them goes beyond the journal.
func checkLogs(t *testing.T, c *child, acked map[drey.Seq]json.RawMessage, kills int) {
	t.Helper()
	audit, broken := readLog(t, c.home.Audit())
	if broken > kills {
		t.Errorf("after %d kills, %d lines of audit.jsonl are broken", kills, broken)
	}
	for _, row := range audit {
		var ev drey.Event
		if err := json.Unmarshal([]byte(row), &ev); err != nil {
			t.Errorf("audit.jsonl has a row %s: %v", row, err)
		}
		if want, ok := acked[ev.Seq]; ok && row != string(want) {
			t.Errorf("audit.jsonl says %s, where the journal has %s", row, want)
		}
	}
	if _, broken := readLog(t, c.home.Requests()); broken > kills {
		t.Errorf("after %d kills, %d lines of requests.jsonl are broken", kills, broken)
	}
}

// checkRows walks all rows of requests. That of id must be among them.
func checkRows(t *testing.T, c *child, id string) {
	t.Helper()
	ctl := c.control()
	seen := map[string]bool{}
	q := client.RequestQuery{Limit: store.MaxLimit}
	for {
		page, err := ctl.Requests(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range page.Requests {
			var row rowOf
			if err := json.Unmarshal(raw, &row); err != nil || row.Outcome == "" || seen[row.ID] {
				t.Errorf("a row is torn or there twice: %s, %v", raw, err)
			}
			seen[row.ID] = true
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
	}
	if !seen[id] {
		t.Errorf("the row of %s is gone", id)
	}
}
