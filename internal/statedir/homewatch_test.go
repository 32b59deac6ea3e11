package statedir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// hinted waits for a hint.
func hinted(t *testing.T, w *HomeWatch, why string) {
	t.Helper()
	select {
	case <-w.C():
	case <-time.After(10 * time.Second):
		t.Fatalf("no hint: %s", why)
	}
}

func TestWatchHome(t *testing.T) {
	o := newOwner(t).open()
	w, err := WatchHome(t.Context(), o.home)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if w.Polling() {
		t.Skip("this system gives no file notification")
	}
	if err := o.home.SignalWake(""); err != nil {
		t.Fatal(err)
	}
	hinted(t, w, "a signal")
	if err := o.home.SignalWake("again"); err != nil {
		t.Fatal(err)
	}
	hinted(t, w, "a signal in the place of another")
	l, err := HoldLease(o.home, "", true)
	if err != nil {
		t.Fatal(err)
	}
	hinted(t, w, "a lease")
	if err := l.refresh(); err != nil {
		t.Fatal(err)
	}
	hinted(t, w, "a lease that was refreshed")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// What is not of interest gives no hint.
	o.happens(lifecycle.Idle5Min)
	write(t, o.home.DB(), "x")
	write(t, o.home.DB(), "y")
	write(t, filepath.Join(o.home.Wrappers(), "notes"), "")
	if _, _, err := o.home.ConsumeWake(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(o.home.Wrappers()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.C():
		t.Error("a hint for nothing")
	default:
	}
	if _, err := Open(o.home.Root()); err != nil {
		t.Fatal(err)
	}
	hinted(t, w, "the directory of leases was made anew")
	if l, err = HoldLease(o.home, "", true); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hinted(t, w, "a lease in it")
	w.Close()
	w.Close()
}

func TestWatchHomeEndsWithItsContext(t *testing.T) {
	o := newOwner(t)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := WatchHome(ctx, o.home)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	w.wg.Wait()
	if _, err := WatchHome(t.Context(), At(filepath.Join(o.home.Root(), "none"))); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestWatchHomeWithoutNotification(t *testing.T) {
	o := newOwner(t)
	o.Lifecycle = nil
	refuse := func(Home) (func(context.Context, func()), error) { return nil, syscall.EMFILE }
	synctest.Test(t, func(t *testing.T) {
		w, err := watchHome(t.Context(), o.home, refuse)
		if err != nil || !w.Polling() {
			t.Fatal(err)
		}
		defer w.Close()
		within := func(want bool, why string) {
			t.Helper()
			start := time.Now()
			select {
			case <-w.C():
				if took := time.Since(start); !want || took > homePoll {
					t.Errorf("%s: a hint after %v", why, took)
				}
			case <-time.After(time.Minute):
				if want {
					t.Errorf("%s: no hint", why)
				}
			}
		}
		within(false, "nothing")
		if err := o.home.SignalWake(""); err != nil {
			t.Fatal(err)
		}
		within(true, "a signal")
		within(true, "a signal that nobody took")
		if _, _, err := o.home.ConsumeWake(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(homePoll) // of the bubble: a hint may be under way
		synctest.Wait()
		select {
		case <-w.C():
		default:
		}
		within(false, "it was taken")
		l, err := HoldLease(o.home, "", true)
		if err != nil {
			t.Fatal(err)
		}
		within(true, "a lease")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
