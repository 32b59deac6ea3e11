package spend

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// story is a day with everything in it that a row can hold.
func story(t testing.TB) *world {
	w := &world{t: t}
	p := Policy{Global: Limit{Day: CapAt(5_000_000)}, Keys: map[string]Limit{"alice": {Month: CapAt(3_000_000)}}}
	a := w.must(noon, alice, 1_200_000, p)
	b := w.must(noon.Add(time.Second), Payer{Provider: "groq"}, 3_000_000, p)
	if _, r := w.reserve(noon.Add(2*time.Second), alice, 2_000_000, p); r == nil || len(r.Rows) != 2 {
		t.Fatalf("%+v", r)
	}
	w.settle(noon.Add(3*time.Second), a, 431_250, Cut)
	w.settle(noon.Add(4*time.Second), Ticket{Payer: Payer{Provider: "groq", Profile: "fast"}}, 77, Complete)
	w.settle(noon.Add(5*time.Second), b, 0, Failed)
	w.must(noon.Add(6*time.Second), alice, 1, p)
	w.rows = append(w.rows, w.m.Recover(Meta{At: noon.Add(7 * time.Second)})...)
	w.must(noon.Add(8*time.Second), alice, 2, p)
	return w
}

func TestRowsAndSnapshot(t *testing.T) {
	w := story(t)
	var b bytes.Buffer
	for _, row := range w.rows {
		line, err := row.Event().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	snapshot, err := json.MarshalIndent(&w.m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b.Write(append(snapshot, '\n'))
	path := filepath.Join("testdata", "rows.golden")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Error(d)
	}
}

// TestFromJournal reads rows as they were written, and as the store gives them
// back.
func TestFromJournal(t *testing.T) {
	for _, row := range story(t).rows {
		e := row.Event()
		got, err := FromJournal(e)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(row, got, cmp.AllowUnexported(Row{})); d != "" {
			t.Error(d)
		}
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var stored drey.Event
		if err := json.Unmarshal(text, &stored); err != nil {
			t.Fatal(err)
		}
		if got, err = FromJournal(stored); err != nil || cmp.Diff(row, got) != "" {
			t.Errorf("%+v, %v, want %+v", got, err, row)
		}
	}
	if e := (&Row{}).Event(); e.Name != "" {
		t.Errorf("no row is %+v", e)
	}
}

func TestFromJournalRefuses(t *testing.T) {
	good := Row{Kind: RowReserved, ID: 1, Payer: alice, Day: 5}
	for _, tt := range []struct {
		name   string
		change func(*drey.Event)
		want   string
	}{
		{"another machine", func(e *drey.Event) { e.Machine = "provider" }, `it is of provider "all"`},
		{"another budget", func(e *drey.Event) { e.ID = "x" }, `it is of budget "x"`},
		{"another event", func(e *drey.Event) { e.Name = "budget-lost" }, "unknown row"},
		{"no event", func(e *drey.Event) { e.Name = "" }, "unknown row"},
		{"a field is missing", func(e *drey.Event) { e.Fields = e.Fields[:len(e.Fields)-1] }, "field day is missing"},
		{"a field is wrong", func(e *drey.Event) { e.Fields = []drey.Field{drey.F("day", "today")} }, "field day: "},
		{"a field that is nothing", func(e *drey.Event) { e.Fields = []drey.Field{drey.F("day", func() {})} }, "unsupported type"},
		{"no reservation", func(e *drey.Event) { e.Fields = e.Fields[1:] }, "without its id"},
	} {
		e := good.Event()
		tt.change(&e)
		if _, err := FromJournal(e); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if err := new(Machine).Replay([]drey.Event{e}); err == nil {
			t.Errorf("%s: replayed", tt.name)
		}
	}
	// A field that a later version adds is passed over.
	e := good.Event()
	e.Fields = append(e.Fields, drey.F("later", 1))
	if _, err := FromJournal(e); err != nil {
		t.Error(err)
	}
}

// TestRowsTwice holds that a row which is there twice, because its commit was
// repeated, counts once.
func TestRowsTwice(t *testing.T) {
	w := &world{t: t}
	w.settle(noon, w.must(noon, alice, 40, daily(100)), 30, Complete)
	reserved, settled := w.rows[0].Event(), w.rows[1].Event()
	var m Machine
	if err := m.Replay([]drey.Event{reserved, reserved}); err != nil || m.reserved != 40 || len(m.open) != 1 {
		t.Errorf("%v: %d reserved", err, m.reserved)
	}
	if err := m.Replay([]drey.Event{settled, settled}); err != nil {
		t.Fatal(err)
	}
	if b := m.View(noon, Policy{}).Budgets[0]; b.Spent != 30 || b.Reserved != 0 {
		t.Errorf("%+v", b)
	}
}

func TestBrokenSnapshot(t *testing.T) {
	w := story(t)
	before, _ := json.Marshal(&w.m)
	for _, bad := range []string{
		``, `7`, `{"today":"tomorrow"}`, `{"accounts":[{"scope":"moon"}]}`,
		`{"open":[{"reservation":0,"day":"2026-11-22"}]}`,
		`{"last_reservation":3,"open":[{"reservation":4,"day":"2026-11-22"}]}`,
		`{"last_reservation":4,"open":[{"reservation":4,"day":"2026-11-22"},{"reservation":4,"day":"2026-11-22"}]}`,
	} {
		if err := json.Unmarshal([]byte(bad), &w.m); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if after, _ := json.Marshal(&w.m); !bytes.Equal(before, after) {
		t.Errorf("a broken snapshot changed the machine\n got %s\nwant %s", after, before)
	}
}

// FuzzJournal feeds what might stand in a journal: no row breaks the machine,
// and what is read is written again the same.
func FuzzJournal(f *testing.F) {
	for _, row := range story(f).rows {
		text, err := row.Event().MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e drey.Event
		if json.Unmarshal(text, &e) != nil {
			return
		}
		row, err := FromJournal(e)
		if err != nil {
			return
		}
		again, err := FromJournal(row.Event())
		if err != nil || cmp.Diff(row, again) != "" {
			t.Errorf("%+v, %v, want %+v", again, err, row)
		}
		w := story(t)
		if err := w.m.Replay([]drey.Event{e, e}); err != nil {
			t.Fatal(err)
		}
		for _, b := range w.m.View(row.At, Policy{}).Budgets {
			if b.Spent < 0 || b.Reserved < 0 || b.Spent > most || b.Reserved > most {
				t.Errorf("%+v", b)
			}
		}
	})
}
