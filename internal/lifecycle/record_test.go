package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

// full is a record with something in every key.
func full() Record {
	broke := "disk <full> & \"gone\""
	return Record{
		State: Sleep, Since: after(30 * time.Minute), LastActivity: t0, Seq: 41,
		Progress:   &Progress{LastCompletedStep: 2, Attempt: 1, LastError: &broke, StartedAt: after(31 * time.Minute)},
		Quarantine: &Quarantine{Until: "soon", Reason: "sleep step 3 (rollup) failed 3x", Since: drey.FormatTime(t0)},
		ShadowRun:  true,
		LastCycle:  &Cycle{CompletedAt: after(-time.Hour), DurationSec: 1.25, Mode: ModeSleep, Seq: 40},
		WakeAt:     after(2 * time.Hour), WorklessWakes: 2,
		Outbox: []json.RawMessage{Line{TS: t0, Event: "state_transition", Fields: []drey.Field{drey.F("from", "WAKE")}}.JSON()},
	}
}

func TestGoldenRecords(t *testing.T) {
	for name, r := range map[string]Record{"default.json": Default(t0), "full.json": full()} {
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(b))
		if !bytes.HasSuffix(b, []byte("}\n")) {
			t.Errorf("%s does not end in a newline", name)
		}
		var indented bytes.Buffer
		if json.Indent(&indented, b, "", "  "); indented.String() != string(b) {
			t.Errorf("%s is not indented by 2:\n%s", name, cmp.Diff(indented.String(), string(b)))
		}
		back, err := Decode(b, t0)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back, recordsEqual); d != "" {
			t.Errorf("%s comes back changed (-want +got)\n%s", name, d)
		}
	}
}

// TestDefaultsOfMissingKeys: three keys are required, the rest is not.
func TestDefaultsOfMissingKeys(t *testing.T) {
	b := `{"last_activity_ts":"2026-03-01T12:00:00","since_ts":"2026-03-01T13:00:00.0000009+01:00","current_state":"WAKE"}`
	got, err := Decode([]byte(b), after(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(t0), got, recordsEqual); d != "" {
		t.Error(d)
	}
}

// TestUnknownKeysSurvive exactly, in their order, through a change of all that
// is known, and through a second save.
func TestUnknownKeysSurvive(t *testing.T) {
	const in = `{
  "future": 123456789012345678901234567890.10,
  "current_state": "SLEEP",
  "since_ts": "2026-03-01T12:00:00.000000+00:00",
  "a\u0062c": {"z": 1e400, "a": [ 1.0, -0, "<\u003c>" ]},
  "last_activity_ts": "2026-03-01T12:00:00.000000+00:00",
  "sleep_cycle_progress": {"note": 1.10, "last_completed_step": 1, "attempt": 0, "last_error": null, "started_at": "2026-03-01T12:00:00Z"},
  "quarantine": {"until_ts": "?", "by": 0.30000000000000004, "reason": "r", "since_ts": "2026-03-01T12:00:00Z"},
  "last_cycle": {"completed_at": "2026-03-01T12:00:00Z", "duration_sec": 2, "mode": "sleep", "seq": 0, "host": null},
  "Current_State": "no key of ours"
}`
	r, err := Decode([]byte(in), t0)
	if err != nil {
		t.Fatal(err)
	}
	_, run, _ := StartCycle(r, t0, ModeSleep, plan)
	r, _ = StepFailed(r, run, t0, 0, "broke", DefaultPolicy())
	r, _ = Step(r, Event{Name: RequestArrived, At: t0}, Policy{})
	one, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "unknown.json", string(one))
	again, err := Decode(one, t0)
	if err != nil {
		t.Fatal(err)
	}
	if two, _ := again.Encode(); !bytes.Equal(one, two) {
		t.Errorf("a second save changes it:\n%s", cmp.Diff(string(one), string(two)))
	}
}

