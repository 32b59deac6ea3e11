package statedir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func row(minute int, rest string) string {
	return fmt.Sprintf(`{"ts":"2026-01-01T00:%02d:00.000000+00:00",%s}`, minute, rest)
}

// writeLog lays out a log of three files with broken lines in it.
func writeLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	for name, lines := range map[string][]string{
		path + ".2": {row(1, `"n":1,"outcome":"ok","tokens":{"input":10,"output":1},"cost_usd":0.5`), "torn {", row(2, `"n":2,"outcome":"failed","status":503`)},
		path + ".1": {"", `{"ts":"yesterday"}`, row(3, `"n":3,"outcome":"ok","tokens":{"input":5},"cost_usd":0.25`), "{" + strings.Repeat(" ", maxRow+5) + "}", `[1]`},
		path:        {row(4, `"n":4,"outcome":"cancel","provider":"a"`), row(5, `"n":5,"outcome":"ok","provider":"a"`), `{"ts":"2026`},
	} {
		text := strings.Join(lines, "\n")
		if name != path {
			text += "\n"
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestReadLog(t *testing.T) {
	path := writeLog(t)
	rows := []struct {
		name string
		q    LogQuery
		want string
	}{
		{"all, oldest first", LogQuery{}, "1 2 3 4 5"},
		{"the tail", LogQuery{Tail: 2}, "4 5"},
		{"a tail longer than the log", LogQuery{Tail: 99}, "1 2 3 4 5"},
		{"since, inclusive", LogQuery{Since: time.Date(2026, 1, 1, 0, 3, 0, 0, time.UTC)}, "3 4 5"},
		{"a filter", LogQuery{Filter: `"ok"`}, "1 3 5"},
		{"the tail of what matches", LogQuery{Filter: `"ok"`, Tail: 2}, "3 5"},
		{"nothing", LogQuery{Filter: "nowhere"}, ""},
	}
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			r := ReadLog(path)
			var got []string
			for row := range r.Rows(tc.q) {
				_, n, _ := strings.Cut(string(row.JSON), `"n":`)
				got = append(got, n[:1])
			}
			if s := strings.Join(got, " "); s != tc.want || r.Broken != 5 || r.Err() != nil {
				t.Errorf("%q, want %q; %d broken, %v", s, tc.want, r.Broken, r.Err())
			}
		})
	}
	for range ReadLog(path).Rows(LogQuery{Tail: 3}) {
		break // an early end is no trouble
	}
	for range ReadLog(path).Rows(LogQuery{}) {
		break
	}
}

func TestSummarize(t *testing.T) {
	got, err := ReadLog(writeLog(t)).Summarize(LogQuery{}, RequestSummary)
	if err != nil {
		t.Fatal(err)
	}
	want := LogSummary{
		Rows: 5, Broken: 5,
		First: time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC), Last: time.Date(2026, 1, 1, 0, 5, 0, 0, time.UTC),
		Counts: map[string]map[string]int{"outcome": {"ok": 3, "failed": 1, "cancel": 1}, "provider": {"a": 2}, "status": {"503": 1}},
		Sums:   map[string]float64{"tokens.input": 15, "tokens.output": 1, "cost_usd": 0.75},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestReadLogThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	got, err := ReadLog(filepath.Join(dir, "none")).Summarize(LogQuery{}, AuditSummary)
	if err != nil || got.Rows != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ReadLog(dir).Summarize(LogQuery{}, AuditSummary); err == nil {
		t.Error("a directory is read as a log")
	}
	// Only the newest is missing: a rotation is under way.
	path := filepath.Join(dir, "a")
	if err := os.WriteFile(path+".1", []byte(row(1, `"event":"x"`)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = ReadLog(path).Summarize(LogQuery{}, AuditSummary); err != nil || got.Rows != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAFileSeenTwiceIsReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte(row(1, `"event":"x"`)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, path+".1"); err != nil { // as a rotation between two opens shows it
		t.Fatal(err)
	}
	if got, err := ReadLog(path).Summarize(LogQuery{}, AuditSummary); err != nil || got.Rows != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
