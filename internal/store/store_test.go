package store

import (
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "x", true}, {"", "", true}, {"*", "", true}, {"?", "", false}, {"x", "x", true}, {"x", "xy", false}, {"xy", "x", false},
		{"self-*", "self-healing-exclude", true}, {"self-*", "self", false}, {"*.running", "operation.running", true},
		{"*heal*re*", "self-healing-restore", true}, {"*heal*re*", "self-healing-exclude", false}, {"a*b*c", "abbbc", true}, {"a*b*c", "acb", false},
		{"*aab", "aaaab", true}, {"[a]", "a", false}, {"[a]", "[a]", true}, {`\*`, "*", false}, {`\*`, `\x`, true},
		{"a/*", "a/b/c", true}, {"?", "ü", true}, {"??", "ü", false}, {"*??", "日", false}, {"*?", "日", true},
	} {
		if got := Glob(tt.pattern, tt.name); got != tt.want {
			t.Errorf("Glob(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}

// TestGlobTwin compares with the standard library's, on what both understand
// alike.
func TestGlobTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab?*ü")), 1, 6, -1).Draw(t, "pattern")
		name := rapid.StringOfN(rapid.SampledFrom([]rune("abü")), 0, 8, -1).Draw(t, "name")
		want, err := path.Match(pattern, name)
		if got := Glob(pattern, name); err != nil || got != want {
			t.Fatalf("Glob(%q, %q) = %v, path.Match %v, %v", pattern, name, got, want, err)
		}
	})
}

// TestFieldsAgree holds EncodeFields to the vocabulary: what it writes, and
// what it refuses, is what drey.Event.MarshalJSON does.
func TestFieldsAgree(t *testing.T) {
	keys := []string{"seq", "ts", "event", "level", "machine", "id", "from", "to", "trigger", "cause", "request_id", "at", "", "x", "a.b", "é\n"}
	rapid.Check(t, func(t *rapid.T) {
		var fields []drey.Field
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			fields = append(fields, drey.Field{Key: rapid.SampledFrom(keys).Draw(t, "key"), Value: rapid.OneOf(
				rapid.String().AsAny(), rapid.Float64().AsAny(), rapid.Int64().AsAny(), rapid.Just(json.RawMessage(` {"a":[1.0, 1e2]}`)).AsAny(),
				rapid.SliceOf(rapid.String()).AsAny(), rapid.Just(any(nil)), rapid.Just(json.RawMessage(`{`)).AsAny(),
			).Draw(t, "value")})
		}
		event := drey.Event{Name: "e", Fields: fields}
		want, wantErr := event.MarshalJSON()
		raw, err := EncodeFields(fields)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("EncodeFields: %v, MarshalJSON: %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if event.Fields, err = DecodeFields(raw); err != nil {
			t.Fatal(err)
		}
		if got, err := event.MarshalJSON(); err != nil || string(got) != string(want) {
			t.Fatalf("%s, %v\nwant %s", got, err, want)
		}
	})
}

func TestDecodeFieldsRefuses(t *testing.T) {
	for _, text := range []string{`[]`, `1`, `{"a":`, `{"a":1}x`, `x`} {
		if got, err := DecodeFields(json.RawMessage(text)); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func FuzzRequestCursor(f *testing.F) {
	f.Add(RequestCursor{time.UnixMicro(1700000000000000), "req_1"}.String())
	f.Add("x")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseRequestCursor(s)
		if err != nil {
			if !errors.Is(err, ErrCursor) {
				t.Errorf("%v", err)
			}
			return
		}
		if again, err := ParseRequestCursor(c.String()); err != nil || again != c {
			t.Errorf("%+v comes back as %+v, %v", c, again, err)
		}
	})
}

func TestPageLimit(t *testing.T) {
	for n, want := range map[int]int{0: 100, -5: 100, 1: 1, 1000: 1000, 1001: 1000} {
		if got := PageLimit(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
	if strings.Contains(RequestCursor{ID: "req_1"}.String(), "req_1") {
		t.Error("the cursor can be read")
	}
}
