package drey_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var at = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)

func TestEventJSON(t *testing.T) {
	tests := []struct {
		name string
		ev   drey.Event
		want string
	}{
		{"the least", drey.Event{At: at, Name: "tick"}, `{"ts":"2026-11-22T10:00:00.123456+00:00","event":"tick","level":"info"}`},
		{"all of the envelope", drey.Event{Seq: 7, At: at, Name: "state_transition", Level: drey.Warn, Machine: "lifecycle", ID: "daemon", From: "WAKE", To: "DROWSY", Trigger: "idle_5min", Cause: 3, RequestID: "req_x"},
			`{"seq":7,"ts":"2026-11-22T10:00:00.123456+00:00","event":"state_transition","level":"warn","machine":"lifecycle","id":"daemon","from":"WAKE","to":"DROWSY","trigger":"idle_5min","cause":3,"request_id":"req_x"}`},
		{"fields in their order", drey.Event{At: at, Name: "x", Fields: []drey.Field{
			drey.F("provider", drey.ProviderID("lab")), drey.F("ok", true), drey.F("n", 3), drey.F("class", drey.Silence),
			drey.F("error", nil), drey.F("list", []string{"<a>"}), drey.F("s", 1.5)}},
			`{"ts":"2026-11-22T10:00:00.123456+00:00","event":"x","level":"info","provider":"lab","ok":true,"n":3,"class":"silence","error":null,"list":["<a>"],"s":1.5}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.ev)
			if err != nil {
				t.Fatal(err)
			}
			// json.Marshal escapes HTML in what a Marshaler returns.
			var plain bytes.Buffer
			plain.Write(bytes.ReplaceAll(bytes.ReplaceAll(got, []byte(`\u003c`), []byte("<")), []byte(`\u003e`), []byte(">")))
			if plain.String() != tt.want {
				t.Errorf("\n got %s\nwant %s", plain.String(), tt.want)
			}
			var back drey.Event
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(back)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("read and written again\n got %s\nwant %s (%v)", again, got, err)
			}
		})
	}
	if _, err := (drey.Event{Name: "x", Fields: []drey.Field{drey.F("seq", 1)}}).MarshalJSON(); err == nil {
		t.Error("a field with a name of the envelope was written")
	}
}

func FuzzEventStrings(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\n\r\t\b\f\x00\x1f\x7f", "é\u2028\u2029😀", "\xff\xc3", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := drey.Event{At: at, Name: s, Fields: []drey.Field{drey.F("k"+s, s)}}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		want := string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
		b.Reset()
		if err := enc.Encode("k" + s); err != nil {
			t.Fatal(err)
		}
		key := string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
		if whole := `{"ts":"2026-11-22T10:00:00.123456+00:00","event":` + want + `,"level":"info",` + key + `:` + want + `}`; string(got) != whole {
			t.Errorf("\n got %s\nwant %s", got, whole)
		}
	})
}

func TestDuration(t *testing.T) {
	good := map[string]time.Duration{
		"0": 0, "250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute, "90d": 90 * 24 * time.Hour,
		"1d12h": 36 * time.Hour, "-5s": -5 * time.Second, "0s": 0, "0d": 0,
	}
	for s, want := range good {
		got, err := drey.ParseDuration(s)
		if err != nil || got.D() != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "5", "1.5", "d", "1d-2h", "1x", "9999999d", "200000d", "--5s", "1d2d", "NaN"} {
		if got, err := drey.ParseDuration(s); err == nil {
			t.Errorf("%q was taken for %v", s, got)
		}
	}
	texts := map[drey.Duration]string{
		0: "0", drey.Duration(time.Second): "1s", drey.Duration(90 * time.Minute): "1h30m", drey.Duration(time.Hour): "1h",
		drey.Duration(48 * time.Hour): "2d", drey.Duration(25*time.Hour + time.Second): "1d1h0m1s", drey.Duration(-time.Minute): "-1m",
	}
	for d, want := range texts {
		if got := d.String(); got != want {
			t.Errorf("%d is written %q, want %q", d, got, want)
		}
	}
}

func FuzzDuration(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(-1 << 63))
	f.Add(int64(90 * time.Minute))
	f.Fuzz(func(t *testing.T, n int64) {
		d := drey.Duration(n)
		if n == -1<<63 {
			return // it has no positive twin, and nobody writes it
		}
		back, err := drey.ParseDuration(d.String())
		if err != nil || back != d {
			t.Errorf("%d is written %q and read %d, %v", n, d, back, err)
		}
	})
}

func TestNamesGoOverText(t *testing.T) {
	for w := drey.WireNone; w <= drey.WireResponses; w++ {
		var back drey.Wire
		text, _ := w.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != w {
			t.Errorf("%v: %v %v", w, back, err)
		}
	}
	for c := drey.Internal; c <= drey.Resource; c++ {
		var back drey.Class
		text, _ := c.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != c {
			t.Errorf("%v: %v %v", c, back, err)
		}
	}
	var l drey.Level
	if err := l.UnmarshalText([]byte("loud")); err == nil {
		t.Error("an unknown level was taken")
	}
	if d := cmp.Diff("class(99)", drey.Class(99).String()); d != "" {
		t.Error(d)
	}
}
