package health

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/dreyhq/drey"
)

// Record is what survives a restart of the daemon, and its JSON form. A
// provider has one while it is UNHEALTHY, EXCLUDED, ramping or parked, and
// after a graceful stop also for counts below 2N.
type Record struct {
	State               State          `json:"state"`
	Phase               Phase          `json:"phase"`
	By                  By             `json:"by"`
	Reason              string         `json:"reason"`
	Profile             drey.ProfileID `json:"profile"`
	ConsecutiveFailures int            `json:"consecutive_failures"`
	IntervalS           float64        `json:"interval_s"`
	NextProbeAt         Stamp          `json:"next_probe_at"`
	ExcludedAt          Stamp          `json:"excluded_at"`
	Until               Stamp          `json:"until"`    // of an operator's "for"
	Restarts            []Stamp        `json:"restarts"` // newest first
	ParkedUntil         Stamp          `json:"parked_until"`
	ParkedReason        Park           `json:"parked_reason"`
}

// Stamp is a time as the house writes it; the zero time is null.
type Stamp struct{ time.Time }

// MarshalJSON writes drey.FormatTime's text, or null.
func (t Stamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(drey.FormatTime(t.Time))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Stamp) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	if t.Time = (time.Time{}); text == nil {
		return nil
	}
	at, err := drey.ParseTime(*text)
	t.Time = at
	return err
}

// ParseRecord reads a persisted row, tolerantly: a field that is missing or of
// a wrong type has its default (profile "", no failures, phase probing, the
// initial interval, state EXCLUDED, by health), and the rest holds. Only what
// is no JSON object is an error; such a row is dropped (DroppedEvent).
func ParseRecord(data []byte) (Record, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return Record{}, err
	}
	if raw == nil {
		return Record{}, errors.New("not an object")
	}
	r := Record{State: Excluded, Phase: Probing, By: ByHealth}
	field(raw, "state", &r.State)
	if r.State != Excluded {
		r.By = ByNobody
	}
	field(raw, "phase", &r.Phase)
	field(raw, "by", &r.By)
	field(raw, "reason", &r.Reason)
	field(raw, "profile", &r.Profile)
	field(raw, "consecutive_failures", &r.ConsecutiveFailures)
	field(raw, "interval_s", &r.IntervalS)
	field(raw, "next_probe_at", &r.NextProbeAt)
	field(raw, "excluded_at", &r.ExcludedAt)
	field(raw, "until", &r.Until)
	field(raw, "restarts", &r.Restarts)
	field(raw, "parked_until", &r.ParkedUntil)
	field(raw, "parked_reason", &r.ParkedReason)
	return r, nil
}

// field decodes one key into dst, which keeps its default if that fails.
func field[T any](raw map[string]json.RawMessage, key string, dst *T) {
	var v T
	if b, ok := raw[key]; ok && string(b) != "null" && json.Unmarshal(b, &v) == nil {
		*dst = v
	}
}

// Record returns what must survive a restart of the daemon. ok is false if
// there is nothing: the persisted row, if any, is to be deleted.
func (m Machine) Record() (r Record, ok bool) {
	ok = m.State >= Unhealthy || m.Phase == Ramping || !m.ParkedUntil.IsZero() || m.Closed && m.ConsecutiveFailures > 0
	if !ok {
		return Record{}, false
	}
	r = Record{
		State: m.State, Phase: m.Phase, By: m.By, Reason: m.Reason, Profile: m.Profile,
		ConsecutiveFailures: m.ConsecutiveFailures, IntervalS: seconds(m.Interval),
		NextProbeAt: Stamp{m.NextProbeAt}, ExcludedAt: Stamp{m.ExcludedAt}, Until: Stamp{m.Until},
		ParkedUntil: Stamp{m.ParkedUntil}, ParkedReason: m.ParkedReason,
	}
	if m.ParkedUntil.IsZero() {
		r.ParkedReason = NoPark
	}
	for _, t := range m.Restarts {
		if !t.IsZero() {
			r.Restarts = append(r.Restarts, Stamp{t})
		}
	}
	return r, true
}

// blank reports whether the record says nothing: none was persisted.
func (r Record) blank() bool {
	return r.State == Healthy && r.Phase == NoPhase && r.ConsecutiveFailures == 0 && r.ParkedUntil.IsZero()
}

// persist is the Persist effect of the machine as it is.
func (m *Machine) persist() Persist {
	r, ok := m.Record()
	return Persist{Record: r, Delete: !ok}
}

// restore puts the record's facts into a machine. What cannot be true is
// mended; phases and times are the business of loaded.
func (r Record) restore(m *Machine, at time.Time) {
	m.State, m.Phase, m.By = r.State, r.Phase, r.By
	m.ConsecutiveFailures = max(r.ConsecutiveFailures, 0)
	m.Interval = spanOf(r.IntervalS)
	m.NextProbeAt = r.NextProbeAt.Time
	if !r.ParkedUntil.IsZero() && r.ParkedReason != NoPark {
		m.ParkedUntil, m.ParkedReason, m.Parks = r.ParkedUntil.Time, r.ParkedReason, 1
	}
	for i := range min(len(r.Restarts), len(m.Restarts)) {
		m.Restarts[i] = r.Restarts[i].Time
	}
	switch m.State {
	case Excluded:
		m.Finding = Unhealthy
		if m.By == ByNobody {
			m.By = ByHealth
		}
		m.Reason, m.Profile, m.ExcludedAt = r.Reason, r.Profile, r.ExcludedAt.Time
		if m.ExcludedAt.IsZero() || m.ExcludedAt.After(at) {
			m.ExcludedAt = at
		}
		if m.By == ByOperator {
			m.Until = r.Until.Time
		}
	default:
		m.By, m.Finding = ByNobody, m.State
	}
}

// spanOf reads a number of seconds; what no interval can be is 0.
func spanOf(s float64) time.Duration {
	if !(s > 0 && s < 1e9) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
