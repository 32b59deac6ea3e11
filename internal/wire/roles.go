package wire

import "github.com/dreyhq/drey/internal/wire/scan"

// UserRoles makes the turns of a list the user's whose role odd reports to be
// one that its place does not allow. led says that somebody has spoken before.
// The turns stay where they are: moving them would void the provider's prefix
// cache.
func (e *Editor) UserRoles(list string, odd func(role []byte, led bool) bool) {
	m := e.Find(list)
	if m == nil {
		return
	}
	s := scan.New(m.Value)
	led := false
	for range s.Items() {
		instructs := false
		for key := range s.Fields() {
			if string(key) != "role" || s.Kind() != scan.String {
				continue
			}
			at := s
			from, to := s.Span()
			role := at.Word()
			if odd(role, led) {
				e.Replace(m.At+from, m.At+to, []byte(`"user"`))
			}
			instructs = !Speaks(role)
		}
		led = led || !instructs
	}
}

// Speaks reports whether a role is one of those who take turns, rather than one
// that instructs them.
func Speaks(role []byte) bool {
	switch string(role) {
	case "user", "assistant", "tool", "function":
		return true
	default:
		return false
	}
}
