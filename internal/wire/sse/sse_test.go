package sse_test

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/wire/sse"
	"github.com/google/go-cmp/cmp"
)

// frame is an Event whose bytes are its own.
type frame struct {
	Name, ID, Data, Raw string
	NoData, Partial     bool
	Retry               time.Duration
}

func readAll(t testing.TB, src io.Reader, limit int) ([]frame, error) {
	t.Helper()
	r := sse.NewReader(src, limit)
	var out []frame
	for {
		ev, err := r.Next()
		if err == io.EOF {
			if _, again := r.Next(); again != io.EOF {
				t.Errorf("Next after io.EOF: %v", again)
			}
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, frame{ev.Name, ev.ID, string(ev.Data), string(ev.Raw), ev.Data == nil, ev.Partial, ev.Retry})
	}
}

// cutter gives the text in two reads, cut at a byte, or byte by byte.
type cutter struct {
	text string
	at   int // < 0: one byte at a time
}

func (c *cutter) Read(p []byte) (int, error) {
	if c.text == "" {
		return 0, io.EOF
	}
	n := len(c.text)
	switch {
	case c.at < 0:
		n = 1
	case c.at > 0:
		n, c.at = c.at, 0
	}
	n = copy(p, c.text[:min(n, len(c.text))])
	c.text = c.text[n:]
	return n, nil
}

var readCases = []struct {
	name, in string
	want     []frame
}{
	{"an empty stream", "", nil},
	{"only blank lines", "\n\r\n\r", nil},
	{"one event", "event: ping\ndata: {}\n\n", []frame{{Name: "ping", Data: "{}", Raw: "event: ping\ndata: {}\n\n"}}},
	{"CRLF", "event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", []frame{
		{Name: "a", Data: "1", Raw: "event: a\r\ndata: 1\r\n\r\n"}, {Data: "2", Raw: "data: 2\r\n\r\n"}}},
	{"CR alone", "data: 1\r\rdata: 2\r\r", []frame{{Data: "1", Raw: "data: 1\r\r"}, {Data: "2", Raw: "data: 2\r\r"}}},
	{"mixed ends", "data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\n\ndata: 4\n\n", []frame{
		{Data: "1", Raw: "data: 1\r\n\n"}, {Data: "2", Raw: "data: 2\n\r\n"},
		{Data: "3", Raw: "data: 3\r\r"}, {Data: "4", Raw: "\n\ndata: 4\n\n"}}},
	{"a byte order mark", "\xef\xbb\xbfdata: x\n\n", []frame{{Data: "x", Raw: "data: x\n\n"}}},
	{"half a byte order mark is a field name", "\xef\xbbdata: x\n\n", []frame{{NoData: true, Raw: "\xef\xbbdata: x\n\n"}}},
	{"several data lines", "data: a\ndata:b\ndata\ndata:  c\n\n", []frame{{Data: "a\nb\n\n c", Raw: "data: a\ndata:b\ndata\ndata:  c\n\n"}}},
	{"empty data is data", "data\n\n", []frame{{Raw: "data\n\n"}}},
	{"a comment is a frame", ": ping\n\n", []frame{{NoData: true, Raw: ": ping\n\n"}}},
	{"a comment inside a frame", ": hi\ndata: x\n\n", []frame{{Data: "x", Raw: ": hi\ndata: x\n\n"}}},
	{"blank lines before a frame stay with it", "\n\ndata: x\n\n", []frame{{Data: "x", Raw: "\n\ndata: x\n\n"}}},
	{"id and retry", "id: 7\nretry: 1500\ndata: x\n\nid: a\x00b\nretry: soon\ndata: y\n\n", []frame{
		{ID: "7", Retry: 1500 * time.Millisecond, Data: "x", Raw: "id: 7\nretry: 1500\ndata: x\n\n"},
		{Data: "y", Raw: "id: a\x00b\nretry: soon\ndata: y\n\n"}}},
	{"unknown fields and a value with colons", "x: y\nevent: a: b\ndata: c:d\n\n", []frame{{Name: "a: b", Data: "c:d", Raw: "x: y\nevent: a: b\ndata: c:d\n\n"}}},
	{"the last blank line is missing", "data: x\n", []frame{{Data: "x", Raw: "data: x\n\n", Partial: true}}},
	{"the last line end is missing", "event: a\ndata: x", []frame{{Name: "a", Data: "x", Raw: "event: a\ndata: x\n\n", Partial: true}}},
	{"the stream ends in a CR", "data: x\r", []frame{{Data: "x", Raw: "data: x\r\n", Partial: true}}},
	{"the stream ends in CRLF CR", "data: x\r\n\r", []frame{{Data: "x", Raw: "data: x\r\n\r"}}},
}

func TestReader(t *testing.T) {
	for _, tt := range readCases {
		t.Run(tt.name, func(t *testing.T) {
			for at := -1; at <= len(tt.in); at++ {
				got, err := readAll(t, &cutter{tt.in, at}, 0)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Fatalf("cut at %d:\n%s", at, d)
				}
			}
		})
	}
}

