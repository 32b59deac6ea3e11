package operation

import (
	"cmp"
	"slices"
)

// Kin is what owners are told by of one operation.
type Kin struct {
	ID          ID
	Kind        Kind
	Owner       string
	Child       string // "" if it has none
	CreatedAtMS int64
}

// Kin returns what owners are told by of the operation.
func (m *Machine) Kin() Kin {
	return Kin{ID: m.ID, Kind: m.Kind, Owner: m.Owner, Child: m.Child, CreatedAtMS: m.CreatedAtMS}
}

// compare orders operations by age: (created, id), the oldest first.
func (k Kin) compare(o Kin) int {
	return cmp.Or(cmp.Compare(k.CreatedAtMS, o.CreatedAtMS), k.ID.Compare(o.ID))
}

// Family returns the live operations of one registry that a session owns, in
// any order. It is the registry's index by owner.
type Family func(owner string) []Kin

// Subtree returns the operations that end with an owner: those that are its own
// and, below them, those of their child sessions, each once. The deepest come
// first, so that no session ends while it has work of its own, and within one
// depth the oldest. A session that is above itself is no loop.
func Subtree(owner string, family Family) []ID {
	type level []Kin
	var levels []level
	seen := map[string]bool{owner: true}
	for sessions := []string{owner}; len(sessions) > 0; {
		var here level
		var below []string
		for _, s := range sessions {
			for _, k := range family(s) {
				here = append(here, k)
				if k.Child != "" && !seen[k.Child] {
					seen[k.Child] = true
					below = append(below, k.Child)
				}
			}
		}
		slices.SortFunc(here, Kin.compare)
		levels = append(levels, here)
		sessions = below
	}
	var ids []ID
	for _, here := range slices.Backward(levels) {
		for _, k := range here {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// Everyone returns all of a registry's live operations in the order in which
// they end with it: the youngest first, since a child is younger than what it
// is a child of. It sorts live in place.
func Everyone(live []Kin) []ID {
	slices.SortFunc(live, func(a, b Kin) int { return b.compare(a) })
	ids := make([]ID, len(live))
	for i, k := range live {
		ids[i] = k.ID
	}
	return ids
}

// Adopted returns the operations that go from one owner to another, the oldest
// first: those of kind, or of every kind if it is NoKind, but not the one whose
// child is the old owner itself. fenced says that the new owner has been
// retired, which is the one refusal. To the same owner nothing goes.
func Adopted(from, to string, kind Kind, fenced bool, family Family) ([]ID, error) {
	switch {
	case to == "":
		return nil, &Error{Code: CodeInvalidArgument, Action: ActAdoptOwner, Field: "owner_session_id", Rule: "must not be empty"}
	case from == to:
		return nil, nil
	case fenced:
		return nil, &Error{Code: CodeOwnerRetired, Action: ActAdoptOwner, Owner: to}
	}
	var kin []Kin
	for _, k := range family(from) {
		if k.Child != from && (kind == NoKind || k.Kind == kind) {
			kin = append(kin, k)
		}
	}
	slices.SortFunc(kin, Kin.compare)
	var ids []ID
	for _, k := range kin {
		ids = append(ids, k.ID)
	}
	return ids, nil
}
