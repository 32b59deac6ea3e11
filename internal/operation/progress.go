package operation

import (
	"encoding/json"
	"math"
)

// Percent is a share of the work that may be unknown: the zero value is.
type Percent struct {
	Value float64 // 0 to 100
	Known bool
}

// PercentOf returns a known share.
func PercentOf(v float64) Percent { return Percent{Value: v, Known: true} }

// IsZero reports whether the share is unknown; JSON then leaves it out.
func (p Percent) IsZero() bool { return !p.Known }

// MarshalJSON writes the number, null if it is unknown.
func (p Percent) MarshalJSON() ([]byte, error) {
	if !p.Known {
		return []byte("null"), nil
	}
	return marshal(p.Value)
}

// UnmarshalJSON reads a number; null is unknown.
func (p *Percent) UnmarshalJSON(b []byte) error {
	var v *float64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if *p = (Percent{}); v != nil {
		*p = PercentOf(*v)
	}
	return nil
}

func (p Percent) valid() bool {
	return !p.Known || !math.IsNaN(p.Value) && p.Value >= 0 && p.Value <= 100
}

// ProgressUpdate is what a child says of itself. Either part may be missing;
// the last one given then stays.
type ProgressUpdate struct {
	Message string  `json:"message"`
	Percent Percent `json:"percent,omitzero"`
}

// Progress is an update and when it came, or what all updates so far leave: the
// last message and the last share, which may have come apart.
type Progress struct {
	Message string  `json:"message"`
	Percent Percent `json:"percent,omitzero"`
	AtMS    int64   `json:"at_ms"` // of the last update
}

// after returns what u leaves of p.
func (p Progress) after(u ProgressUpdate, atMS int64) Progress {
	if u.Message != "" {
		p.Message = u.Message
	}
	if u.Percent.Known {
		p.Percent = u.Percent
	}
	p.AtMS = atMS
	return p
}

// History holds the last updates of one operation. It is no part of the
// Machine, which decides nothing by it, and belongs to whoever publishes rows:
// unlike a Machine it is changed in place. The zero value is empty and ready
// to use; concurrent calls need a lock.
type History struct {
	ring  []Progress
	first int // the oldest
}

// Add appends an update and drops the oldest ones above limit.
func (h *History) Add(p Progress, limit int) {
	switch {
	case limit <= 0:
		*h = History{}
	case len(h.ring) == limit:
		h.ring[h.first] = p
		h.first = (h.first + 1) % limit
	case h.first == 0 && len(h.ring) < limit:
		h.ring = append(h.ring, p)
	default: // the limit has changed
		all := h.Updates()
		if n := len(all) + 1 - limit; n > 0 {
			all = all[n:]
		}
		h.ring, h.first = append(all, p), 0
	}
}

// Len returns how many updates are held.
func (h *History) Len() int { return len(h.ring) }

// Updates returns the updates, oldest first, in a slice of the caller's own;
// nil if there are none.
func (h *History) Updates() []Progress {
	if len(h.ring) == 0 {
		return nil
	}
	out := make([]Progress, 0, len(h.ring)+1)
	return append(append(out, h.ring[h.first:]...), h.ring[:h.first]...)
}

// MarshalJSON writes a list, oldest first.
func (h History) MarshalJSON() ([]byte, error) {
	if len(h.ring) == 0 {
		return []byte("[]"), nil
	}
	return marshal(h.Updates())
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *History) UnmarshalJSON(b []byte) error {
	*h = History{}
	if err := json.Unmarshal(b, &h.ring); err != nil {
		return err
	}
	if len(h.ring) == 0 {
		h.ring = nil
	}
	return nil
}
