package daemon

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestNotice: a file that is made, replaced or written to is told of, and who
// goes on writing to one that stays open, as a store does, is not heard.
func TestNotice(t *testing.T) {
	dir := t.TempDir()
	store, err := os.Create(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	paths := make(chan string, 64)
	serve, err := notice([]string{dir}, func(path string) { paths <- path })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { serve(ctx) })

	for range 10 {
		if _, err := store.WriteString("row"); err != nil {
			t.Fatal(err)
		}
	}
	file, other := filepath.Join(dir, "drey.yaml"), filepath.Join(dir, "new")
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"made", func() error { return os.WriteFile(file, []byte("a"), 0o600) }},
		{"written to", func() error { return os.WriteFile(file, []byte("b"), 0o600) }},
		{"replaced", func() error {
			if err := os.WriteFile(other, []byte("c"), 0o600); err != nil {
				return err
			}
			return os.Rename(other, file)
		}},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		for told := false; !told; {
			select {
			case path := <-paths:
				told = path == file
				if path == store.Name() && runtime.GOOS == "linux" { // others cannot ask for less
					t.Errorf("told of a write to %s", path)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("not told that the file was %s", change.what)
			}
		}
	}
}

func TestNoticeNowhere(t *testing.T) {
	if serve, err := notice([]string{filepath.Join(t.TempDir(), "none")}, func(string) {}); err == nil || serve != nil {
		t.Error("nothing can be watched there, and it was no error")
	}
}
