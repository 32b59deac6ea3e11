// Package drey is the vocabulary that every floor of the house speaks: names,
// failure classes, the one error type, the one event envelope, durations and
// times as users read and write them.
//
// It imports the standard library only and does nothing by itself. The plan of
// the house, with who may import whom, is in docs/design.md; arch_test.go holds
// it.
package drey

import "fmt"

// ProviderID names a provider of the configuration: one model behind one
// endpoint with one credential. It matches [A-Za-z0-9._-]{1,64}.
type ProviderID string

// ProfileID names a profile of the configuration: an ordered chain of
// providers with its policies. It matches [A-Za-z0-9._-]{1,64} and is never
// "auto".
type ProfileID string

// RequestID is the id that one request of a client keeps from the socket to
// the last log line: "req_" and 24 characters of [0-9a-z]. The zero value means
// that no request is involved.
type RequestID string

// Seq is a position in the journal: 1 for the first row, without gaps, in the
// order of commits. 0 means "not journaled" or "from the beginning".
type Seq uint64

// Wire is a protocol that a client or a provider speaks.
type Wire uint8

// The wires. The zero value is none of them and never valid on a request.
const (
	WireNone      Wire = iota
	WireAnthropic      // Anthropic Messages
	WireChat           // OpenAI Chat Completions
	WireResponses      // OpenAI Responses
)

var wireNames = [...]string{"", "anthropic", "chat", "responses"}

// String returns the wire's name in code, logs, metrics and JSON.
func (w Wire) String() string { return NameOf(wireNames[:], w, "wire") }

// MarshalText writes the wire's name, so that disk and wire hold names.
func (w Wire) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *Wire) UnmarshalText(b []byte) error { return ParseName(wireNames[:], w, b, "wire") }

// Price says what a call costs its user. It orders chains: local before free
// before paid.
type Price uint8

// The prices. The zero value is Local.
const (
	Local Price = iota // on the user's own machine or network
	Free               // remote, and free of charge
	Paid               // remote, and on a bill: used only where allow_paid is set
)

var priceNames = [...]string{"local", "free", "paid"}

// String returns the price's name as the configuration spells it.
func (p Price) String() string { return NameOf(priceNames[:], p, "price") }

// MarshalText writes the price's name.
func (p Price) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Price) UnmarshalText(b []byte) error { return ParseName(priceNames[:], p, b, "price") }

// NameOf returns the name of an enumeration's value, which is its index in names;
// of a value that has none, kind and its number. It is String for all enums of
// the house.
func NameOf[T ~uint8](names []string, v T, kind string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", kind, v)
}

// ParseName reads what NameOf wrote into v, and nothing else.
func ParseName[T ~uint8](names []string, v *T, b []byte, kind string) error {
	for i, n := range names {
		if n == string(b) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("unknown %s %q", kind, b)
}
