package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// watcher reads a live stream frame by frame.
type watcher struct {
	t      *testing.T
	resp   *http.Response
	frames *sse.Reader
}

func (l *lab) watch(query string, headers ...string) *watcher {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), "GET", l.url+"/api/v1/events"+query, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := l.http.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || !requestID.MatchString(resp.Header.Get("X-Drey-Request-Id")) {
		l.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return &watcher{l.t, resp, sse.NewReader(resp.Body, 0)}
}

// next returns the next message as "id name data-event-or-data"; places and
// comments are passed over.
func (w *watcher) next() string {
	w.t.Helper()
	for {
		f, err := w.frames.Next()
		if err != nil {
			return err.Error()
		}
		if f.Data == nil {
			continue
		}
		data := string(f.Data)
		if e := gjson.GetBytes(f.Data, "event"); e.Exists() && e.Str != f.Name {
			w.t.Errorf("frame %q holds %s", f.Name, data)
		}
		if s := gjson.GetBytes(f.Data, "seq").String(); f.Name != "overflow" && f.Name != "hibernating" && f.ID != s && f.Name != "gap" {
			w.t.Errorf("frame id %q holds seq %q", f.ID, s)
		}
		if f.Name == "gap" || f.Name == "overflow" {
			return fmt.Sprintf("%s %s %s", f.ID, f.Name, data)
		}
		return fmt.Sprintf("%s %s", f.ID, f.Name)
	}
}

// place reads the frame with which every stream begins.
func (w *watcher) place() string {
	w.t.Helper()
	f, err := w.frames.Next()
	if err != nil || f.Data != nil {
		w.t.Fatalf("a stream began with %q, %v", f.Raw, err)
	}
	return f.ID
}

func (l *lab) emit(names ...string) {
	for _, n := range names {
		l.bus.Emit(event(n))
	}
}

func TestLive(t *testing.T) {
	t.Run("from now", func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.emit("old")
		w := l.watch("")
		if p := w.place(); p != "1" {
			t.Errorf("from now is behind %q", p)
		}
		l.emit("new")
		if got := w.next(); got != "2 new" {
			t.Error(got)
		}
	})
	t.Run("behind a seq", func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.emit("a", "b", "c")
		for _, headers := range [][]string{{}, {"Last-Event-ID", "1", "q", "?after=0"}} {
			query := "?after=1"
			if len(headers) > 0 { // the header wins
				query = "?after=0"
			}
			w := l.watch(query, headers...)
			for _, want := range []string{"2 b", "3 c"} {
				if got := w.next(); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		}
	})
	t.Run("from the beginning, in pages", func(t *testing.T) {
		l := newLab(t, nil, nil)
		for i := range 2500 {
			l.emit("e" + strconv.Itoa(i))
		}
		w := l.watch("?after=0")
		for i := range 2500 {
			if got, want := w.next(), fmt.Sprintf("%d e%d", i+1, i); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	})
	t.Run("telemetry has no id and is not repeated", func(t *testing.T) {
		l := newLab(t, nil, nil)
		w := l.watch("")
		w.place()
		<-l.bus.subscribed // telemetry is for those who listen
		l.bus.Publish(drey.Event{At: time.Now(), Name: "try-provider", RequestID: "req_1"})
		if got := w.next(); got != " try-provider" {
			t.Errorf("got %q", got)
		}
		l.emit("next")
		if got := w.next(); got != "1 next" {
			t.Errorf("got %q", got)
		}
		again := l.watch("?after=0")
		if got := again.next(); got != "1 next" {
			t.Errorf("repeated: got %q", got)
		}
	})
	t.Run("filters hold for the journal and live", func(t *testing.T) {
		for query, want := range map[string][]string{
			"event=provider-*":    {"1 provider-parked", "2 provider-unparked", "4 provider-parked"},
			"machine=profile":     {"4 provider-parked"},
			"id=other":            {"4 provider-parked"},
			"request_id=req_7":    {"4 provider-parked"},
			"event=config-lo??ed": {"3 config-loaded"},
		} {
			l := newLab(t, nil, nil)
			all := func() {
				l.emit("provider-parked", "provider-unparked", "config-loaded")
				l.bus.Emit(drey.Event{At: time.Now(), Name: "provider-parked", Machine: "profile", ID: "other", RequestID: "req_7"})
			}
			all()
			w := l.watch("?after=0&" + query)
			for _, round := range []int{0, 4} {
				for _, want := range want {
					seq, name, _ := strings.Cut(want, " ")
					n, _ := strconv.Atoi(seq)
					if got, want := w.next(), fmt.Sprintf("%d %s", round+n, name); got != want {
						t.Errorf("%s: got %s, want %s", query, got, want)
					}
				}
				all()
			}
		}
	})
	t.Run("a pruned cursor", func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.emit("a", "b", "c", "d", "e")
		l.journal.prune(3)
		for query, want := range map[string][]string{
			"?after=1": {`3 gap {"from":2,"to":3}`, "4 d", "5 e"},
			"?after=0": {`3 gap {"from":1,"to":3}`, "4 d", "5 e"},
			"?after=3": {"4 d", "5 e"},
			"?after=9": {`5 gap {"from":1,"to":5}`},
		} {
			w := l.watch(query)
			for _, want := range want {
				if got := w.next(); got != want {
					t.Errorf("%s: got %s, want %s", query, got, want)
				}
			}
		}
		l.journal.prune(5)
		if got := l.watch("?after=2").next(); got != `5 gap {"from":3,"to":5}` {
			t.Errorf("with everything gone: %s", got)
		}
	})
	t.Run("an event that no JSON can hold comes bare", func(t *testing.T) {
		l := newLab(t, nil, nil)
		w := l.watch("")
		w.place()
		l.bus.Emit(event("odd", drey.F("f", func() {})))
		if got := w.next(); got != "1 odd" {
			t.Error(got)
		}
	})
	t.Run("secrets stay in", func(t *testing.T) {
		l := newLab(t, nil, nil)
		l.bus.Emit(event("told", drey.F("text", "HUSH")))
		r := l.ask("GET", "/api/v1/events", "", "Accept", "application/json")
		if strings.Contains(r.body, "HUSH") || !strings.Contains(r.body, "[redacted]") {
			t.Error(r.body)
		}
	})
	t.Run("the end of the bus is the end of the stream", func(t *testing.T) {
		l := newLab(t, nil, nil)
		w := l.watch("")
		w.place()
		l.stop()
		if got := w.next(); got != "EOF" && got != "unexpected EOF" {
			t.Error(got)
		}
	})
}

