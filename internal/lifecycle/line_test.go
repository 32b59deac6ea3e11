package lifecycle

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/dreyhq/drey"
)

// TestLines holds the exact bytes of the lines of §4.2.
func TestLines(t *testing.T) {
	const ts = `{"ts":"2026-03-01T12:00:00.000000+00:00","event":`
	r := Default(t0)
	r.State = Drowsy
	_, effects := Step(r, Event{Name: RequestArrived, At: t0}, Policy{})
	_, caused := Step(r, Event{Name: RequestArrived, At: t0, Reason: `<a> & "b"`, Cause: 12}, Policy{})
	for _, tt := range []struct {
		line Line
		want string
	}{
		{effects[1].(Log).Line, `"state_transition","from":"DROWSY","to":"WAKE","trigger":"request_arrived"}`},
		{caused[1].(Log).Line, `"state_transition","from":"DROWSY","to":"WAKE","trigger":"request_arrived","reason":"<a> & \"b\"","cause":12}`},
		{shadowWarning(t0), `"shadow_run_warning","would_action":"hibernate_kill_process","blocked_by":"shadow_run=True","note":"shadow_run=True is a test-only guard kept for transition tests; production daemons run with shadow_run=False, where this never fires."}`},
		{DaemonStarted(t0, 7, "v1", Sleep, "systemd"), `"daemon_started","pid":7,"version":"v1","state":"SLEEP","started_by":"systemd"}`},
		{DaemonStopped(t0, 7, StoppedByHibernation), `"daemon_stopped","pid":7,"reason":"hibernation"}`},
		{FileCorrupt(t0, "kept", errors.New("why")), `"state_file_corrupt","kept_as":"kept","error":"why"}`},
		{SignalConsumed(t0, []byte("a\xff\n")), `"wake_signal_consumed","content":"a\ufffd\n"}`},
		{OwnerLost(t0), `"owner_lost"}`},
		{line(t0, "x", drey.F("n", 0.25), drey.F("nan", math.NaN()), drey.F("ok", true), drey.F("none", nil)), `"x","n":0.25,"nan":"NaN","ok":true,"none":null}`},
	} {
		if got := string(tt.line.JSON()); got != ts+tt.want {
			t.Errorf("got  %s\nwant %s", got, ts+tt.want)
		}
	}
	if got := seconds(1234567 * time.Microsecond); got != 1.235 {
		t.Errorf("seconds: %v", got)
	}
}

func TestNames(t *testing.T) {
	for _, e := range events {
		if got, err := ParseEvent(e.String()); got != e || err != nil {
			t.Errorf("%s: %s %v", e, got, err)
		}
	}
	for _, s := range []string{"", "Tick", "idle_10min", " tick"} {
		if _, err := ParseEvent(s); err == nil {
			t.Errorf("%q is an event", s)
		}
	}
	for _, s := range []string{"", "no", "1", "True", "null", `"true"`, "TRUE", "true "} {
		if _, err := ParseGuard(s); err == nil {
			t.Errorf("%q is a guard", s)
		}
	}
	for _, want := range []bool{true, false} {
		if got, err := ParseGuard(map[bool]string{true: "true", false: "false"}[want]); got != want || err != nil {
			t.Errorf("%t: %t %v", want, got, err)
		}
	}
	var s State
	if s.UnmarshalText([]byte("sleep")) == nil || s.UnmarshalText([]byte("HIBERNATION")) != nil || s != Hibernation {
		t.Errorf("states: %s", s)
	}
}
