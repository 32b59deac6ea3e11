package operation

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// household is a registry's live operations as the tests write them.
type household []Kin

func (h household) family(owner string) []Kin {
	var out []Kin
	for _, k := range h {
		if k.Owner == owner {
			out = append(out, k)
		}
	}
	return out
}

func kin(n byte, owner, child string) Kin {
	k := Kin{ID: idOf(n), Kind: MemberChild, Owner: owner, Child: child, CreatedAtMS: int64(n)}
	if child == "" {
		k.Kind = BackgroundTool
	}
	return k
}

func idsOf(ns ...byte) (out []ID) {
	for _, n := range ns {
		out = append(out, idOf(n))
	}
	return out
}

func TestSubtree(t *testing.T) {
	h := household{
		kin(1, "lead", "ann"), kin(2, "lead", "bob"), kin(3, "ann", "cat"), kin(4, "bob", ""),
		kin(5, "cat", ""), kin(6, "solo", "solo"), kin(7, "solo", ""), kin(8, "x", "y"), kin(9, "y", "x"),
	}
	for _, tt := range []struct {
		name, owner string
		want        []ID
	}{
		{"the deepest first", "lead", idsOf(5, 3, 4, 1, 2)},
		{"from the middle", "ann", idsOf(5, 3)},
		{"a session that owns itself", "solo", idsOf(6, 7)},
		{"two that own each other", "x", idsOf(9, 8)},
		{"nobody's", "dan", nil},
	} {
		if got := Subtree(tt.owner, h.family); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := Everyone(slices.Clone(h)); !reflect.DeepEqual(got, idsOf(9, 8, 7, 6, 5, 4, 3, 2, 1)) {
		t.Errorf("everyone: %v", got)
	}
}

// TestSubtreeIsTheReachableOnes compares with a fixed point that knows nothing
// of levels: each operation below the owner once, and no other.
func TestSubtreeIsTheReachableOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		session := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", ""})
		var h household
		for n := range rapid.IntRange(0, 12).Draw(t, "n") {
			owner := session.Filter(func(s string) bool { return s != "" }).Draw(t, "owner")
			h = append(h, kin(byte(n+1), owner, session.Draw(t, "child")))
		}
		below, want := map[string]bool{"a": true}, map[ID]bool{}
		for grew := true; grew; {
			grew = false
			for _, k := range h {
				if below[k.Owner] && !want[k.ID] {
					want[k.ID], grew = true, true
					if k.Child != "" {
						below[k.Child] = true
					}
				}
			}
		}
		ids := Subtree("a", h.family)
		got := map[ID]bool{}
		for _, id := range ids {
			got[id] = true
		}
		if len(got) != len(ids) || !maps.Equal(got, want) {
			t.Fatalf("%v of %v, want %v", ids, h, want)
		}
	})
}

func TestAdopted(t *testing.T) {
	h := household{kin(1, "lead", "ann"), kin(2, "ann", "bob"), kin(4, "ann", ""), kin(3, "ann", "cat"), kin(5, "ann", "ann")}
	for _, tt := range []struct {
		name     string
		from, to string
		kind     Kind
		fenced   bool
		want     []ID
		err      error
	}{
		{"all, but not its own life", "ann", "ann2", NoKind, false, idsOf(2, 3, 4), nil},
		{"members only", "ann", "lead", MemberChild, false, idsOf(2, 3), nil},
		{"to itself", "ann", "ann", NoKind, true, nil, nil},
		{"to one that has ended", "ann", "ann2", NoKind, true, nil, ErrOwnerRetired},
		{"to nobody", "ann", "", NoKind, false, nil, ErrInvalidArgument},
		{"of one who has none", "dan", "lead", NoKind, false, nil, nil},
	} {
		got, err := Adopted(tt.from, tt.to, tt.kind, tt.fenced, h.family)
		if !reflect.DeepEqual(got, tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}
