package spend

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alice = Payer{"openai", "default", "alice"}
)

// daily is a policy with a daily budget of the home, in micro-USD.
func daily(n MicroUSD) Policy { return Policy{Global: Limit{Day: CapAt(n)}} }

// world is a machine and the rows that it has made.
type world struct {
	t    testing.TB
	m    Machine
	rows []Row
}

func (w *world) reserve(at time.Time, payer Payer, n MicroUSD, p Policy) (Ticket, *Refusal) {
	w.t.Helper()
	t, row, refusal := w.m.Reserve(Reserve{Meta{At: at, RequestID: "req_1", Cause: 3}, payer, n}, p)
	if row.Kind != NoRow {
		w.rows = append(w.rows, row)
	}
	if refusal != nil {
		w.rows = append(w.rows, refusal.Rows...)
	}
	return t, refusal
}

// must reserves what has to fit.
func (w *world) must(at time.Time, payer Payer, n MicroUSD, p Policy) Ticket {
	w.t.Helper()
	t, refusal := w.reserve(at, payer, n, p)
	if refusal != nil {
		w.t.Fatal(refusal)
	}
	return t
}

func (w *world) settle(at time.Time, t Ticket, cost MicroUSD, end Ending) {
	if row := w.m.Settle(Settle{Meta: Meta{At: at}, Ticket: t, Cost: cost, Ending: end}); row.Kind != NoRow {
		w.rows = append(w.rows, row)
	}
}

// sums are a window's spent and reserved.
func (w *world) sums(at time.Time, s Scope, p Period) [2]MicroUSD {
	b := w.m.accounts[s].at(p, w.m.dayOf(at))
	return [2]MicroUSD{b.spent, b.reserved}
}

func (w *world) want(at time.Time, s Scope, p Period, spent, reserved MicroUSD) {
	w.t.Helper()
	if got := w.sums(at, s, p); got != [2]MicroUSD{spent, reserved} {
		w.t.Errorf("%s, %s: spent and reserved %d, want %d and %d", s, p, got, spent, reserved)
	}
}

func TestAllOrNone(t *testing.T) {
	w := &world{t: t}
	p := Policy{
		Global:    Limit{Day: CapAt(100), Month: CapAt(1000)},
		Providers: map[drey.ProviderID]Limit{"openai": {Day: CapAt(80)}},
		Keys:      map[string]Limit{"alice": {Month: CapAt(50)}},
	}
	first := w.must(noon, alice, 40, p)
	_, refusal := w.reserve(noon, alice, 20, p)
	want := &Refusal{
		Scope: Scope{ByKey, "alice"}, Period: Month, Cap: 50, Left: 10, Want: 20,
		Until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}
	want.Rows = []Row{{
		Kind: RowExceeded, Meta: Meta{At: noon, RequestID: "req_1", Cause: 3}, Amount: 20, Day: dateOf(noon),
		Scope: want.Scope, Period: Month, Cap: 50,
	}}
	if d := cmp.Diff(want, refusal); d != "" {
		t.Error(d)
	}
	if got := refusal.Error(); got != "the month budget of key:alice ($0.00005) has $0.00001 left, and the attempt may cost $0.00002" {
		t.Error(got)
	}
	for _, s := range []Scope{{ByProvider, "openai"}, {ByProfile, "default"}, {ByKey, "alice"}, {Kind: Global}} {
		w.want(noon, s, Day, 0, 40)
		w.want(noon, s, Month, 0, 40)
	}
	w.settle(noon, first, 15, Complete)
	if row := w.m.Settle(Settle{Meta: Meta{At: noon}, Ticket: first, Cost: 15}); row.Kind != NoRow {
		t.Errorf("settled a second time: %+v", row)
	}
	for _, s := range []Scope{{ByProvider, "openai"}, {ByProfile, "default"}, {ByKey, "alice"}, {Kind: Global}} {
		w.want(noon, s, Day, 15, 0)
	}
	w.must(noon, alice, 35, p)
	// Somebody else's key, and another provider: only the global budget is shared.
	w.must(noon, Payer{Provider: "groq", Key: "bob"}, 50, p)
	_, refusal = w.reserve(noon, Payer{Provider: "groq", Key: "bob"}, 1, p)
	if refusal == nil || refusal.Scope.Kind != Global || refusal.Period != Day || refusal.Left != 0 {
		t.Errorf("%+v", refusal)
	}
}

