package operation

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// The words of events that are not those of a status. An event's name is
// "operation." and its word.
const (
	wordRegistered   = "registered"
	wordPeerReady    = "peer_ready"
	wordProgress     = "progress"
	wordOwnerChanged = "owner_changed"
)

// word is what the event of a row is called.
func (r *Row) word() string {
	switch r.Action {
	case ActRegister:
		return wordRegistered
	case ActPeerReady:
		return wordPeerReady
	case ActReportProgress:
		return wordProgress
	case ActAdoptOwner:
		return wordOwnerChanged
	default:
		return r.After.Status.String()
	}
}

// Event returns the row as the journal keeps it, which is also its log line and
// its live event: the envelope, then epoch, registry, version and kind, then
// what the transition changed. Its Seq is the journal's to set.
func (r *Row) Event() drey.Event {
	m := &r.After
	e := drey.Event{
		At: r.At, Name: MachineName + "." + r.word(),
		Machine: MachineName, ID: m.ID.String(), Trigger: r.Action.String(),
		Cause: r.Cause, RequestID: r.RequestID,
	}
	if r.From != m.Status {
		e.To = m.Status.String()
		if r.From != Absent {
			e.From = r.From.String()
		}
	}
	f := make([]drey.Field, 0, 12)
	add := func(key string, value any) { f = append(f, drey.Field{Key: key, Value: value}) }
	add("epoch", int64(r.Epoch))
	add("registry", string(m.Registry))
	add("version", m.Version)
	add("kind", m.Kind.String())
	switch r.Action {
	case ActRegister:
		add("owner_session_id", m.Owner)
		add("display_name", m.Name)
		add("source_label", m.Source)
		if m.Child != "" {
			add("child_session_id", m.Child)
		}
		add("expect_peer_channel", m.ExpectPeer)
		add("on_restart", m.OnRestart.String())
		if len(m.Labels) > 0 {
			add("labels", m.Labels)
		}
	case ActProvisioned:
		add("started_at_ms", m.StartedAtMS)
	case ActPeerReady:
		add("peer_handle", m.Peer)
	case ActReportProgress:
		add("progress_count", m.ProgressCount)
		if r.Update.Message != "" {
			add("message", r.Update.Message)
		}
		if r.Update.Percent.Known {
			add("percent", r.Update.Percent.Value)
		}
	case ActAdoptOwner:
		add("owner_session_id", m.Owner)
		add("old_owner_session_id", r.OldOwner)
	case ActRecover:
		add("child_left", r.childLeft)
	}
	if m.Status.Ended() {
		add("terminal_outcome", m.Outcome)
		add("elapsed_ms", m.elapsedMS())
	}
	if r.digest != (digest{}) {
		text, _ := r.digest.MarshalText()
		add("request_digest", string(text))
	}
	e.Fields = f
	return e
}

// FromJournal returns the call that an event of the journal was the row of, so
// that Step can take it again. An event that is of no operation, or that no Row
// wrote, is an error.
func FromJournal(e drey.Event) (Event, error) {
	ev, err := fromJournal(e)
	if err != nil {
		return nil, fmt.Errorf("journal row %d (%s) of operation %s: %w", e.Seq, e.Name, e.ID, err)
	}
	return ev, nil
}

func fromJournal(e drey.Event) (Event, error) {
	if e.Machine != MachineName {
		return nil, fmt.Errorf("it is of a %q", e.Machine)
	}
	id, err := ParseID(e.ID)
	if err != nil {
		return nil, err
	}
	var action Action
	if err := action.UnmarshalText([]byte(e.Trigger)); err != nil {
		return nil, err
	}
	d := decoder{fields: e.Fields}
	meta := Meta{ID: id, At: e.At, Epoch: uint64(d.int("epoch")), Cause: e.Cause, RequestID: e.RequestID}
	if text := d.text("request_digest"); text != "" {
		d.note("request_digest", meta.digest.UnmarshalText([]byte(text)))
	}
	ev := d.event(action, meta)
	if d.err != nil {
		return nil, d.err
	}
	if ev == nil {
		return nil, fmt.Errorf("%s is in no journal", action)
	}
	return ev, nil
}

