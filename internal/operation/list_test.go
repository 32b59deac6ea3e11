package operation

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

// index is a registry's index by key, kept as plainly as can be.
type index []Item

func (x *index) put(it Item) {
	at := x.at(it.Machine.Key())
	*x = slices.Insert(*x, at, it)
}

func (x *index) drop(k Key) { at := x.at(k); *x = slices.Delete(*x, at, at+1) }

func (x index) at(k Key) int {
	return sort.Search(len(x), func(i int) bool { return x[i].Machine.Key().Compare(k) >= 0 })
}

func (x index) ascend(from Key) iter.Seq[Item] { return slices.Values(x[x.at(from):]) }

func item(n byte, name string) Item {
	return Item{Machine: &Machine{
		Spec:     Spec{ID: idOf(n), Kind: Kind(1 + n%2), Name: name, Owner: fmt.Sprint("s", n%3), Child: fmt.Sprint("c", n%3), Labels: Labels{"n": fmt.Sprint(n % 2)}},
		Registry: RegistryID(fmt.Sprint("mob:", n%2)), Status: Status(1 + n%9), CreatedAtMS: int64(n % 4),
	}, Archived: n%5 == 0}
}

// TestWalk: what is there throughout a walk is in it exactly once and in
// order, whatever comes and goes meanwhile.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SampledFrom([]string{"", "a", "a/x", "a/xx", "a/y", "b", "\xff"})
		var x index
		next := byte(0)
		add := func() Item {
			next++
			it := item(next, names.Draw(t, "name"))
			x.put(it)
			return it
		}
		always := map[ID]Item{}
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			it := add()
			always[it.Machine.ID] = it
		}
		f := Filter{
			Prefix:   rapid.SampledFrom([]string{"", "a", "a/x", "c"}).Draw(t, "prefix"),
			Archived: rapid.Bool().Draw(t, "archived"),
			Kind:     Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
		}
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		var passing []Item
		seen := map[ID]int{}
		var last Key
		for after, pages := (Key{}), 0; ; pages++ {
			items, more := Page(x.ascend, f, after, limit)
			if len(items) > limit || pages > 100 {
				t.Fatalf("page %d of %d operations", pages, len(items))
			}
			for _, it := range items {
				if k := it.Machine.Key(); seen[it.Machine.ID] > 0 || last.Compare(k) > 0 || !f.Match(it.Machine, it.Archived) {
					t.Fatalf("%v after %v", k, last)
				}
				seen[it.Machine.ID]++
				last = it.Machine.Key()
			}
			if more.IsZero() {
				break
			}
			back, err := ParseCursor(more.Cursor())
			if err != nil || back != more {
				t.Fatalf("%v became %v, %v", more, back, err)
			}
			after = back
			if rapid.Bool().Draw(t, "come") && pages < 20 {
				passing = append(passing, add())
			}
			if len(passing) > 0 && rapid.Bool().Draw(t, "go") {
				x.drop(passing[0].Machine.Key())
				passing = passing[1:]
			}
		}
		for id, it := range always {
			if want := f.Match(it.Machine, it.Archived); want != (seen[id] == 1) {
				t.Fatalf("%v was seen %d times; it matches: %t", it.Machine.Key(), seen[id], want)
			}
		}
	})
}

func TestPageEndsWhereNothingFollows(t *testing.T) {
	var x index
	for n := range byte(4) {
		x.put(item(n+1, fmt.Sprint("n", n)))
	}
	if items, next := Page(x.ascend, Filter{}, Key{}, 4); len(items) != 4 || !next.IsZero() {
		t.Errorf("%d operations and a next page at %v", len(items), next)
	}
	items, next := Page(x.ascend, Filter{}, Key{}, 3)
	if len(items) != 3 || next != items[2].Machine.Key() {
		t.Errorf("%d operations, next %v", len(items), next)
	}
	if items, _ := Page(x.ascend, Filter{}, Key{}, 0); len(items) != 0 {
		t.Errorf("%d operations of none", len(items))
	}
}

func TestListOrder(t *testing.T) {
	order := []Key{
		{}, {"A", 9, idOf(9)}, {"a", 1, idOf(3)}, {"a", 1, idOf(4)}, {"a", 2, idOf(1)}, {"a\x00", 0, idOf(2)}, {"é", 0, idOf(1)}, {"\xff", 0, idOf(1)},
	}
	for i, k := range order {
		for j, o := range order {
			if got := k.Compare(o); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%v to %v: %d", k, o, got)
			}
		}
	}
}

func TestFilter(t *testing.T) {
	yes, no := true, false
	m := item(7, "a/x").Machine // a tool kind by its number, completed on
	m.Status, m.Kind = Running, MemberChild
	for name, tt := range map[string]struct {
		f    Filter
		want bool
	}{
		"all":            {Filter{}, true},
		"archived":       {Filter{Archived: true}, false},
		"status":         {Filter{Statuses: []Status{Retiring, Running}}, true},
		"other status":   {Filter{Statuses: []Status{Retiring}}, false},
		"active":         {Filter{Active: &yes}, true},
		"inactive":       {Filter{Active: &no}, false},
		"kind":           {Filter{Kind: MemberChild}, true},
		"other kind":     {Filter{Kind: BackgroundTool}, false},
		"registry":       {Filter{Registry: "mob:1"}, true},
		"other registry": {Filter{Registry: "mob:0"}, false},
		"owner":          {Filter{Owner: "s1"}, true},
		"other owner":    {Filter{Owner: "s2"}, false},
		"child":          {Filter{Child: "c1"}, true},
		"other child":    {Filter{Child: "c2"}, false},
		"label":          {Filter{Labels: Labels{"n": "1"}}, true},
		"other label":    {Filter{Labels: Labels{"n": "0"}}, false},
		"missing label":  {Filter{Labels: Labels{"m": ""}}, false},
		"prefix":         {Filter{Prefix: "a/"}, true},
		"other prefix":   {Filter{Prefix: "b"}, false},
	} {
		if got := tt.f.Match(m, false); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(Key{"a", 1, idOf(1)}.Cursor())
	f.Add(Key{"\xff", -1, idOf(2)}.Cursor())
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseCursor(s)
		if err != nil {
			if !errors.Is(err, ErrInvalidArgument) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if k.Cursor() != s {
			t.Errorf("%q became %q", s, k.Cursor())
		}
	})
}

func TestRetention(t *testing.T) {
	endings := []Ending{{idOf(1), false}, {idOf(2), true}, {idOf(3), false}, {idOf(4), false}}
	for _, tt := range []struct {
		max  int
		want []ID
	}{
		{9, nil}, {4, nil}, {3, idsOf(1)}, {2, idsOf(1, 3)}, {1, idsOf(1, 3, 4)}, {0, idsOf(1, 3, 4)}, {-1, idsOf(1, 3, 4)},
	} {
		if got := Excess(slices.Values(endings), len(endings), tt.max); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%d retained: %v go, want %v", tt.max, got, tt.want)
		}
	}
	if got := Collected(slices.Values(endings)); !reflect.DeepEqual(got, idsOf(1, 3, 4)) {
		t.Errorf("collected %v", got)
	}
}
