package operation

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestParentOf(t *testing.T) {
	all := []Kin{kin(1, "lead", "ann"), kin(3, "lead", "ann"), kin(2, "lead", "ann"), kin(5, "ann", ""), kin(6, "solo", "solo"), kin(7, "solo", "solo")}
	for n, want := range map[int]ID{0: {}, 3: idOf(3), 4: {}, 5: {}} {
		if got := ParentOf(all[n], all); got != want {
			t.Errorf("above %v is %v, want %v", all[n], got, want)
		}
	}
}

func TestTree(t *testing.T) {
	type shape map[ID]any
	var shapeOf func([]*Node) shape
	shapeOf = func(nodes []*Node) shape {
		out := shape{}
		for _, n := range nodes {
			out[n.ID] = shapeOf(n.Below)
		}
		return out
	}
	got := shapeOf(Tree([]Kin{
		kin(5, "cat", ""), kin(1, "lead", "ann"), kin(2, "lead", "ann"), kin(3, "ann", "cat"), // ann was spawned twice
		kin(6, "solo", "solo"), kin(7, "solo", ""), kin(8, "x", "y"), kin(9, "y", "x"),
	}))
	want := shape{
		idOf(1): shape{},
		idOf(2): shape{idOf(3): shape{idOf(5): shape{}}},
		idOf(6): shape{idOf(7): shape{}},
		idOf(9): shape{idOf(8): shape{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// TestTreeHoldsEachOnce, whatever owns whatever.
func TestTreeHoldsEachOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		session := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		var ops []Kin
		for n := range rapid.IntRange(0, 12).Draw(t, "n") {
			ops = append(ops, kin(byte(n+1), session.Draw(t, "owner"), session.Draw(t, "child")))
		}
		seen := map[ID]int{}
		var walk func([]*Node)
		walk = func(nodes []*Node) {
			for _, n := range nodes {
				if seen[n.ID]++; seen[n.ID] == 1 {
					walk(n.Below)
				}
			}
		}
		walk(Tree(ops))
		for _, k := range ops {
			if seen[k.ID] != 1 {
				t.Fatalf("%v is there %d times", k, seen[k.ID])
			}
		}
	})
}
