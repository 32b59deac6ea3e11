package drey

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time as people write it: Go's form plus d for 24 hours
// ("250ms", "1h30m", "90d", "1d12h"). 0 needs no unit; any other bare number is
// an error that says so. Where drey writes a span for programs it writes a
// number with the unit in the name instead (duration_ms, interval_s).
type Duration time.Duration

// D returns the span as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String writes whole days as d and the rest in Go's form, without parts that
// are zero: "90d", "1d12h", "1h30m", "0".
func (d Duration) String() string {
	if d == 0 {
		return "0"
	}
	const day = Duration(24 * time.Hour)
	var out string
	if d < 0 {
		if d == -d { // the smallest int64 has no positive twin
			return time.Duration(d).String()
		}
		out, d = "-", -d
	}
	if d >= day {
		out += strconv.FormatInt(int64(d/day), 10) + "d"
		d %= day
	}
	if d == 0 {
		return out
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return out + s
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration as people write it.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	*d = v
	return err
}

// ParseDuration reads a duration as people write it.
func ParseDuration(s string) (Duration, error) {
	rest, neg := s, false
	if strings.HasPrefix(rest, "-") {
		rest, neg = rest[1:], true
	}
	if rest == "0" {
		return 0, nil
	}
	if _, err := strconv.ParseFloat(rest, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit; write it as %ss or %sms, for instance", s, s, s)
	}
	var days time.Duration
	if i := strings.IndexByte(rest, 'd'); i >= 0 {
		n, err := strconv.ParseUint(rest[:i], 10, 32)
		if err != nil || n > 106751 { // the days that an int64 of nanoseconds holds
			return 0, fmt.Errorf("%q is not a duration; write it like 250ms, 1h30m or 90d", s)
		}
		days, rest = time.Duration(n)*24*time.Hour, rest[i+1:]
	}
	var v time.Duration
	if rest != "" {
		var err error
		if v, err = time.ParseDuration(rest); err != nil || v < 0 {
			return 0, fmt.Errorf("%q is not a duration; write it like 250ms, 1h30m or 90d", s)
		}
	} else if days == 0 && !strings.HasSuffix(s, "d") {
		return 0, fmt.Errorf("an empty duration; write it like 250ms, 1h30m or 90d")
	}
	if v += days; v < 0 {
		return 0, fmt.Errorf("%q is longer than a duration can be (292 years)", s)
	}
	if neg {
		v = -v
	}
	return Duration(v), nil
}

// timeLayout is fixed in width, so that the order of texts is the order of
// times.
const timeLayout = "2006-01-02T15:04:05.000000+00:00"

// FormatTime writes a time as drey writes every time: UTC, microseconds,
// offset +00:00. The order of texts is the order of times.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// ParseTime reads RFC 3339, and a time without an offset as UTC.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if u, uerr := time.Parse("2006-01-02T15:04:05.999999999", s); uerr == nil {
			return u, nil
		}
		return time.Time{}, fmt.Errorf("%q is not a time (RFC 3339)", s)
	}
	return t.UTC(), nil
}
