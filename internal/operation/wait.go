package operation

// CheckWait checks the operations that a wait names and returns those that it
// has to wait for, in the order of the input: none if all have ended, and the
// answer is there. find returns an operation's machine, the zero one if there
// is none.
//
// The checks, in order (§5): the first id that is named twice; the first one
// that is not there, or is not retained.
func CheckWait(ids []ID, find func(ID) Machine) (live []ID, err error) {
	seen := make(map[ID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return nil, &Error{Code: CodeDuplicateWait, Action: ActWait, ID: id}
		}
		seen[id] = true
	}
	for _, id := range ids {
		m := find(id)
		switch {
		case m.evicted:
			return nil, &Error{Code: CodeEvicted, Action: ActWait, ID: id}
		case !m.Exists():
			return nil, &Error{Code: CodeNotFound, Action: ActWait, ID: id}
		case m.Live():
			live = append(live, id)
		}
	}
	return live, nil
}