// TestEveryFieldBroken breaks every field of a good record in turn, in every
// way that is wrong for it.
func TestEveryFieldBroken(t *testing.T) {
	good, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{
		"null": `null`, "true": `true`, "string": `"3"`, "float": `3.0`, "exponent": `3e0`, "negative": `-3`, "minus zero": `-0`,
		"huge": `99999999999999999999`, "integer": `3`, "object": `{}`, "list": `[]`, "list of one": `[3]`, "time": `"2026-03-01T12:00:00Z"`,
		"year 10000": `"9999-12-31T23:59:59-01:00"`, "year 0": `"0000-01-01T00:00:00Z"`, "zero time": `"0001-01-01T00:00:00Z"`,
		"lower case": `"wake"`, "missing": ``, "endless": `1e999`, "line without ts": `[{"event":"x"}]`, "line without event": `[{"event":"","ts":"2026-03-01T12:00:00Z"}]`,
	}
	words := func(s string) []string { return strings.Split(s, ",") }
	fields := []struct {
		path  []string
		takes []string
	}{
		{[]string{"current_state"}, nil},
		{[]string{"since_ts"}, words("time")},
		{[]string{"last_activity_ts"}, words("time")},
		{[]string{"wrapper_event_seq"}, words("integer,missing")},
		{[]string{"sleep_cycle_progress"}, words("null,missing")},
		{[]string{"sleep_cycle_progress", "last_completed_step"}, words("integer")},
		{[]string{"sleep_cycle_progress", "attempt"}, words("integer")},
		{[]string{"sleep_cycle_progress", "last_error"}, words("null,string,time,year 10000,year 0,zero time,lower case")},
		{[]string{"sleep_cycle_progress", "started_at"}, words("time")},
		{[]string{"quarantine"}, words("null,missing")},
		{[]string{"quarantine", "until_ts"}, words("string,time,year 10000,year 0,zero time,lower case")},
		{[]string{"quarantine", "reason"}, words("string,time,year 10000,year 0,zero time,lower case")},
		{[]string{"quarantine", "since_ts"}, words("time")},
		{[]string{"shadow_run"}, words("true,missing")},
		{[]string{"last_cycle"}, words("null,missing")},
		{[]string{"last_cycle", "completed_at"}, words("time")},
		{[]string{"last_cycle", "duration_sec"}, words("float,exponent,negative,minus zero,huge,integer")},
		{[]string{"last_cycle", "mode"}, words("string,time,year 10000,year 0,zero time,lower case")},
		{[]string{"last_cycle", "seq"}, words("integer")},
		{[]string{"wake_at"}, words("null,time,missing")},
		{[]string{"workless_wakes"}, words("integer,missing")},
		{[]string{"log_outbox"}, words("list,missing")},
	}
	for _, f := range fields {
		for kind, value := range kinds {
			takes := false
			for _, k := range f.takes {
				takes = takes || k == kind
			}
			b := replaced(t, good, f.path, value)
			name := strings.Join(f.path, ".") + " " + kind
			r, err := Decode(b, after(time.Minute))
			if takes != (err == nil) {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				if _, err := r.Encode(); err != nil {
					t.Errorf("%s: was read and cannot be written: %v", name, err)
				}
				continue
			}
			if d := cmp.Diff(Default(after(time.Minute)), r, recordsEqual); d != "" {
				t.Errorf("%s: not the default record beside the error:\n%s", name, d)
			}
			if !strings.Contains(err.Error(), f.path[len(f.path)-1]) {
				t.Errorf("%s: the error does not name the field: %v", name, err)
			}
		}
	}
}

// replaced sets the value at a path of a JSON object, or takes it out for "".
func replaced(t *testing.T, b []byte, path []string, value string) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	switch {
	case len(path) > 1:
		m[path[0]] = replaced(t, m[path[0]], path[1:], value)
	case value == "":
		delete(m, path[0])
	default:
		m[path[0]] = json.RawMessage(value)
	}
	var out []string
	for k, v := range m { // by hand, since encoding/json would compact 1e999 away as an error
		out = append(out, fmt.Sprintf("%q:%s", k, v))
	}
	return []byte("{" + strings.Join(out, ",") + "}")
}

