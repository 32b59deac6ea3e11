package route

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// Explanation is what the X-Drey headers say about a request's way.
type Explanation struct {
	Profile  drey.ProfileID
	Provider drey.ProviderID // who served; "" if none did
	Attempts int
	From     drey.ProviderID // the first provider that was passed over; "" if none was
	Reasons  []string        // one per provider passed over, in the chain's order
}

// Explain returns how a request went: to whom, and whom it passed over. served
// is "" if nobody served. A provider was passed over if it failed, or if it
// stands before the serving one in the chain and was left out or moved back.
// The paid gate and a missing credential are the normal case of a
// configuration and pass over nobody.
func Explain(profile drey.ProfileID, w Walk, served drey.ProviderID) Explanation {
	x := Explanation{Profile: profile, Provider: served, Attempts: len(w.attempts)}
	end := int(^uint(0) >> 1) // the serving one's place in the chain
	if served != "" {
		x.Attempts++
		for _, c := range w.plan.Candidates {
			if c.ID == served {
				end = c.Index
			}
		}
	}
	if w.seats == nil && len(w.plan.Skipped) == 0 && w.inPlace() {
		return x // the common case costs nothing
	}
	type one struct {
		id     drey.ProviderID
		reason string
		index  int
	}
	var all []one
	skips := w.Skipped()
	for i, c := range w.plan.Candidates {
		if c.ID == served {
			continue
		}
		if s := w.lastOf(i); s != nil {
			all = append(all, one{c.ID, s.Verdict.Class.String(), c.Index})
		} else if c.Moved != "" && c.Index < end && served != "" && !skipped(skips, c.Index) {
			all = append(all, one{c.ID, string(c.Moved), c.Index})
		}
	}
	for _, s := range skips {
		if s.Index < end && !s.Reason.configured() {
			all = append(all, one{s.ID, string(s.Reason), s.Index})
		}
	}
	for i := range all { // the chain's order; insertion, since it is short
		for j := i; j > 0 && all[j].index < all[j-1].index; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	for _, o := range all {
		if x.From == "" {
			x.From = o.id
		}
		x.Reasons = append(x.Reasons, o.reason)
	}
	return x
}

func skipped(skips []Skip, index int) bool {
	return slices.ContainsFunc(skips, func(s Skip) bool { return s.Index == index })
}

// inPlace reports whether no candidate was moved.
func (w Walk) inPlace() bool {
	for i := range w.plan.Candidates {
		if w.plan.Candidates[i].Moved != "" {
			return false
		}
	}
	return true
}

// lastOf returns the last failed attempt at a candidate, or nil.
func (w Walk) lastOf(i int) *Attempt {
	if w.seats == nil || w.seats[i].last == 0 {
		return nil
	}
	return &w.attempts[w.seats[i].last-1]
}

// To returns who took over, "" if nobody was passed over or nobody served.
func (x Explanation) To() drey.ProviderID {
	if x.From == "" {
		return ""
	}
	return x.Provider
}

// Reason returns the comma list of why providers were passed over.
func (x Explanation) Reason() string { return strings.Join(x.Reasons, ",") }

// Each calls set with each header that is due and its value.
func (x Explanation) Each(set func(key, value string)) {
	put := func(key, value string) {
		if value != "" {
			set(key, value)
		}
	}
	put("X-Drey-Profile", safeName(string(x.Profile)))
	put("X-Drey-Provider", safeName(string(x.Provider)))
	set("X-Drey-Attempts", strconv.Itoa(x.Attempts))
	put("X-Drey-Fallback-From", safeName(string(x.From)))
	put("X-Drey-Fallback-To", safeName(string(x.To())))
	put("X-Drey-Fallback-Reason", x.Reason())
}

// Comment returns the same facts as one SSE comment, for a stream whose
// headers went out before they were known.
func (x Explanation) Comment() []byte {
	b := []byte(": drey")
	if x.Provider != "" {
		b = append(append(b, " provider="...), safeName(string(x.Provider))...)
	}
	b = strconv.AppendInt(append(b, " attempts="...), int64(x.Attempts), 10)
	if len(x.Reasons) > 0 {
		b = append(append(b, " reason="...), x.Reason()...)
	}
	return append(b, "\n\n"...)
}

// safeName makes a name fit for a header: what a configuration may not spell
// becomes "_", and so does each byte of what is no ASCII.
func safeName(s string) string {
	ok := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	for i := range len(s) {
		if !ok(s[i]) {
			b := []byte(s)
			for j := range b {
				if !ok(b[j]) {
					b[j] = '_'
				}
			}
			return string(b)
		}
	}
	return s
}