func TestEventsInPages(t *testing.T) {
	l := newLab(t, nil, nil)
	for i := range 250 {
		l.emit("e" + strconv.Itoa(i))
	}
	seen := 0
	for after := "0"; after != ""; {
		r := l.ask("GET", "/api/v1/events?after="+after, "", "Accept", "application/json")
		r.checkID(t)
		for _, ev := range gjson.Get(r.body, "events").Array() {
			seen++
			if ev.Get("seq").Int() != int64(seen) {
				t.Fatalf("event %d is %s", seen, ev.Raw)
			}
		}
		if gjson.Get(r.body, "as_of_seq").Int() != 250 {
			t.Error(gjson.Get(r.body, "as_of_seq").Raw)
		}
		after = gjson.Get(r.body, "next_cursor").Str
	}
	if seen != 250 {
		t.Errorf("a walk met %d events", seen)
	}
	r := l.ask("GET", "/api/v1/events?newest=true&limit=2", "", "Accept", "application/json")
	if got := gjson.Get(r.body, "events.#.seq").Raw; got != "[249,250]" {
		t.Errorf("the newest are %s", got)
	}
}

// TestNoGapNoRepetition lets readers come, fall behind and come back while
// events are emitted from several sides: each has to see every seq behind its
// place once, in order.
func TestNoGapNoRepetition(t *testing.T) {
	l := newLab(t, nil, nil)
	const emitters, each, readers = 4, 300, 8
	const begun = 50 * readers // the readers begin at different places of it
	const last = begun + emitters*each
	for range begun {
		l.emit("e")
	}
	var wg sync.WaitGroup
	for range emitters {
		wg.Go(func() {
			for i := range each {
				l.emit("e")
				if i%10 == 0 {
					l.bus.Publish(event("telemetry"))
				}
			}
		})
	}
	for r := range readers {
		wg.Go(func() {
			at := r * 50
			for connection := 0; at < last; connection++ {
				w := l.watch("?after=" + strconv.Itoa(at))
				for n := 0; at < last; n++ {
					f, err := w.frames.Next()
					if err != nil || f.Name == "overflow" || connection < 3 && n > 40*(r+1) {
						break // and come back
					}
					if f.Data == nil || f.ID == "" {
						continue
					}
					seq, _ := strconv.Atoi(f.ID)
					if seq != at+1 {
						t.Errorf("reader %d saw %d behind %d", r, seq, at)
						return
					}
					at = seq
				}
				w.resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

// TestJoin commits events at the worst moments: just before and within each
// look at the journal, and live behind them.
func TestJoin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bursts := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 8).Draw(rt, "bursts")
		before := rapid.IntRange(0, 4).Draw(rt, "before")
		after := rapid.IntRange(0, 5).Draw(rt, "after")
		resume := rapid.Bool().Draw(rt, "resume")
		odd := rapid.Bool().Draw(rt, "only odd")
		synctest.Test(t, func(t *testing.T) {
			j := &journal{}
			bus := events.New(events.Config{Journal: j})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { _ = bus.Serve(ctx); close(done) }()
			n := 0
			emit := func(count int) {
				for range count {
					n++
					bus.Emit(event([]string{"even", "odd"}[n%2]))
				}
			}
			emit(before)
			step := 0
			j.onQuery = func() {
				if step < len(bursts) {
					emit(bursts[step])
				}
				step++
			}
			s := &Server{cfg: Config{Journal: j, Bus: bus, Redact: func(b []byte) []byte { return b }}, live: context.Background()}
			w := &memory{header: http.Header{}}
			q := store.Query{After: drey.Seq(min(after, before))}
			if odd {
				q.Event = "odd"
			}
			start := min(after, before)
			if !resume {
				start = before // nothing is emitted before the head is read
			}
			left := make(chan struct{})
			readCtx, leave := context.WithCancel(t.Context())
			go func() { s.follow(readCtx, w, q, resume); close(left) }()
			synctest.Wait()
			emit(2)
			synctest.Wait()
			leave()
			<-left
			cancel()
			<-done
			var want []int
			for seq := start + 1; seq <= n; seq++ {
				if !odd || seq%2 == 1 {
					want = append(want, seq)
				}
			}
			if diff := cmp.Diff(want, w.seqs(t)); diff != "" {
				rt.Errorf("seqs (-want +got):\n%s", diff)
			}
		})
	})
}

// memory is a ResponseWriter that keeps what is written, and blocks while it is
// told to.
type memory struct {
	header http.Header
	mu     sync.Mutex
	b      bytes.Buffer
	block  chan struct{}
	err    error
}

func (m *memory) Header() http.Header { return m.header }
func (m *memory) WriteHeader(int)     {}
func (m *memory) FlushError() error   { return nil }
func (m *memory) Write(p []byte) (int, error) {
	if m.block != nil {
		<-m.block
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	return m.b.Write(p)
}

func (m *memory) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b.String()
}

func (m *memory) seqs(t *testing.T) (out []int) {
	r := sse.NewReader(strings.NewReader(m.text()), 0)
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Data != nil && f.ID != "" {
			n, _ := strconv.Atoi(f.ID)
			out = append(out, n)
		}
	}
}