func TestDecodeRefuses(t *testing.T) {
	const head = `{"current_state":"WAKE","since_ts":"2026-03-01T12:00:00Z","last_activity_ts":"2026-03-01T12:00:00Z"`
	for name, b := range map[string]string{
		"nothing":           "",
		"no JSON":           "{",
		"a list":            "[]",
		"two objects":       head + "}{}",
		"a key twice":       head + `,"current_state":"WAKE"}`,
		"escaped key twice": head + `,"current\u005fstate":"SLEEP"}`,
		"unknown twice":     head + `,"x":1,"x":1}`,
		"nested twice":      head + `,"quarantine":{"until_ts":"","until_ts":"","reason":"","since_ts":"2026-03-01T12:00:00Z"}}`,
		"not UTF-8":         head + ",\"x\":\"\xff\"}",
		"a mark before":     "\ufeff" + head + "}",
		"over 1 MiB":        head + strings.Repeat(" ", MaxRecord) + "}",
		"1 MiB when saved":  head + `,"x":"` + strings.Repeat("x", MaxRecord-len(head)-10) + `"}`,
	} {
		if _, err := Decode([]byte(b), t0); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if _, err := Decode([]byte(head+"}"), t0); err != nil {
		t.Error(err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, breakIt := range map[string]func(*Record){
		"the zero record":  func(r *Record) { *r = Record{} },
		"an unknown state": func(r *Record) { r.State = 4 },
		"no time":          func(r *Record) { r.Since = time.Time{} },
		"a far time":       func(r *Record) { r.WakeAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a negative count": func(r *Record) { r.Seq = -1 },
		"no number":        func(r *Record) { r.LastCycle.DurationSec = math.NaN() },
		"a lost quarantine": func(r *Record) {
			r.Quarantine.Since = "yesterday"
		},
		"a line that is none": func(r *Record) { r.Outbox = []json.RawMessage{json.RawMessage(`{"ts":1}`)} },
		"broken JSON":         func(r *Record) { r.Outbox = []json.RawMessage{json.RawMessage(`{`)} },
	} {
		r := full().Clone()
		breakIt(&r)
		if b, err := r.Encode(); err == nil {
			t.Errorf("%s: written as %s", name, b)
		}
	}
}

func TestQueueKeepsTheNewest(t *testing.T) {
	var pending []json.RawMessage
	for i := range 300 {
		pending = append(pending, Line{TS: t0, Event: "e", Fields: []drey.Field{drey.F("n", i)}}.JSON())
	}
	r := Default(t0).Queue(pending, Line{TS: t0, Event: "new"})
	if len(r.Outbox) != MaxOutbox || !strings.Contains(string(r.Outbox[MaxOutbox-1]), "new") || !strings.Contains(string(r.Outbox[0]), `"n":45`) {
		t.Errorf("%d lines from %s to %s", len(r.Outbox), r.Outbox[0], r.Outbox[len(r.Outbox)-1])
	}
	big := Line{TS: t0, Event: "e", Fields: []drey.Field{drey.F("x", strings.Repeat("x", 100_000))}}
	r = Default(t0).Queue(nil, big, big, big, big)
	if _, err := r.Encode(); err != nil || len(r.Outbox) != 2 {
		t.Errorf("%d large lines: %v", len(r.Outbox), err)
	}
	if r = Default(t0).Queue(nil); len(r.Outbox) != 0 || !r.Equal(Default(t0)) {
		t.Errorf("an empty queue: %v", r.Outbox)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := full()
	before, _ := r.Encode()
	c := r.Clone()
	*c.Progress.LastError, c.Progress.Attempt, c.Quarantine.Until, c.LastCycle.Seq = "x", 9, "x", 9
	c.Outbox[0] = json.RawMessage(`{}`)
	if now, _ := r.Encode(); !bytes.Equal(before, now) {
		t.Error(cmp.Diff(string(before), string(now)))
	}
	if !r.Equal(r.Clone()) || r.Equal(c) {
		t.Error("Equal")
	}
}

// drawRecord draws any record that is valid.
func drawRecord(t *rapid.T) Record {
	instants := rapid.Custom(func(t *rapid.T) time.Time {
		return t0.Add(time.Duration(rapid.Int64Range(-1e6, 1e6).Draw(t, "s"))*time.Second + time.Duration(rapid.IntRange(0, 999999).Draw(t, "µs"))*time.Microsecond)
	})
	maybe := func(name string) bool { return rapid.Bool().Draw(t, name) }
	counts := rapid.Int64Range(0, math.MaxInt64)
	r := Record{
		State: rapid.SampledFrom(states).Draw(t, "state"), Since: instants.Draw(t, "since"), LastActivity: instants.Draw(t, "activity"),
		Seq: counts.Draw(t, "seq"), ShadowRun: maybe("shadow"), WorklessWakes: rapid.IntRange(0, math.MaxInt).Draw(t, "workless"),
	}
	if maybe("progress") {
		r.Progress = &Progress{LastCompletedStep: rapid.IntRange(0, 9).Draw(t, "step"), Attempt: rapid.IntRange(0, 4).Draw(t, "attempt"), StartedAt: instants.Draw(t, "started")}
		if maybe("error") {
			s := rapid.String().Draw(t, "error text")
			r.Progress.LastError = &s
		}
	}
	if maybe("quarantine") {
		r.Quarantine = &Quarantine{Until: rapid.String().Draw(t, "until"), Reason: rapid.String().Draw(t, "reason"), Since: drey.FormatTime(instants.Draw(t, "since"))}
		if maybe("readable") {
			r.Quarantine.Until = drey.FormatTime(instants.Draw(t, "until"))
		}
	}
	if maybe("cycle") {
		r.LastCycle = &Cycle{CompletedAt: instants.Draw(t, "completed"), DurationSec: rapid.Float64Range(-1e300, 1e300).Draw(t, "duration"), Mode: rapid.String().Draw(t, "mode"), Seq: counts.Draw(t, "cycle seq")}
		if maybe("clean") {
			r.LastCycle.Seq = r.Seq
		}
	}
	if maybe("alarm") {
		r.WakeAt = instants.Draw(t, "wake at")
	}
	for range rapid.IntRange(0, 3).Draw(t, "lines") {
		r.Outbox = append(r.Outbox, Line{TS: instants.Draw(t, "ts"), Event: "e" + rapid.String().Draw(t, "event"), Fields: []drey.Field{drey.F("k", rapid.String().Draw(t, "value"))}}.JSON())
	}
	return r
}

func TestRecordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b, t0)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if d := cmp.Diff(r, back, recordsEqual); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzDecode: whatever is read can be written, reads as the same, and every
// unknown value is still there with its bytes.
func FuzzDecode(f *testing.F) {
	for _, r := range []Record{Default(t0), full()} {
		b, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		for _, cut := range []int{1, len(b) / 2, len(b) - 3} {
			f.Add(b[:cut])
		}
	}
	f.Add([]byte(`{"current_state":"WAKE","since_ts":"2026-03-01T12:00:00Z","last_activity_ts":"2026-03-01T12:00:00Z","\ud800":{"a":1e400},"x":[ 1 ]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Decode(in, t0)
		if err != nil {
			if !r.Equal(Default(t0)) {
				t.Fatal("not the default record")
			}
			return
		}
		out, err := r.Encode()
		if err != nil {
			t.Fatalf("read and not written: %v\n%s", err, in)
		}
		back, err := Decode(out, t0)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if d := cmp.Diff(r, back, recordsEqual); d != "" {
			t.Fatal(d)
		}
		for _, m := range r.extra {
			if !bytes.Contains(in, m.key) || !bytes.Contains(out, m.val) {
				t.Fatalf("%s: %s is lost", m.key, m.val)
			}
		}
	})
}
