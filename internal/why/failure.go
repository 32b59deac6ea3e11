package why

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// Failure is one failed attempt at a provider, as the row of its request tells
// it.
type Failure struct {
	At        time.Time
	RequestID drey.RequestID
	Class     drey.Class
	Status    int    // the HTTP status; 0 if there was no answer
	Text      string // what went wrong, one line
}

// counts reports whether the failure counts against health (the healing
// contract §3). Whether a bad answer was cut or merely empty is not in the
// row; it is taken to count, as it stands in a run that did.
func (f Failure) counts() bool {
	switch f.Class {
	case drey.Transport, drey.Server, drey.Silence, drey.Resource, drey.BadOutput:
		return true
	default:
		return false
	}
}

// Failures returns the attempts at a provider that failed in the course of one
// request, from the request's row with its events. What is no row has none.
func Failures(row json.RawMessage, provider drey.ProviderID) []Failure {
	var r requestRow
	if json.Unmarshal(row, &r) != nil || r.ReplayOf != "" { // what a person tries out is held against nobody
		return nil
	}
	var out []Failure
	for _, ev := range r.Events {
		if ev.Name != "provider-failed" || text(ev, "provider") != string(provider) {
			continue
		}
		f := Failure{At: ev.At, RequestID: r.ID, Status: int(number(ev, "status")), Text: text(ev, "error")}
		if f.Class.UnmarshalText([]byte(text(ev, "class"))) == nil {
			out = append(out, f)
		}
	}
	return out
}

// run returns the last n counted failures up to the one that decided: that of
// the request, or else the last one not after at. It returns what is known of
// them, which may be fewer: telemetry may have lost some.
func run(all []Failure, n int, at time.Time, request drey.RequestID) []Failure {
	var counted []Failure
	for _, f := range all {
		if f.counts() && !f.At.After(at.Add(time.Second)) {
			counted = append(counted, f)
		}
	}
	slices.SortStableFunc(counted, func(a, b Failure) int { return a.At.Compare(b.At) })
	end := len(counted)
	for end > 0 && counted[end-1].At.After(at) && counted[end-1].RequestID != request {
		end-- // it came in the second after
	}
	for i := end - 1; i >= 0 && request != ""; i-- {
		if counted[i].RequestID == request {
			end = i + 1
			break
		}
	}
	return counted[max(0, end-n):end]
}

// kinds writes failures by class, the most frequent first, each with the text
// of its latest: "transport: connection refused", or
// "4 × transport (connection refused), 2 × server (HTTP 500)". Where fewer than
// all n are known it does not pretend to have counted. "" for none.
func kinds(fs []Failure, all int) string {
	type kind struct {
		class drey.Class
		n     int
		last  Failure
	}
	var ks []kind
	for _, f := range fs {
		i := slices.IndexFunc(ks, func(k kind) bool { return k.class == f.Class })
		if i < 0 {
			i = len(ks)
			ks = append(ks, kind{class: f.Class})
		}
		ks[i].n++
		ks[i].last = f
	}
	slices.SortStableFunc(ks, func(a, b kind) int { return cmp.Compare(b.n, a.n) })
	switch len(ks) {
	case 0:
		return ""
	case 1:
		return because(ks[0].class.String(), ks[0].last.detail())
	}
	parts := make([]string, len(ks))
	for i, k := range ks {
		parts[i] = k.class.String()
		if len(fs) >= all {
			parts[i] = fmt.Sprintf("%d × %s", k.n, k.class)
		}
		if d := k.last.detail(); d != "" {
			parts[i] += " (" + d + ")"
		}
	}
	if len(fs) < all {
		return "among them " + strings.Join(parts, ", ")
	}
	return strings.Join(parts, ", ")
}

// detail says what a failure looked like.
func (f Failure) detail() string { return detail(f.Status, f.Text) }

// detail leaves out the status of an answer that began well.
func detail(status int, text string) string {
	if status < 400 {
		return oneLine(text)
	}
	return because("HTTP "+strconv.Itoa(status), oneLine(text))
}
