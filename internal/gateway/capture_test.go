package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/wire/scan"
)

// shelf is a store of captures in memory.
type shelf struct {
	mu   sync.Mutex
	kept map[drey.RequestID]store.Capture
}

func (s *shelf) PutCapture(c store.Capture, _ int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[drey.RequestID]store.Capture{}
	}
	s.kept[c.ID] = c
}

// capturing lets a lab capture, and returns what reads a capture by its id; nil
// if there is none.
func (l *lab) capturing(known ...string) func(id drey.RequestID) *api.Capture {
	s := &shelf{}
	c := NewCaptures(CapturesConfig{Store: s, Redactor: func() *redact.Redactor { return redact.New(known...) }})
	l.captures, l.again.cfg.Captures = c, c
	return func(id drey.RequestID) *api.Capture {
		c.drain() // what Serve does
		s.mu.Lock()
		defer s.mu.Unlock()
		one, ok := s.kept[id]
		if !ok {
			return nil
		}
		var doc api.Capture
		if err := json.Unmarshal(one.Whole, &doc); err != nil {
			l.t.Fatal(err)
		}
		if n := c.memory.used.Load(); n != 0 {
			l.t.Errorf("%d bytes are held when everything is written", n)
		}
		return &doc
	}
}

func captureAll(s *Settings) { s.Capture = CaptureSettings{Mode: CaptureAll, Most: 256 << 20} }

const capturedID = "req_0123456789abcdefghijklmn"

var times = regexp.MustCompile(`"(at|ts|ms|at_ms|ttft_ms|created)": ?("[^"]*"|[0-9.e-]+)|\\"created\\":[0-9]+`)

// TestCaptureGolden: a request that two providers were asked for, as the store
// keeps it.
func TestCaptureGolden(t *testing.T) {
	l := newLab(t, captureAll,
		scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Status(500, "api_error", "the key of-somebody is bad").Header("Set-Cookie", "a=b").Header("X-Request-Id", "up_1"))},
		scripted{id: "b", wire: drey.WireAnthropic, script: fake.Always(fake.Pieces("hello ", "you of-", "somebody", " there"))})
	read := l.capturing("of-somebody")
	l.ask(t.Context(), drey.WireAnthropic, prompt(drey.WireAnthropic, true), func(r *Request) {
		r.Query, r.PathProfile = "beta=true", "default"
		r.Header = http.Header{"Authorization": {"Bearer x"}, "User-Agent": {"agent/1"}, "Anthropic-Version": {"2023-06-01"}, "X-Api-Key": {"y"}}
	})
	doc, err := json.MarshalIndent(read(capturedID), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "capture.golden.json", append(times.ReplaceAll(doc, []byte(`"$1":0`)), '\n'))
}

func TestCaptureModes(t *testing.T) {
	ok, server, left := AttemptRecord{OK: true}, AttemptRecord{Class: drey.Server}, AttemptRecord{Class: drey.Cancel}
	for _, tt := range []struct {
		name        string
		outcome     Outcome
		attempts    []AttemptRecord
		errors, all bool
	}{
		{"well", OutcomeOK, []AttemptRecord{ok}, false, true},
		{"well at the second", OutcomeOK, []AttemptRecord{server, ok}, true, true},
		{"failed", OutcomeFailed, []AttemptRecord{server}, true, true},
		{"failed with nobody to ask", OutcomeFailed, nil, true, true},
		{"broke off", OutcomeFailedMidstream, []AttemptRecord{{Class: drey.BadOutput, Committed: true}}, true, true},
		{"refused", OutcomeRefused, nil, true, true},
		{"the caller left", OutcomeCancel, []AttemptRecord{left}, false, true},
		{"the caller left at the second", OutcomeCancel, []AttemptRecord{server, left}, true, true},
	} {
		r := &Record{Outcome: tt.outcome, Attempts: tt.attempts}
		if CaptureOff.wants(r) || CaptureErrors.wants(r) != tt.errors || CaptureAll.wants(r) != tt.all {
			t.Errorf("%s: off %v, errors %v, all %v", tt.name, CaptureOff.wants(r), CaptureErrors.wants(r), CaptureAll.wants(r))
		}
	}
}

// TestCaptureOff: nothing is kept, and nothing is even looked at.
func TestCaptureOff(t *testing.T) {
	l := newLab(t, nil, scripted{id: "a", wire: drey.WireChat, script: hello("hello")})
	read := l.capturing()
	l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
	if l.last().Captured || read(capturedID) != nil {
		t.Error("it was captured")
	}
	if (*capture)(nil).tap(nil) != nil {
		t.Error("a tap that looks at nothing is no nil")
	}
}

// TestCaptureRefused: what no provider was asked is kept too.
func TestCaptureRefused(t *testing.T) {
	l := newLab(t, func(s *Settings) { s.Capture.Mode = CaptureErrors }, scripted{id: "a", wire: drey.WireChat, script: hello("hello")})
	read := l.capturing()
	if a := l.ask(t.Context(), drey.WireChat, `{"model":"drey/nope","messages":[]}`); a.status != 400 {
		t.Fatalf("%+v", a)
	}
	c := read(capturedID)
	if c == nil || !l.last().Captured || len(c.Attempts) != 0 || gjson.GetBytes(c.Row, "outcome").Str != "refused" || !gjson.GetBytes(c.Row, "captured").Bool() {
		t.Errorf("%+v", c)
	}
}

