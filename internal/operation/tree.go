package operation

import "slices"

// ParentOf returns the operation above k: the newest one whose child is k's
// owner, zero if there is none. sameChild are all operations, ended ones too,
// whose child is that session. A session that owns itself has nothing above it.
func ParentOf(k Kin, sameChild []Kin) ID {
	if k.Owner == k.Child {
		return ID{}
	}
	var newest Kin
	for _, o := range sameChild {
		if o.Child == k.Owner && o.ID != k.ID && (newest.ID.IsZero() || o.compare(newest) > 0) {
			newest = o
		}
	}
	return newest.ID
}

// Node is one operation of a tree and those below it, the oldest first.
type Node struct {
	ID    ID
	Below []*Node
}

// Tree nests operations by ParentOf and returns those on top, the oldest first.
// An operation whose parent is not among ops is on top, and so is the one that
// would close a circle of sessions that own each other: each operation is in the
// tree once.
func Tree(ops []Kin) []*Node {
	ops = slices.SortedFunc(slices.Values(ops), Kin.compare)
	byChild := map[string][]Kin{}
	nodes := make(map[ID]*Node, len(ops))
	for _, k := range ops {
		nodes[k.ID] = &Node{ID: k.ID}
		if k.Child != "" {
			byChild[k.Child] = append(byChild[k.Child], k)
		}
	}
	var top []*Node
	above := make(map[ID]ID, len(ops))
	for _, k := range ops {
		parent := ParentOf(k, byChild[k.Owner])
		for at := parent; !at.IsZero(); at = above[at] {
			if at == k.ID {
				parent = ID{}
				break
			}
		}
		if above[k.ID] = parent; parent.IsZero() {
			top = append(top, nodes[k.ID])
		} else {
			nodes[parent].Below = append(nodes[parent].Below, nodes[k.ID])
		}
	}
	return top
}
