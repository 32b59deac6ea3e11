package why

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/dreyhq/drey"
)

// TestRequestStories reads the cases of testdata/requests.txtar. Of each the
// file NAME.json is the row as the store holds it, NAME.journal the journaled
// events, one to a line, and NAME.want what is told. Events of the journal that
// bear the request's id were caused by it, the others came before.
func TestRequestStories(t *testing.T) {
	const path = "testdata/requests.txtar"
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) *txtar.File {
		i := slices.IndexFunc(ar.Files, func(f txtar.File) bool { return f.Name == name })
		if i < 0 {
			t.Fatalf("%s has no %s", path, name)
		}
		return &ar.Files[i]
	}
	for _, f := range ar.Files {
		name, ok := strings.CutSuffix(f.Name, ".json")
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			facts := RequestFacts{Row: json.RawMessage(f.Data)}
			for line := range strings.Lines(string(file(name + ".journal").Data)) {
				var ev drey.Event
				if err := json.Unmarshal([]byte(line), &ev); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if ev.RequestID == "req_7k2m9p4q1w8e5r3t6y0u1i2o" {
					facts.Caused = append(facts.Caused, ev)
				} else {
					facts.Before = append(facts.Before, ev)
				}
			}
			story, err := Request(facts)
			if err != nil {
				t.Fatal(err)
			}
			want := file(name + ".want")
			got := story.Text(nil)
			if *update {
				want.Data = []byte(got)
			}
			if d := cmp.Diff(string(want.Data), got); d != "" {
				t.Error(d)
			}
			for i := 1; i < len(story.Steps); i++ {
				if story.Steps[i].At.Before(story.Steps[i-1].At) {
					t.Errorf("step %d is told before what came earlier", i)
				}
			}
		})
	}
	if *update {
		writeFile(t, path, txtar.Format(ar))
	}
}

func TestRequestRefusesWhatIsNoRow(t *testing.T) {
	for _, row := range []string{"", "[]", "{}", `{"ts":"yesterday"}`, `{"ts":5}`} {
		if s, err := Request(RequestFacts{Row: json.RawMessage(row)}); err == nil {
			t.Errorf("%q became %+v", row, s)
		}
	}
}

func TestFailuresOfARow(t *testing.T) {
	row := json.RawMessage(`{"id":"req_1","ts":"2026-03-01T10:00:00.000000+00:00","events":[
		{"ts":"2026-03-01T10:00:00.100000+00:00","event":"provider-failed","level":"warn","provider":"a","class":"transport","status":0,"error":"connection refused"},
		{"ts":"2026-03-01T10:00:00.200000+00:00","event":"provider-failed","level":"warn","provider":"b","class":"server","status":500,"error":"boom"},
		{"ts":"2026-03-01T10:00:00.300000+00:00","event":"provider-failed","level":"warn","provider":"a","class":"novel"},
		{"ts":"2026-03-01T10:00:00.400000+00:00","event":"provider-ok","level":"info","provider":"a"}]}`)
	want := []Failure{{At: time.Date(2026, 3, 1, 10, 0, 0, 100e6, time.UTC), RequestID: "req_1", Class: drey.Transport, Text: "connection refused"}}
	if d := cmp.Diff(want, Failures(row, "a")); d != "" {
		t.Error(d)
	}
	if got := Failures(row, "c"); got != nil {
		t.Errorf("of nobody: %v", got)
	}
	if got := Failures(json.RawMessage("no"), "a"); got != nil {
		t.Errorf("of no row: %v", got)
	}
}

func TestKinds(t *testing.T) {
	refused, boom := Failure{Class: drey.Transport, Text: "refused"}, Failure{Class: drey.Server, Status: 500, Text: "boom"}
	for _, tt := range []struct {
		fs   []Failure
		all  int
		want string
	}{
		{nil, 6, ""},
		{[]Failure{refused, refused}, 6, "transport: refused"},
		{[]Failure{boom, refused, refused}, 3, "2 × transport (refused), 1 × server (HTTP 500: boom)"},
		{[]Failure{boom, refused, refused}, 6, "among them transport (refused), server (HTTP 500: boom)"},
		{[]Failure{{Class: drey.Silence}}, 1, "silence"},
	} {
		if got := kinds(tt.fs, tt.all); got != tt.want {
			t.Errorf("%v of %d: %q, want %q", tt.fs, tt.all, got, tt.want)
		}
	}
}

// An event's causes lead to the request that began it, and a circle, which the
// journal cannot hold, does not hang the reader.
func TestCausesLeadToTheRequest(t *testing.T) {
	c := index([]drey.Event{
		{Seq: 1, RequestID: "req_1"}, {Seq: 2, Cause: 1}, {Seq: 3, Cause: 2},
		{Seq: 7, Cause: 8}, {Seq: 8, Cause: 7}, {Seq: 9, Cause: 99},
	})
	for _, tt := range []struct {
		ev   drey.Event
		want drey.RequestID
	}{
		{drey.Event{Seq: 4, Cause: 3}, "req_1"},
		{drey.Event{Seq: 4, Cause: 3, RequestID: "req_4"}, "req_4"},
		{drey.Event{Cause: 3}, "req_1"},
		{drey.Event{Seq: 10, Cause: 8}, ""},
		{drey.Event{Seq: 10, Cause: 9}, ""},
		{drey.Event{Seq: 10}, ""},
	} {
		if got := c.request(tt.ev); got != tt.want {
			t.Errorf("seq %d caused by %d: %q, want %q", tt.ev.Seq, tt.ev.Cause, got, tt.want)
		}
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 0: "0 ms", 12400 * time.Microsecond: "12 ms", 999 * time.Millisecond: "999 ms",
		time.Second: "1 s", 1240 * time.Millisecond: "1.2 s", 9960 * time.Millisecond: "10 s", 30 * time.Second: "30 s",
		59600 * time.Millisecond: "1m", 216 * time.Second: "3m36s", 26*time.Hour + 4*time.Minute + 40*time.Second: "1d2h5m",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// FuzzStories: whatever is in the journal and in a row, a story is one line a
// step.
func FuzzStories(f *testing.F) {
	f.Add(`{"ts":"2026-03-01T10:00:00.000000+00:00","event":"self-healing-exclude","machine":"provider","id":"local","provider":"local","reason":"consecutive","consecutive_failures":6}`,
		`{"id":"req_1","ts":"2026-03-01T10:00:00.000000+00:00","ms":1e300,"events":[{"event":"provider-failed","provider":"local","class":"server","error":"a\nb"}]}`)
	f.Add(`{"event":"self-healing-restore","machine":"provider","id":"local","excluded_duration_s":-1e308}`, `{}`)
	f.Add(`{"event":"provider-parked","machine":"provider","id":"local","until":"9999-12-31T23:59:59Z"}`, `{"ts":"0001-01-01T00:00:00Z","skipped":[{}]}`)
	f.Fuzz(func(t *testing.T, event, row string) {
		var ev drey.Event
		if json.Unmarshal([]byte(event), &ev) != nil {
			return
		}
		s := Provider(ProviderFacts{ID: "local", Events: []drey.Event{ev, ev, ev}, Failures: Failures(json.RawMessage(row), "local")})
		steps := s.Steps
		if r, err := Request(RequestFacts{Row: json.RawMessage(row), Caused: []drey.Event{ev}, Before: []drey.Event{ev}}); err == nil {
			steps = append(steps, r.Steps...)
		}
		for _, step := range steps {
			if step.Text == "" || strings.ContainsAny(step.Text, "\n\r") {
				t.Fatalf("%q is no line of a story", step.Text)
			}
		}
	})
}
