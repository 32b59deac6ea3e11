package operation

import "iter"

// Ending is one ended operation that a registry retains.
type Ending struct {
	ID     ID
	Pinned bool // a wait is under way that needs it
}

// Excess returns the ended operations that a registry does not retain any
// longer, the oldest ending first: as many as are too many, and of those what
// is not pinned. endings are the n retained ones in the order of their endings.
// Pinned ones count and are passed over; they go at the first call after they
// are unpinned.
func Excess(endings iter.Seq[Ending], n, maxCompleted int) []ID {
	excess := n - max(maxCompleted, 0)
	if excess <= 0 {
		return nil
	}
	var ids []ID
	for e := range endings {
		if e.Pinned {
			continue
		}
		if ids = append(ids, e.ID); len(ids) == excess {
			break
		}
	}
	return ids
}

// Collected returns what CollectCompleted drains: every ended operation that
// is not pinned, in the order of their endings.
func Collected(endings iter.Seq[Ending]) []ID {
	var ids []ID
	for e := range endings {
		if !e.Pinned {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
