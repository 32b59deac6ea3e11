package backlog

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

func capture(id string, bytes int) store.Capture {
	return store.Capture{ID: drey.RequestID(id), Whole: make([]byte, bytes)}
}

// TestCapturesComeWithTheirBatch: with the rows, with the last bound, and again
// after a failure that passes.
func TestCapturesComeWithTheirBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{fail: io.ErrShortWrite, later: true}
		q := d.start()
		q.PutCapture(capture("a", 10), 1)
		q.Put(row("r"))
		_ = q.Flush(t.Context())
		q.PutCapture(capture("b", 10), 2)
		d.tell(nil, false)
		if err := q.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		d.tell(io.ErrUnexpectedEOF, false)
		q.PutCapture(capture("c", 10), 2)
		_ = q.Flush(t.Context())
		d.tell(nil, false)
		q.Put(row("s"))
		_ = q.Flush(t.Context())
		q.PutCapture(capture("d", captureFlush), 2) // so large a one does not wait for company
		synctest.Wait()
		if diff := cmp.Diff([]string{"r<a of 2><b of 2>map[]", "smap[]", "<d of 2>map[]"}, d.said()); diff != "" || q.Dropped() != 1 {
			t.Errorf("%s, %d dropped", diff, q.Dropped())
		}
		_ = q.Close()
	})
}

// TestCapturesCostNoRowItsPlace: they have a bound of their own.
func TestCapturesCostNoRowItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{fail: io.ErrShortWrite, later: true}
		q := d.start()
		for range 5 {
			q.PutCapture(capture("big", MaxCaptureBytes/4), 0)
		}
		if n := q.Dropped(); n != 2 { // also while some are being written
			t.Errorf("%d dropped", n)
		}
		before := q.Dropped()
		q.Put(row("r"))
		if q.Dropped() != before {
			t.Error("a row was dropped for captures")
		}
		_ = q.Close()
		q.PutCapture(capture("late", 1), 0)
		if n := q.Dropped(); n != 5+1+1 { // neither the captures nor the row could be written
			t.Errorf("%d dropped at the end", n)
		}
	})
}
