package upstream

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// ear is a tap that remembers.
type ear struct {
	status int
	header http.Header
	heard  strings.Builder
}

func (e *ear) Answered(status int, h http.Header) { e.status, e.header = status, h }
func (e *ear) Read(p []byte)                      { e.heard.Write(p) }

// answering is a provider that gives one answer.
type answering struct {
	status int
	kind   string
	body   string
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Content-Type": {a.kind}}, Request: r, ContentLength: -1,
		Body: io.NopCloser(io.MultiReader(strings.NewReader(a.body[:len(a.body)/2]), strings.NewReader(a.body[len(a.body)/2:]))),
	}, nil
}

// TestTap: whatever comes, of whatever status and form, a tap sees all of it,
// and what is made of it is the same.
func TestTap(t *testing.T) {
	for _, a := range []answering{
		{200, "application/json", `{"id":"x","choices":[]}`},
		{200, "text/event-stream", "data: {}\n\ndata: [DONE]\n\n"},
		{500, "application/json", `{"error":{"message":"broken"}}`},
		{200, "text/plain", "none of the wire"},
	} {
		e := &ear{}
		p := New(Config{ID: "a", Wire: drey.WireChat, URL: "http://a.test/v1", Transport: a})
		ans, err := p.Do(t.Context(), Call{Path: "/chat/completions", Body: wire.NewBody([]byte("{}")), Stream: strings.HasPrefix(a.kind, "text"), Tap: e})
		frames := 0
		if err == nil && ans.Stream != nil {
			for {
				if _, err := ans.Stream.Next(); err != nil {
					break
				}
				frames++
			}
		}
		refused := a.status != 200 || a.kind == "text/plain"
		if (err != nil) != refused || (frames == 2) != strings.Contains(a.kind, "event") {
			t.Errorf("%s: %v, %d frames", a.kind, err, frames)
		}
		if e.status != a.status || e.header.Get("Content-Type") != a.kind || e.heard.String() != a.body && a.kind != "text/plain" {
			t.Errorf("%s: heard %d %q", a.kind, e.status, e.heard.String())
		}
	}
}