func TestRefusalNamesTheLongest(t *testing.T) {
	w := &world{t: t}
	p := Policy{
		Global:    Limit{Day: CapAt(10), Month: CapAt(10)},
		Providers: map[drey.ProviderID]Limit{"openai": {Day: CapAt(10)}},
		Profiles:  map[drey.ProfileID]Limit{"default": {Day: CapAt(5)}},
	}
	w.must(noon, alice, 5, p)
	for _, tt := range []struct {
		want   MicroUSD
		scope  string
		period Period
		never  bool
	}{
		{1, "profile:default", Day, false},
		{6, "profile:default", Day, true}, // it never fits there
		{11, "provider:openai", Day, true},
	} {
		_, r := w.reserve(noon, alice, tt.want, p)
		if r == nil || r.Scope.String() != tt.scope || r.Period != tt.period || r.Until.IsZero() != tt.never {
			t.Errorf("%d is refused by %+v, want %s", tt.want, r, tt.scope)
		}
	}
	p.Profiles = nil
	_, r := w.reserve(noon, alice, 6, p)
	if r == nil || r.Scope.Kind != Global || r.Period != Month {
		t.Errorf("the month outlasts the day: %+v", r)
	}
}

func TestExceededIsToldOnce(t *testing.T) {
	w := &world{t: t}
	p := daily(100)
	held := w.must(noon, alice, 90, p)
	told := func(n MicroUSD) int {
		return len(w.m.Check(Reserve{Meta{At: noon}, alice, n}, p).Rows)
	}
	if a, b := told(20), told(30); a != 1 || b != 0 {
		t.Errorf("told %d and %d times", a, b)
	}
	w.settle(noon, held, 40, Complete)
	w.must(noon, alice, 60, p)
	if n := told(1); n != 0 {
		t.Errorf("after something passed it is told again, %d times", n)
	}
	p = daily(99)
	if a, b := told(1), told(1); a != 1 || b != 0 {
		t.Errorf("of another limit it is told %d and %d times", a, b)
	}
	p = daily(100)
	if r := w.m.Check(Reserve{Meta{At: noon.Add(12 * time.Hour)}, alice, 100}, p); r != nil {
		t.Errorf("a new day: %v", r)
	}
}

func TestWithoutBudget(t *testing.T) {
	w := &world{t: t}
	other := Policy{Providers: map[drey.ProviderID]Limit{"groq": {Day: CapAt(0)}}}
	ticket := w.must(noon, alice, 1000, other)
	if ticket.ID != 0 || len(w.rows) != 0 || w.m.View(noon, other).Reserved != 0 {
		t.Errorf("%+v is held: %v", ticket, w.rows)
	}
	w.settle(noon, ticket, 0, Failed)
	if len(w.rows) != 0 {
		t.Errorf("nothing was charged, and told: %v", w.rows)
	}
	w.settle(noon, ticket, 30, Complete)
	// A budget that is set now knows of it.
	if _, r := w.reserve(noon, alice, 71, daily(100)); r == nil || r.Left != 70 {
		t.Errorf("%+v", r)
	}
	// A budget of nothing lets through what costs nothing.
	w.must(noon, Payer{Provider: "groq"}, 0, other)
	if _, r := w.reserve(noon, Payer{Provider: "groq"}, 1, other); r == nil || !r.Until.IsZero() {
		t.Errorf("%+v", r)
	}
}

func TestMidnight(t *testing.T) {
	w := &world{t: t}
	p := Policy{Global: Limit{Day: CapAt(100), Month: CapAt(250)}}
	last := time.Date(2026, 11, 30, 23, 59, 59, 999_999_999, time.UTC)
	next := last.Add(1)
	a := w.must(last, alice, 100, p)
	if _, r := w.reserve(last, alice, 1, p); r == nil || !r.Until.Equal(next) {
		t.Errorf("%+v", r)
	}
	b := w.must(next, alice, 100, p) // a new day, and a new month
	w.want(next, Scope{Kind: Global}, Month, 0, 100)
	if _, r := w.reserve(last, alice, 1, p); r == nil {
		t.Error("a request that is late to the machine got the old day back")
	}
	w.settle(next, a, 90, Complete) // counts in November
	w.want(next, Scope{Kind: Global}, Day, 0, 100)
	w.want(next, Scope{Kind: Global}, Month, 0, 100)
	w.settle(next, b, 80, Complete)
	w.want(next, Scope{Kind: Global}, Day, 80, 0)
	w.must(next.Add(24*time.Hour), alice, 100, p) // a new day of the same month
	w.want(next.Add(24*time.Hour), Scope{Kind: Global}, Month, 80, 100)
	zone := time.FixedZone("", 5*3600)
	w.want(next.Add(24*time.Hour).In(zone), Scope{Kind: Global}, Day, 0, 100)
}

func TestClockSetBack(t *testing.T) {
	w := &world{t: t}
	p := Policy{Global: Limit{Day: CapAt(100), Month: CapAt(1000)}}
	w.must(noon.AddDate(0, 0, -12), alice, 70, p) // stays open, of a day that comes again
	future := noon.AddDate(3, 0, 0)
	w.settle(future, w.must(future, alice, 50, p), 50, Complete)
	open := w.must(future, alice, 20, p)
	// The clock is mended, and what was spent ahead of it still counts.
	back := noon.AddDate(0, 0, -12)
	w.settle(back, w.must(back, alice, 0, p), 0, Complete)
	w.want(back, Scope{Kind: Global}, Day, 50, 90)
	w.settle(back, open, 20, Complete)
	w.want(back, Scope{Kind: Global}, Day, 70, 70)
	w.want(noon.AddDate(0, 0, -11), Scope{Kind: Global}, Day, 0, 0)
	w.want(noon, Scope{Kind: Global}, Month, 70, 70)
}

