package guard_test

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey/internal/guard"
)

// budget has the defaults of the contract.
var budget = guard.Budget{Action: guard.BudgetTrim, Warn: .80, Trim: .90, Target: .75, KeepLast: 4}

func TestBudget(t *testing.T) {
	fit := func(tokens, answer, window int) guard.Fit {
		return guard.Fit{Estimate: tokens, MaxTokens: answer, Window: window}
	}
	tests := []struct {
		name  string
		fit   guard.Fit
		ratio float64
		warn  bool
		full  bool
	}{
		{"below", fit(799, 0, 1000), .799, false, false},
		{"at warn", fit(800, 0, 1000), .8, true, false},
		{"below trim", fit(899, 0, 1000), .899, true, false},
		{"at trim", fit(900, 0, 1000), .9, true, true},
		{"the answer counts", fit(80_000, 4_000, 100_000), .84, true, false},
		{"up to 4096", fit(80_000, 64_000, 100_000), .84096, true, false},
		{"beyond the window", fit(300_000, 0, 100_000), 3, true, true},
		{"unknown window", fit(300_000, 0, 0), 0, false, false},
		{"by the factor", guard.Fit{Estimate: 600, Factor: guard.Factor{Ratio: 1.5}, Window: 1000}, .9, true, true},
	}
	for _, tt := range tests {
		got := budget.Check(tt.fit)
		if math.Abs(got.Ratio-tt.ratio) > 1e-12 || got.Warn != tt.warn || got.Full != tt.full {
			t.Errorf("%s: %+v", tt.name, got)
		}
		for action, full := range map[guard.BudgetAction]bool{guard.BudgetWarn: false, guard.BudgetRoute: tt.full} {
			b := budget
			b.Action = action
			if got := b.Check(tt.fit); got.Warn != tt.warn || got.Full != full {
				t.Errorf("%s, %v: %+v", tt.name, action, got)
			}
		}
		b := budget
		b.Action = guard.BudgetOff
		if got := b.Check(tt.fit); got != (guard.Finding{}) {
			t.Errorf("%s, off: %+v", tt.name, got)
		}
	}
	ev := budget.Warning("p", "lab", fit(80_000, 64_000, 100_000))
	if got, want := told1(ev), "context-budget-warning profile=p provider=lab ratio=0.841 tokens=84096 window=100000 action=trim"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestOrder(t *testing.T) {
	tests := []struct {
		name    string
		windows []int // of a request of 900 tokens
		want    []int
		moved   bool
	}{
		{"all hold it", []int{8000, 2000, 16000}, []int{0, 1, 2}, false},
		{"a small one goes last", []int{1000, 2000}, []int{1, 0}, true},
		{"small ones by their size", []int{500, 1000, 800, 4000}, []int{3, 1, 2, 0}, true},
		{"already so", []int{4000, 1000, 800}, []int{0, 1, 2}, false},
		{"an unknown window stays", []int{0, 500, 4000}, []int{0, 2, 1}, true},
		{"none", nil, []int{}, false},
	}
	for _, tt := range tests {
		var fits []guard.Fit
		for _, w := range tt.windows {
			fits = append(fits, guard.Fit{Estimate: 900, Window: w})
		}
		b := budget
		b.Action = guard.BudgetRoute
		got, moved := b.Order(fits)
		if d := cmp.Diff(tt.want, got); d != "" || moved != tt.moved {
			t.Errorf("%s: %v %s", tt.name, moved, d)
		}
		if got, moved := budget.Order(fits); moved || !slices.IsSorted(got) {
			t.Errorf("%s: trimming orders: %v", tt.name, got)
		}
	}
}

func TestFactor(t *testing.T) {
	tests := []struct {
		name               string
		from               float64
		estimate, reported int
		want               float64 // the value after
	}{
		{"the first report is taken", 0, 1000, 1300, 1.3},
		{"the next move it by a fifth", 1.3, 1000, 1000, 1.24},
		{"not above 2", 0, 1000, 3900, 2},
		{"not below 0.5", 0, 1000, 260, .5},
		{"a short prompt teaches nothing", 0, 199, 300, 1},
		{"from 200 on", 0, 200, 300, 1.5},
		{"no report", 1.2, 1000, 0, 1.2},
		{"a prompt that the server cut", 1.2, 61_000, 4_096, 1.2},
		{"a report that cannot be", 1.2, 1000, 4_001, 1.2},
	}
	for _, tt := range tests {
		f := guard.Factor{Ratio: tt.from}.Learn(tt.estimate, tt.reported)
		if math.Abs(f.Value()-tt.want) > 1e-12 {
			t.Errorf("%s: %v", tt.name, f.Value())
		}
	}
	for _, tt := range []struct {
		ratio    float64
		in, want int
	}{{0, 7, 7}, {1, 7, 7}, {1.5, 7, 11}, {1.1, 1000, 1100}, {9, 7, 14}, {.1, 7, 4}, {1.3, 0, 0}} {
		if got := (guard.Factor{Ratio: tt.ratio}).Apply(tt.in); got != tt.want {
			t.Errorf("%d × %v is %d, want %d", tt.in, tt.ratio, got, tt.want)
		}
	}
}