// TestCaptureBounds: what is too large is cut, at the end, and says so.
func TestCaptureBounds(t *testing.T) {
	l := newLab(t, func(s *Settings) { s.Capture = CaptureSettings{CaptureAll, 4000} }, // a quarter for a body, and one for all answers
		scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.ServerError())},
		scripted{id: "b", wire: drey.WireChat, script: fake.Always(fake.Text(strings.Repeat("word ", 100)))})
	read := l.capturing()
	body := fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"user","content":%q}]}`, strings.Repeat("x", 5000))
	if a := l.ask(t.Context(), drey.WireChat, body); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	c := read(capturedID)
	if !c.Cut || c.Bytes != len(body) || c.Body != body[:1000] {
		t.Errorf("the body: cut %v, %d bytes, %d kept", c.Cut, c.Bytes, len(c.Body))
	}
	kept := len(c.Attempts[0].Body)
	for _, f := range c.Attempts[1].Frames {
		kept += len(f.Raw)
	}
	if b := c.Attempts[1]; c.Attempts[0].Cut || !b.Cut || b.Bytes < 5000 || kept != 1000 {
		t.Errorf("the answers: %d bytes kept of %d, cut %v", kept, b.Bytes, b.Cut)
	}
	if _, err := l.Replay(t.Context(), c, ReplayAsk{}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a replay of half a request: %v", err)
	}
}

// TestCaptureMemory: where too much is held, requests go on and are not
// captured.
func TestCaptureMemory(t *testing.T) {
	l := newLab(t, captureAll, scripted{id: "a", wire: drey.WireChat, script: hello("hello")})
	read := l.capturing()
	for _, left := range []int64{0, 200} { // nothing, and no more than the body
		l.captures.memory.used.Store(captureMemory - left)
		a := l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
		if _, complete := a.text(drey.WireChat); !complete || l.last().Captured != (left > 0) {
			t.Errorf("%d bytes left: %+v, captured %v", left, a, l.last().Captured)
		}
		if n := l.captures.memory.used.Load(); left == 0 && n != captureMemory {
			t.Errorf("%d bytes more are held than before", n-captureMemory)
		}
	}
	l.captures.memory.used.Add(-(captureMemory - 200))
	if c := read(capturedID); c == nil || !c.Attempts[0].Cut || c.Cut {
		t.Errorf("%+v", c)
	}
}

// TestFrameTimes: each frame knows when it came.
func TestFrameTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, captureAll, scripted{id: "a", wire: drey.WireChat, script: fake.Always(fake.Text("one two").TTFT(20 * time.Millisecond).Gap(30 * time.Millisecond))})
		read := l.capturing()
		l.ask(t.Context(), drey.WireChat, prompt(drey.WireChat, true))
		at := map[string]float64{}
		for _, f := range read(capturedID).Attempts[0].Frames {
			for _, word := range []string{"one ", "two"} {
				if strings.Contains(f.Raw, word) {
					at[word] = f.MS
				}
			}
		}
		if at["one "] != 20 || at["two"] != 50 {
			t.Errorf("%v", at)
		}
	})
}

// TestMaskedStreams: however a secret is cut over the frames of a stream, it is
// not in what is kept, and the frames are still frames with JSON in them.
func TestMaskedStreams(t *testing.T) {
	const secret = `top "secret"\ of 42`
	m := masker{redact.New(secret)}
	rapid.Check(t, func(t *rapid.T) {
		whole := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{secret, "é ", "text ", `\`, `"`, "top "}), 1, 5).Draw(t, "parts"), "")
		var frames []string
		for rest := whole; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			for n < len(rest) && rest[n]&0xc0 == 0x80 {
				n++ // a frame holds whole characters
			}
			text := scan.AppendString(nil, rest[:n])
			rest = rest[n:]
			frame := rapid.SampledFrom([]string{
				"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n",
				"event: x\r\ndata:{\"choices\":[{\"delta\":{\"content\":%s},\"n\":1}]}\r\n\r\n",
			}).Draw(t, "frame")
			frames = append(frames, fmt.Sprintf(frame, text))
			if rapid.Bool().Draw(t, "ping") {
				frames = append(frames, ": ping\n\n")
			}
		}
		var told strings.Builder
		for i, f := range m.stream(frames) {
			if strings.HasPrefix(f, ":") {
				continue
			}
			_, data := dataOf(f)
			if !gjson.Valid(data) || strings.Count(f, "\n") != strings.Count(frames[i], "\n") {
				t.Fatalf("frame %d is broken: %q", i, f)
			}
			told.WriteString(gjson.Get(data, "choices.0.delta.content").Str)
		}
		if got, want := told.String(), m.Pieces([]string{whole}, true)[0]; got != want || strings.Contains(got, secret) {
			t.Fatalf("%q in %q\n got %q\nwant %q", whole, frames, got, want)
		}
	})
}

// TestFramesAreTheStream: whatever came, whole or not, is in the frames once and
// in order, and each ends where it ended in the stream.
func TestFramesAreTheStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"data: {}", "\n", "\n\n", "\r\n\r\n", "\r", ": x", "event: y\n", "é"})).Draw(t, "parts"), "")
		mark := rapid.SampledFrom([]string{"", "\ufeff"}).Draw(t, "mark")
		list, ends := frames([]byte(mark + raw))
		if got := strings.Join(list, ""); got != raw || len(list) != len(ends) {
			t.Fatalf("%q of %q", got, raw)
		}
		at := len(mark)
		for i, f := range list {
			if at += len(f); ends[i] != at {
				t.Fatalf("frame %d of %q ends at %d, want %d", i, raw, ends[i], at)
			}
		}
	})
}

// TestOffCostsNothing: without a capture the way of a frame is as it was.
func TestOffCostsNothing(t *testing.T) {
	var c *capture
	if n := testing.AllocsPerRun(100, func() {
		c.keep(nil)
		c.release()
		_ = c.tap(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