func TestRecover(t *testing.T) {
	w := &world{t: t}
	p := daily(1000)
	w.must(noon, alice, 10, p)
	w.settle(noon, w.must(noon, alice, 20, p), 5, Cut)
	w.must(noon, Payer{Provider: "groq"}, 30, p)
	rows := w.m.Recover(Meta{At: noon.Add(time.Hour), Cause: 9})
	if len(rows) != 2 || rows[0].ID != 1 || rows[1].ID != 3 || rows[1].Cost != 30 || !rows[1].Estimated || rows[1].Ending != Recovered || rows[1].RequestID != "req_1" {
		t.Errorf("%+v", rows)
	}
	w.want(noon, Scope{Kind: Global}, Day, 45, 0)
	if v := w.m.View(noon, p); v.Open != 0 || v.Reserved != 0 {
		t.Errorf("%+v", v)
	}
	if again := w.m.Recover(Meta{At: noon}); again != nil {
		t.Errorf("again: %+v", again)
	}
}

func TestView(t *testing.T) {
	w := &world{t: t}
	p := Policy{
		Global:    Limit{Day: CapAt(100)},
		Providers: map[drey.ProviderID]Limit{"groq": {Month: CapAt(7)}, "free": {}},
		Profiles:  map[drey.ProfileID]Limit{"p": {Day: CapAt(3)}},
		Keys:      map[string]Limit{"k": {Day: CapAt(4)}},
	}
	w.must(noon, Payer{Provider: "openai"}, 30, p)
	w.settle(noon, w.must(noon, Payer{Provider: "openai"}, 70, p), 90, Complete)
	var lines []string
	v := w.m.View(noon, p)
	for _, b := range v.Budgets {
		cap, ok := b.Cap.Value()
		line, _ := json.Marshal([]any{b.Scope, b.Period, b.Spent, b.Reserved, cap, ok, b.Left, b.Resets})
		lines = append(lines, string(line))
	}
	want := []string{
		`["global","day",90,30,100,true,0,"2026-11-23T00:00:00Z"]`,
		`["global","month",90,30,0,false,0,"2026-12-01T00:00:00Z"]`,
		`["provider:groq","month",0,0,7,true,7,"2026-12-01T00:00:00Z"]`,
		`["provider:openai","day",90,30,0,false,0,"2026-11-23T00:00:00Z"]`,
		`["provider:openai","month",90,30,0,false,0,"2026-12-01T00:00:00Z"]`,
		`["profile:p","day",0,0,3,true,3,"2026-11-23T00:00:00Z"]`,
		`["key:k","day",0,0,4,true,4,"2026-11-23T00:00:00Z"]`,
	}
	if d := cmp.Diff(want, lines); d != "" || v.Open != 1 || v.Reserved != 30 {
		t.Errorf("%d open, %d reserved\n%s", v.Open, v.Reserved, d)
	}
	if tomorrow := w.m.View(noon.Add(24*time.Hour), p); tomorrow.Budgets[0].Left != 100 || tomorrow.Reserved != 30 {
		t.Errorf("%+v", tomorrow)
	}
}

func TestNamesGoOverText(t *testing.T) {
	for _, s := range []Scope{{Kind: Global}, {ByProvider, "a:b"}, {ByProfile, "p"}, {ByKey, "k"}} {
		var back Scope
		text, _ := s.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%s: %v %v", s, back, err)
		}
	}
	for _, bad := range []string{"", "global:x", "globally", "provider", "provider:", "keyx", "key"} {
		if err := new(Scope).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a scope", bad)
		}
	}
	for _, year := range []int{-5000, 1, 1600, 1970, 2024, 9999, 1 << 20} {
		d := dateOf(time.Date(year, 2, 29, 23, 59, 59, 0, time.UTC))
		var back Date
		text, _ := d.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Errorf("year %d: %s, %v", year, text, err)
		}
	}
	if d := dateOf(time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)); d != -1 || d.index(Month) != 1969*12+11 {
		t.Errorf("the day before the first is %d", d)
	}
	for e := Complete; e <= Recovered; e++ {
		var back Ending
		text, _ := e.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != e {
			t.Errorf("%s: %v %v", e, back, err)
		}
	}
	if CapOf(nil).set || CapOf(new(float64)) != CapAt(0) {
		t.Error("caps of a configuration")
	}
	if s := Ending(99).String() + Period(9).String(); !strings.Contains(s, "99") || slices.Contains(periodNames[:], s) {
		t.Error(s)
	}
}
