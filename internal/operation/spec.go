package operation

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"
)

// The bounds of a Spec, in bytes and pairs (the operations contract §1).
const (
	MaxName   = 256
	MaxLabels = 16
	MaxLabel  = 256 // of a key and of a value
)

// Spec is what register_operation is told of an operation. But for the owner,
// which adopt_owner may change, it stays as it is for ever.
//
// A Spec is a value; who hands one in does not change its Labels any more.
type Spec struct {
	ID    ID     `json:"id"`
	Kind  Kind   `json:"kind"`
	Owner string `json:"owner_session_id"` // a session may be its own owner and child
	Name  string `json:"display_name"`     // 1 to MaxName bytes; lists are ordered by it
	// Source says who registered it; "" = mob_member or background_tool, by
	// the kind.
	Source     string    `json:"source_label"`
	Child      string    `json:"child_session_id,omitempty"` // the session whose life it is; required of a MemberChild
	ExpectPeer bool      `json:"expect_peer_channel"`        // whether peer_ready is allowed; never of a BackgroundTool
	OnRestart  OnRestart `json:"on_restart"`
	Labels     Labels    `json:"labels"`
}

// Labels are free words to filter by; the runtime sets mob, member, role, run
// and step. nil and empty are the same.
type Labels map[string]string

// MarshalJSON writes an object, also of nil.
func (l Labels) MarshalJSON() ([]byte, error) {
	if len(l) == 0 {
		return []byte("{}"), nil
	}
	return marshal(map[string]string(l))
}

// UnmarshalJSON reads an object; an empty one is nil, so that what was read
// equals what was written.
func (l *Labels) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	if *l = m; len(m) == 0 {
		*l = nil
	}
	return nil
}

// withDefaults fills in what the kind decides.
func (s Spec) withDefaults() Spec {
	member := s.Kind == MemberChild
	if s.Source == "" {
		s.Source = "background_tool"
		if member {
			s.Source = "mob_member"
		}
	}
	if s.OnRestart == ByKind {
		s.OnRestart = FailIt
		if member {
			s.OnRestart = Resume
		}
	}
	if len(s.Labels) == 0 {
		s.Labels = nil
	}
	return s
}

// check returns the first field that is wrong and the rule that it breaks, or
// "" if the spec is good.
func (s *Spec) check() (field, rule string) {
	for _, f := range [...]struct{ name, value string }{
		{"owner_session_id", s.Owner}, {"display_name", s.Name}, {"source_label", s.Source}, {"child_session_id", s.Child},
	} {
		if !utf8.ValidString(f.value) {
			return f.name, "must be UTF-8"
		}
	}
	switch {
	case s.ID.IsZero():
		return "id", "must be a UUID"
	case s.Kind != MemberChild && s.Kind != BackgroundTool:
		return "kind", "must be mob_member_child or background_tool_op"
	case s.Owner == "":
		return "owner_session_id", "must not be empty"
	case s.Name == "" || len(s.Name) > MaxName:
		return "display_name", fmt.Sprintf("must have 1 to %d bytes", MaxName)
	case s.Kind == MemberChild && s.Child == "":
		return "child_session_id", "must not be empty for a mob_member_child"
	case s.Kind == BackgroundTool && s.ExpectPeer:
		return "expect_peer_channel", "must be false for a background_tool_op"
	case s.OnRestart > FailIt:
		return "on_restart", "must be resume or fail"
	}
	return s.Labels.check()
}

// check looks at all pairs before it answers: which one a map gives first is
// nobody's choice, and Step is a function of its arguments.
func (l Labels) check() (field, rule string) {
	var empty, long, broken bool
	for k, v := range l {
		empty = empty || k == ""
		long = long || len(k) > MaxLabel || len(v) > MaxLabel
		broken = broken || !utf8.ValidString(k) || !utf8.ValidString(v)
	}
	switch {
	case len(l) > MaxLabels:
		return "labels", fmt.Sprintf("must be at most %d pairs", MaxLabels)
	case empty:
		return "labels", "must have no empty key"
	case long:
		return "labels", fmt.Sprintf("must have keys and values of at most %d bytes", MaxLabel)
	case broken:
		return "labels", "must be UTF-8"
	}
	return "", ""
}

// equal reports whether both describe the same operation.
func (s *Spec) equal(o *Spec) bool {
	return s.ID == o.ID && s.Kind == o.Kind && s.Owner == o.Owner && s.Name == o.Name && s.Source == o.Source &&
		s.Child == o.Child && s.ExpectPeer == o.ExpectPeer && s.OnRestart == o.OnRestart && maps.Equal(s.Labels, o.Labels)
}

// PeerHandle says where a member can be reached as a peer. It is recorded, not
// dialled. The zero value is none.
type PeerHandle struct {
	Name string `json:"peer_name"`
	Peer Peer   `json:"peer"`
}

// Peer is the address of a member among its peers.
type Peer struct {
	Name    string `json:"name"`
	ID      string `json:"peer_id"`
	Address string `json:"address"` // a URL; inproc://<mob>/<member> for members of this daemon
}

func (h *PeerHandle) check() (field, rule string) {
	for _, f := range [...]struct{ name, value string }{
		{"handle.peer_name", h.Name}, {"handle.peer.name", h.Peer.Name}, {"handle.peer.peer_id", h.Peer.ID}, {"handle.peer.address", h.Peer.Address},
	} {
		switch {
		case f.value == "":
			return f.name, "must not be empty"
		case !utf8.ValidString(f.value):
			return f.name, "must be UTF-8"
		}
	}
	if !isURL(h.Peer.Address) {
		return "handle.peer.address", "must be a URL"
	}
	return "", ""
}

// isURL reports whether s has a scheme and something behind it. More is not
// asked of an address that nobody here dials.
func isURL(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || rest == "" || strings.ContainsAny(rest, " \t\r\n") {
		return false
	}
	for i, c := range []byte(scheme) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return true
}