// event reads the payload of the action; nil if the action writes no rows.
func (d *decoder) event(action Action, meta Meta) Event {
	switch action {
	case ActRegister:
		s := Spec{
			ID: meta.ID, Owner: d.text("owner_session_id"), Name: d.text("display_name"), Source: d.text("source_label"),
			Child: d.text("child_session_id"), ExpectPeer: d.bool("expect_peer_channel"),
		}
		d.note("kind", s.Kind.UnmarshalText([]byte(d.text("kind"))))
		d.note("on_restart", s.OnRestart.UnmarshalText([]byte(d.text("on_restart"))))
		d.value("labels", &s.Labels)
		return Register{Meta: meta, Registry: RegistryID(d.text("registry")), Spec: s}
	case ActProvisioned:
		return Provisioned{meta}
	case ActProvisioningFailed:
		return ProvisioningFailed{meta, d.outcome().Error}
	case ActAbortProvisioning:
		return AbortProvisioning{meta, d.outcome().Reason}
	case ActPeerReady:
		ev := PeerBecameReady{Meta: meta}
		d.value("peer_handle", &ev.Handle)
		return ev
	case ActReportProgress:
		ev := ReportProgress{Meta: meta, Update: ProgressUpdate{Message: d.text("message")}}
		d.value("percent", &ev.Update.Percent)
		return ev
	case ActComplete:
		return Complete{meta, d.outcome().Result}
	case ActFail:
		return Fail{meta, d.outcome().Error}
	case ActCancel:
		return Cancel{meta, d.outcome().Reason}
	case ActRequestRetire:
		return RequestRetire{meta}
	case ActMarkRetired:
		return MarkRetired{meta}
	case ActTerminateOwner:
		return TerminateOwner{meta, d.outcome().Reason}
	case ActAdoptOwner:
		return AdoptOwner{meta, d.text("owner_session_id")}
	case ActRecover:
		return Recover{meta, d.bool("child_left")}
	}
	return nil
}

// decoder reads fields, which are what encoding/json can write or, of an event
// that was read back, json.RawMessage. It keeps the first error.
type decoder struct {
	fields []drey.Field
	err    error
}

func (d *decoder) note(key string, err error) {
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("field %s: %w", key, err)
	}
}

// raw returns a field's JSON, nil if it is missing.
func (d *decoder) raw(key string) json.RawMessage {
	for i := range d.fields {
		if d.fields[i].Key != key {
			continue
		}
		if raw, ok := d.fields[i].Value.(json.RawMessage); ok {
			return raw
		}
		raw, err := marshal(d.fields[i].Value)
		d.note(key, err)
		return raw
	}
	return nil
}

// value reads a field into dst, which stays as it is if the field is missing.
func (d *decoder) value(key string, dst any) {
	if raw := d.raw(key); raw != nil {
		d.note(key, json.Unmarshal(raw, dst))
	}
}

// text reads a string, "" if it is missing. A restart reads a dozen for each
// operation, nearly all of them without an escape.
func (d *decoder) text(key string) string {
	raw := d.raw(key)
	if n := len(raw); n >= 2 && raw[0] == '"' {
		if s := string(raw[1 : n-1]); !strings.ContainsAny(s, "\"\\") {
			return s
		}
	}
	var s string
	d.value(key, &s)
	return s
}

func (d *decoder) int(key string) int64 {
	raw := d.raw(key)
	if raw == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	d.note(key, err)
	return n
}

func (d *decoder) bool(key string) bool {
	var b bool
	d.value(key, &b)
	return b
}

func (d *decoder) outcome() (o Outcome) {
	d.value("terminal_outcome", &o)
	return o
}
