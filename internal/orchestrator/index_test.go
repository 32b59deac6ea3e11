package orchestrator

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/operation"
)

// TestIndex compares the index with a sorted slice, over its chunks' bounds.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		var want []*entry
		byKey := func(a, b *entry) int { return a.key().Compare(b.key()) }
		n := rapid.IntRange(0, 3*chunkSize).Draw(t, "n")
		seed := rapid.IntRange(1, 1<<20).Draw(t, "seed")
		for i := range n {
			seed = seed * 1103515245 % (1 << 31)
			e := &entry{seen: &operation.Machine{Spec: operation.Spec{ID: operation.ID{byte(i), byte(i >> 8)}, Name: fmt.Sprint(seed % 97)}}}
			x.insert(e)
			want = append(want, e)
		}
		slices.SortFunc(want, byKey)
		for range rapid.IntRange(0, n).Draw(t, "removed") {
			seed = seed*1103515245%(1<<31) + 1
			at := seed % len(want)
			x.remove(want[at])
			x.remove(want[at]) // again changes nothing
			want = slices.Delete(want, at, at+1)
		}
		if got := slices.Collect(x.ascend(operation.Key{})); !slices.Equal(got, want) || x.len() != len(want) {
			t.Fatalf("%d entries (len %d), want %d, in order", len(got), x.len(), len(want))
		}
		for i := 0; i < len(want); i += 37 {
			if got := slices.Collect(x.ascend(want[i].key())); !slices.Equal(got, want[i:]) {
				t.Fatalf("from %d: %d entries, want %d", i, len(got), len(want)-i)
			}
		}
		for _, c := range x.chunks {
			if len(c) == 0 || len(c) > chunkSize {
				t.Fatalf("a chunk of %d", len(c))
			}
		}
	})
}
