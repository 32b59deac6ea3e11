package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
)

func (j *journal) SnapshotsAfter(ctx context.Context, machine, after string, limit int) ([]store.State, error) {
	all, err := j.Snapshots(ctx, machine)
	var out []store.State
	for _, st := range all {
		if st.ID > after && len(out) < store.PageLimit(limit) {
			out = append(out, st)
		}
	}
	return out, err
}

// TestArchivePlace: the places in the archive are in the order of lists.
func TestArchivePlace(t *testing.T) {
	t.Parallel()
	key := rapid.Custom(func(t *rapid.T) operation.Key {
		return operation.Key{
			Name:        rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("a\x00\x01ä\uffff")), 0, 3, -1)).Draw(t, "name"),
			CreatedAtMS: rapid.Int64Range(-2, 1<<50).Draw(t, "created"),
			ID:          operation.ID{15: rapid.Byte().Draw(t, "id")},
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		if x, y := archivePlace(a), archivePlace(b); a.Compare(b) != strings.Compare(x, y) {
			t.Fatalf("%+v and %+v are at %s and %s", a, b, x, y)
		}
	})
}

// counting is a journal that counts the states which are read from its pages.
type counting struct {
	Journal
	read int
}

func (c *counting) SnapshotsAfter(ctx context.Context, machine, after string, limit int) ([]store.State, error) {
	page, err := c.Journal.SnapshotsAfter(ctx, machine, after, limit)
	c.read += len(page)
	return page, err
}

// TestArchivePages walks over the archive while a part of it is still on its way
// there: each operation once, in order, and no page reads much more than it
// shows.
func TestArchivePages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		j    Journal
	}{{"with a store", newJournal()}, {"without", &ephemeral{}}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &counting{Journal: tt.j}
			p := operation.DefaultPolicy()
			p.MaxCompleted = 0
			h := open(t, Config{Journal: c, Policy: p})
			live := func(i int) {
				id := h.running(t, red, member("o", fmt.Sprint("s", i%40)))
				h.do(t, operation.Complete{Meta: meta(id)})
			}
			for i := range 100 {
				live(i)
			}
			j, kept := tt.j.(*journal)
			if kept { // the others do not get there
				j.mu.Lock()
				j.fail = func(_ int, appends []store.Append) error {
					if len(appends) > 1 && appends[1].Machine == machineArchive {
						return errDisk
					}
					return nil
				}
				j.mu.Unlock()
			}
			for i := range 20 {
				live(100 + i)
			}
			var got []operation.Snapshot
			q := ListQuery{Filter: operation.Filter{Archived: true}, Limit: 10}
			for {
				c.read = 0
				page, err := h.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if c.read > 2*(q.Limit+1) {
					t.Errorf("a page of %d has read %d operations", q.Limit, c.read)
				}
				got = append(got, page.Operations...)
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			if len(got) != 120 || !slices.IsSortedFunc(got, func(a, b operation.Snapshot) int { return a.Key().Compare(b.Key()) }) {
				t.Errorf("%d operations, want 120 in order", len(got))
			}
			if page, err := h.List(t.Context(), ListQuery{Filter: operation.Filter{Archived: true, Prefix: "member/s7"}}); err != nil || len(page.Operations) != 3 {
				t.Errorf("%d of a name, %v; want 3", len(page.Operations), err)
			}
			if kept {
				j.mu.Lock()
				j.fail = nil
				j.mu.Unlock()
			}
			live(0) // what has failed is tried again with it
			h.stop()
			if n, err := h.Prune(t.Context(), -time.Hour); err != nil || n != 121 {
				t.Errorf("%d were deleted, %v; want 121", n, err)
			}
			h = open(t, Config{Journal: tt.j, Policy: p})
			if page, err := h.List(t.Context(), q); err != nil || len(page.Operations) != 0 {
				t.Errorf("%d are left, %v", len(page.Operations), err)
			}
		})
	}
}
