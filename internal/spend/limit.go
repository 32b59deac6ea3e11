package spend

import (
	"fmt"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// ScopeKind says over what a budget reaches.
type ScopeKind uint8

// The kinds of scope, the narrower first. The zero value is a provider.
const (
	ByProvider ScopeKind = iota
	ByProfile
	ByKey
	Global
)

var scopeNames = [...]string{"provider", "profile", "key", "global"}

// String returns the kind's name.
func (k ScopeKind) String() string { return drey.NameOf(scopeNames[:], k, "scope") }

// Scope is what an account is kept of. Name is "" for Global alone.
type Scope struct {
	Kind ScopeKind
	Name string
}

// String returns the scope as events and metrics name it: "global", or
// "provider:NAME" and so on.
func (s Scope) String() string {
	if s.Kind == Global {
		return s.Kind.String()
	}
	return s.Kind.String() + ":" + s.Name
}

// MarshalText writes String.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Scope) UnmarshalText(b []byte) error {
	for i, kind := range scopeNames {
		switch rest, ok := strings.CutPrefix(string(b), kind); {
		case !ok:
		case rest == "" && ScopeKind(i) == Global:
			*s = Scope{Kind: Global}
			return nil
		case len(rest) > 1 && rest[0] == ':' && ScopeKind(i) != Global:
			*s = Scope{ScopeKind(i), rest[1:]}
			return nil
		}
	}
	return fmt.Errorf("unknown scope %q", b)
}

// Period is the span of time that a budget is for. Both follow the UTC
// calendar.
type Period uint8

// The periods.
const (
	Day Period = iota
	Month
	periods
)

var periodNames = [...]string{"day", "month"}

// String returns the period's name in events and metrics.
func (p Period) String() string { return drey.NameOf(periodNames[:], p, "period") }

// MarshalText writes the period's name.
func (p Period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Period) UnmarshalText(b []byte) error { return drey.ParseName(periodNames[:], p, b, "period") }

// Cap is the most that may be spent in a period. The zero value is no cap.
type Cap struct {
	set bool
	at  MicroUSD
}

// CapAt returns a cap; 0 lets nothing through that costs anything.
func CapAt(m MicroUSD) Cap { return Cap{true, amount(m)} }

// CapOf returns the cap that a configuration sets in USD; nil is none.
func CapOf(usd *float64) Cap {
	if usd == nil {
		return Cap{}
	}
	return CapAt(Dollars(*usd))
}

// Value returns the cap, and whether there is one.
func (c Cap) Value() (MicroUSD, bool) { return c.at, c.set }

// Limit is a budget: the caps of one scope. The zero value holds nothing back.
type Limit struct{ Day, Month Cap }

func (l Limit) cap(p Period) Cap {
	if p == Day {
		return l.Day
	}
	return l.Month
}

func (l Limit) inForce() bool { return l.Day.set || l.Month.set }

// Policy is the budgets of a configuration. Its maps are only read, so that one
// Policy may be shared and be swapped as a whole on a reload. The zero value
// holds nothing back.
type Policy struct {
	Global    Limit
	Providers map[drey.ProviderID]Limit
	Profiles  map[drey.ProfileID]Limit
	Keys      map[string]Limit // by the key's name
}

func (p Policy) limit(s Scope) Limit {
	switch s.Kind {
	case ByProvider:
		return p.Providers[drey.ProviderID(s.Name)]
	case ByProfile:
		return p.Profiles[drey.ProfileID(s.Name)]
	case ByKey:
		return p.Keys[s.Name]
	default:
		return p.Global
	}
}

// Any reports whether there is a budget at all.
func (p Policy) Any() bool { return len(p.scopes()) > 0 }

// InForce reports whether some budget reaches over the payer's attempts. Only
// then does an attempt have to wait for the journal.
func (p Policy) InForce(payer Payer) bool {
	return p.Global.inForce() || p.Providers[payer.Provider].inForce() ||
		p.Profiles[payer.Profile].inForce() || p.Keys[payer.Key].inForce()
}

// Payer says on whose account an attempt goes. All attempts are on the global
// account too.
type Payer struct {
	Provider drey.ProviderID
	Profile  drey.ProfileID // "" = none
	Key      string         // the name of the caller's key; "" = none
}

// scopes returns the payer's scopes, the narrower first, and how many they are.
func (p Payer) scopes() (s [4]Scope, n int) {
	for _, one := range [...]Scope{{ByProvider, string(p.Provider)}, {ByProfile, string(p.Profile)}, {ByKey, p.Key}} {
		if one.Name != "" {
			s[n] = one
			n++
		}
	}
	s[n] = Scope{Kind: Global}
	return s, n + 1
}

// Date is a day of the UTC calendar, counted from 1970-01-01.
type Date int32

const (
	secondsPerDay = 86400

	// The days that have four digits of a year, which is all that text holds.
	firstDate Date = -719162 // 0001-01-01
	lastDate  Date = 2932896 // 9999-12-31
)

func dateOf(t time.Time) Date {
	s := t.Unix()
	d := s / secondsPerDay
	if s%secondsPerDay < 0 {
		d--
	}
	return Date(min(max(d, int64(firstDate)), int64(lastDate)))
}

func (d Date) time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// index is the day's number among the windows of a period; windows of a period
// are equal if and only if these are.
func (d Date) index(p Period) int32 {
	if p == Day {
		return int32(d)
	}
	y, m, _ := d.time().Date()
	return int32(y)*12 + int32(m) - 1
}

// end is when the window that the day lies in is over.
func (d Date) end(p Period) time.Time {
	y, m, day := d.time().Date()
	if p == Day {
		return time.Date(y, m, day+1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// MarshalText writes the day as 2006-01-02.
func (d Date) MarshalText() ([]byte, error) { return d.time().AppendFormat(nil, time.DateOnly), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Date) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fmt.Errorf("%q is not a day (2006-01-02)", b)
	}
	*d = dateOf(t)
	return nil
}
