package upstream

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// TestSentBodiesAreNotKept: net/http keeps a request as long as it reads the
// answer, which may be an hour.
func TestSentBodiesAreNotKept(t *testing.T) {
	release := make(chan bool)
	defer close(release)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	for _, size := range []int{1 << 10, 2 * joinBelow} {
		for _, parts := range []int{1, 2} {
			p := New(Config{ID: "a", Wire: drey.WireChat, URL: srv.URL + "/v1"})
			defer p.Close()
			text := bytes.Repeat([]byte("x"), size)
			kept := weak.Make(&text[0])
			list := [][]byte{text}
			if parts == 2 {
				list = append(list, []byte("y"))
			}
			ans, err := p.Do(t.Context(), Call{Path: "/chat/completions", Body: wire.NewBody(list...), Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			text, list = nil, nil
			// Whoever wrote the request may still be about to note that it has.
			for end := time.Now().Add(10 * time.Second); kept.Value() != nil && time.Now().Before(end); {
				runtime.GC()
			}
			if kept.Value() != nil {
				t.Errorf("a body of %d bytes in %d parts is kept while the answer streams", size, parts)
			}
			ans.Stream.Close()
		}
	}
}
