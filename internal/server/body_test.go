package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func gzipped(p []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(p)
	_ = z.Close()
	return b.Bytes()
}

func deflated(p []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(p)
	_ = z.Close()
	return b.Bytes()
}

// padded is a good request of exactly n bytes.
func padded(n int) []byte {
	return append([]byte(askAnthropic), bytes.Repeat([]byte(" "), n-len(askAnthropic))...)
}

// unknownLength hides a reader's length, so that the client sends chunks.
type unknownLength struct{ io.Reader }

func TestBodyLimits(t *testing.T) {
	const limit = 4096
	l := newLab(t, func(c *Config) { c.Doors.MaxBody = limit }, nil)
	noise := make([]byte, limit)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, tt := range []struct {
		name     string
		body     []byte
		encoding string
		status   int
		says     string
	}{
		{"at the limit", padded(limit), "", 200, ""},
		{"over the limit", padded(limit + 1), "", 413, "larger than 4096 bytes"},
		{"chunked, at the limit", padded(limit), "", 200, ""},
		{"chunked, over the limit", padded(limit + 1), "", 413, "larger"},
		{"gzip", gzipped([]byte(askAnthropic)), "gzip", 200, ""},
		{"gzip, another spelling", gzipped([]byte(askAnthropic)), " X-GZIP", 200, ""},
		{"deflate", deflated([]byte(askAnthropic)), "deflate", 200, ""},
		{"identity", []byte(askAnthropic), "identity", 200, ""},
		{"gzip, at the limit unpacked", gzipped(padded(limit)), "gzip", 200, ""},
		{"gzip bomb", gzipped(padded(limit + 1)), "gzip", 413, "larger"},
		{"gzip bomb, chunked", gzipped(padded(100 * limit)), "gzip", 413, "larger"},
		{"deflate bomb", deflated(padded(100 * limit)), "deflate", 413, "larger"},
		{"gzip that does not compress, at the limit", gzipped(noise), "gzip", 400, "UTF-8"},
		{"gzip members without end", bytes.Repeat(gzipped(nil), 100_000), "gzip", 413, "larger"},
		{"not gzip", []byte(askAnthropic), "gzip", 400, "not gzip"},
		{"gzip, cut", gzipped([]byte(askAnthropic))[:40], "gzip", 400, "ended before its end"},
		{"gzip, changed", append(gzipped([]byte(askAnthropic))[:60], "........"...), "gzip", 400, ""},
		{"deflate, and more", append(deflated([]byte(askAnthropic)), "more"...), "deflate", 400, "follows its end"},
		{"gzip twice", gzipped(gzipped([]byte(askAnthropic))), "gzip, gzip", 400, "unknown content encoding"},
		{"brotli", []byte("x"), "br", 400, `unknown content encoding "br"; send the body plain`},
		{"not UTF-8", []byte("{\"model\":\"a\xc3\"}"), "", 400, "UTF-8"},
		{"nothing", []byte(""), "", 400, ""},
	} {
		for _, path := range []string{"/v1/messages", "/v1/messages/count_tokens", "/p/default/v1/chat/completions"} {
			t.Run(tt.name+" "+path, func(t *testing.T) {
				var body io.Reader = bytes.NewReader(tt.body)
				if strings.Contains(tt.name, "chunked") {
					body = unknownLength{body}
				}
				req, err := http.NewRequestWithContext(t.Context(), "POST", l.url+path, body)
				if err != nil {
					t.Fatal(err)
				}
				if tt.encoding != "" {
					req.Header.Set("Content-Encoding", tt.encoding)
				}
				r := l.do(req)
				r.checkID(t)
				if r.StatusCode != tt.status || !strings.Contains(r.body, quoteJSON(tt.says)) {
					t.Errorf("%d %s; want %d %s", r.StatusCode, r.body, tt.status, tt.says)
				}
				if tt.status != 200 && (r.Header.Get("X-Should-Retry") != "false" || gotEnvelope(r) == "") {
					t.Errorf("%v %s", r.Header, r.body)
				}
			})
		}
	}
}

func quoteJSON(s string) string { return strings.ReplaceAll(s, `"`, `\"`) }

func gotEnvelope(r *reply) string {
	if e := r.envelope(); strings.HasPrefix(e, "anthropic ") || strings.HasPrefix(e, "openai ") {
		return e
	}
	return ""
}

func TestTooLargeIsRefusedBeforeItIsRead(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Doors.MaxBody = 1000 }, nil)
	c := l.dial()
	fmt.Fprintf(c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
}

func TestABodyThatEndsEarly(t *testing.T) {
	l := newLab(t, nil, nil)
	c := l.dial()
	fmt.Fprintf(c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	_ = c.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || !bytes.Contains(body, []byte("ended before its end")) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	l.settled()
	if calls := l.up.Calls(); len(calls) != 0 {
		t.Errorf("a provider was called: %v", calls)
	}
}

type slowBody struct{ io.Reader }

func (slowBody) Close() error { return nil }

func TestASlowBody(t *testing.T) {
	s := &Server{}
	s.SetDoors(Doors{})
	r, _ := http.NewRequest("POST", "/v1/messages", nil)
	r.ContentLength = 10 << 20
	r.Body = slowBody{io.MultiReader(strings.NewReader("{"), iotest.ErrReader(os.ErrDeadlineExceeded))}
	w := &deadlines{discard: discard{http.Header{}}}
	at := time.Now()
	v := &visit{ResponseWriter: w, r: r, d: s.doors.Load(), at: at}
	_, refusal := v.body()
	if refusal == nil || !strings.Contains(refusal.Message, "did not arrive within 3m10s") {
		t.Errorf("%+v", refusal)
	}
	r.Body, r.ContentLength = slowBody{strings.NewReader("{}")}, 2
	if _, refusal := v.body(); refusal != nil {
		t.Errorf("%+v", refusal)
	}
	want := []time.Time{at.Add(190 * time.Second), at.Add(30 * time.Second), {}}
	if diff := cmp.Diff(want, w.set); diff != "" {
		t.Errorf("read deadlines (-want +got):\n%s", diff)
	}
}

type deadlines struct {
	discard
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestReadBodyTakesAnyCut(t *testing.T) {
	const text = `{"a":"bc"}`
	for _, src := range []func() io.Reader{
		func() io.Reader { return strings.NewReader(text) },
		func() io.Reader { return iotest.OneByteReader(strings.NewReader(text)) },
		func() io.Reader { return iotest.DataErrReader(strings.NewReader(text)) },
	} {
		for _, length := range []int64{-1, int64(len(text))} {
			r := &http.Request{Header: http.Header{}, Body: slowBody{src()}, ContentLength: length}
			if got, err := readBody(r, 100); err != nil || string(got) != text {
				t.Errorf("length %d: %q, %v", length, got, err)
			}
		}
	}
}
