package sqlite

import (
	"sync"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// TestRelax: what is given back is not missed, by those who write at the same
// time either.
func TestRelax(t *testing.T) {
	s := open1(t, options(t.TempDir()))
	const writers, each = 4, 50
	var wg sync.WaitGroup
	for i := range writers {
		id := string(rune('a' + i))
		wg.Go(func() {
			for version := range int64(each) {
				a := store.Append{Machine: "m", ID: id, Expect: version, Events: []drey.Event{moved("m", id)}}
				if _, err := s.Append(t.Context(), a); err != nil {
					t.Errorf("append %d to %s: %v", version, id, err)
					return
				}
				if _, err := s.Query(t.Context(), store.Query{Machine: "m", ID: id, Limit: 1}); err != nil {
					t.Errorf("query: %v", err)
				}
			}
		})
	}
	for range 20 {
		s.Relax()
	}
	wg.Wait()
	s.PutRequest(store.RequestRow{ID: "r1", At: moved("m", "a").At, Row: []byte(`{}`)})
	s.Relax()
	for _, p := range []*pool{s.readers, s.telemetry.readers} {
		if open := p.Stats().OpenConnections; open != 0 {
			t.Errorf("%s: %d connections for reading are left", p.path, open)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Request(t.Context(), "r1"); err != nil {
		t.Errorf("a row that was queued: %v", err)
	}
	if head, err := s.Head(t.Context()); err != nil || head != writers*each {
		t.Errorf("head %d, %v", head, err)
	}
}

// TestRelaxClosed: whoever rests a daemon does not know that it is being
// stopped.
func TestRelaxClosed(t *testing.T) {
	s := open1(t, options(t.TempDir()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Relax()
}