// bubble runs follow within synctest on a writer in memory.
func bubble(t *testing.T, w *memory, play func(bus *events.Bus)) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		bus := events.New(events.Config{Journal: j})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = bus.Serve(ctx) })
		s := &Server{cfg: Config{Journal: j, Bus: bus, Redact: func(b []byte) []byte { return b }}, live: context.Background()}
		if w.block != nil {
			w.block = make(chan struct{}) // of this bubble
		}
		wg.Go(func() { s.follow(ctx, w, store.Query{Event: "shown*"}, false) })
		synctest.Wait()
		play(bus)
		cancel()
		wg.Wait()
	})
}

func TestCommentsKeepAQuietStreamAlive(t *testing.T) {
	w := &memory{header: http.Header{}}
	bubble(t, w, func(bus *events.Bus) {
		time.Sleep(10 * time.Second)
		synctest.Wait()
		bus.Emit(event("shown"))
		bus.Emit(event("hidden"))
		time.Sleep(14 * time.Second)
		synctest.Wait()
		if got := w.text(); strings.Contains(got, "still here") {
			t.Errorf("a comment 14 s after a message: %q", got)
		}
		time.Sleep(17 * time.Second)
		synctest.Wait()
		// The place moves over what is not shown, so that a reader who comes
		// back does not ask for it again.
		if got := w.text(); strings.Count(got, "id: 2\n: still here\n\n") != 2 {
			t.Errorf("31 s after a message: %q", got)
		}
	})
}

func TestAReaderThatFallsBehindIsToldAndLeft(t *testing.T) {
	w := &memory{header: http.Header{}, block: make(chan struct{})}
	bubble(t, w, func(bus *events.Bus) {
		w.block <- struct{}{} // the place
		synctest.Wait()       // it listens now
		for range 1200 {
			bus.Emit(event("shown"))
		}
		synctest.Wait()
		close(w.block)
		synctest.Wait()
		got := w.text()
		if !strings.HasSuffix(got, "event: overflow\ndata: {\"seq\":1025}\n\n") {
			t.Errorf("the end is %q", got[max(0, len(got)-200):])
		}
		if seqs := w.seqs(t); len(seqs) != 1025 || seqs[1024] != 1025 {
			t.Errorf("%d events before it", len(seqs))
		}
	})
}

func TestAReaderThatIsGoneIsLeft(t *testing.T) {
	w := &memory{header: http.Header{}}
	left := false
	bubble(t, w, func(bus *events.Bus) {
		w.mu.Lock()
		w.err = io.ErrClosedPipe
		w.mu.Unlock()
		bus.Emit(event("shown"))
		synctest.Wait()
		bus.Emit(event("shown"))
		synctest.Wait()
		left = true
	})
	if !left || len(w.seqs(t)) != 0 {
		t.Error(w.text())
	}
}