// TestReaderDoesNotWait says that a frame is told when its blank line is there,
// not when the next frame begins: a stream may be silent for minutes.
func TestReaderDoesNotWait(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		in := "event: a" + end + "data: x" + end + end
		r := sse.NewReader(io.MultiReader(strings.NewReader(in), blocked{t}), 0)
		if ev, err := r.Next(); err != nil || string(ev.Data) != "x" {
			t.Errorf("end %q: %q, %v", end, ev.Data, err)
		}
	}
}

type blocked struct{ t *testing.T }

func (b blocked) Read([]byte) (int, error) {
	b.t.Error("read past the end of a frame")
	return 0, io.ErrUnexpectedEOF
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("reset by peer")
	src := io.MultiReader(strings.NewReader("data: 1\n\ndata: 2\n\ndata: {\"a"), errReader{broken})
	got, err := readAll(t, src, 0)
	if err != broken || len(got) != 2 {
		t.Errorf("frames before a broken connection: %v, %v", got, err)
	}
	if _, err := readAll(t, stuck{}, 0); err != io.ErrNoProgress {
		t.Errorf("a reader that never gives anything: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderLimit(t *testing.T) {
	const limit = 10_000
	fits := "data: " + strings.Repeat("x", limit-8) + "\n\n"
	for at := range 40 {
		cut := at * 300
		if got, err := readAll(t, &cutter{fits + fits, cut}, limit); err != nil || len(got) != 2 {
			t.Fatalf("cut at %d: %d frames of the limit's size, %v", cut, len(got), err)
		}
		if got, err := readAll(t, &cutter{fits + "data: y" + fits, cut}, limit); err != sse.ErrTooLarge || len(got) != 1 {
			t.Fatalf("cut at %d: %d frames, then one that is too large: %v", cut, len(got), err)
		}
	}
}

func TestReaderAllocates(t *testing.T) {
	src := &endless{text: stream()}
	r := sse.NewReader(src, 0)
	next := func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n > 0 {
		t.Errorf("%v allocations per frame in the steady state", n)
	}
}

// endless repeats a text in reads of 1,000 bytes.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), 1000)], e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

func stream() string {
	var b []byte
	for i := range 20 {
		b = sse.AppendEvent(b, "content_block_delta", []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word`+strconv.Itoa(i)+`"}}`))
	}
	return string(sse.AppendEvent(b, "", []byte("two\nlines")))
}

func TestWriter(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"an event", string(sse.AppendEvent(nil, "ping", []byte("{}"))), "event: ping\ndata: {}\n\n"},
		{"without a name", string(sse.AppendEvent(nil, "", []byte("[DONE]"))), "data: [DONE]\n\n"},
		{"no data", string(sse.AppendEvent(nil, "a", nil)), "event: a\ndata: \n\n"},
		{"lines cannot forge a field", string(sse.AppendEvent(nil, "", []byte("a\nevent: b\r\nc\rd"))), "data: a\ndata: event: b\ndata: c\ndata: d\n\n"},
		{"a live event", string(sse.AppendLive(nil, "7", "state_transition", []byte("{}"))), "id: 7\nevent: state_transition\ndata: {}\n\n"},
		{"a comment", string(sse.AppendComment(nil, "drey provider=a\nb")), ": drey provider=a\n: b\n\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, tt := range readCases {
		f.Add(tt.in, len(tt.in)/2)
	}
	f.Fuzz(func(t *testing.T, in string, at int) {
		whole, err := readAll(t, strings.NewReader(in), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, src := range []io.Reader{&cutter{in, -1}, &cutter{in, max(0, min(at, len(in)))}} {
			cut, err := readAll(t, src, 0)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(whole, cut); d != "" {
				t.Fatalf("another cut, other frames:\n%s", d)
			}
		}
		// No byte of a frame is lost or made up, but for the end of the last.
		var raw []byte
		for i, fr := range whole {
			if fr.Partial != (i == len(whole)-1 && fr.Partial) {
				t.Fatal("a partial frame that is not the last")
			}
			raw = append(raw, fr.Raw...)
		}
		body := bytes.TrimPrefix([]byte(in), []byte("\xef\xbb\xbf"))
		if n := min(len(raw), len(body)); !bytes.Equal(raw[:n], body[:n]) || len(bytes.Trim(body[n:], "\r\n")) > 0 || len(bytes.Trim(raw[n:], "\n")) > 0 {
			t.Fatalf("frames are %q of %q", raw, body)
		}
	})
}

func FuzzWriter(f *testing.F) {
	f.Add("7", "a", "x\ny")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, id, name, data string) {
		if strings.ContainsAny(id+name, "\r\n\x00") {
			t.Skip()
		}
		got, err := readAll(t, bytes.NewReader(sse.AppendLive(nil, id, name, []byte(data))), 0)
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)
		if err != nil || len(got) != 1 || got[0].ID != id || got[0].Name != name || got[0].Data != want {
			t.Fatalf("wrote %q %q %q, read %+v, %v", id, name, data, got, err)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	r := sse.NewReader(&endless{text: stream()}, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
