package guard_test

import (
	"encoding"
	"testing"

	"github.com/dreyhq/drey/internal/guard"
)

// TestNames holds the words of the configuration: the n-th name of a kind is its
// n-th value, and comes back from its text.
func TestNames(t *testing.T) {
	type text interface {
		encoding.TextMarshaler
		encoding.TextUnmarshaler
		String() string
	}
	for _, kind := range []struct {
		make  func(i int) text
		names []string
	}{
		{func(i int) text { v := guard.Action(i); return &v }, []string{"off", "warn", "inject", "break"}},
		{func(i int) text { v := guard.Scope(i); return &v }, []string{"conversation", "turn"}},
		{func(i int) text { v := guard.StreamForm(i); return &v }, []string{"auto", "sse", "http"}},
		{func(i int) text { v := guard.BudgetAction(i); return &v }, []string{"off", "warn", "trim", "route"}},
		{func(i int) text { v := guard.DriftAction(i); return &v }, []string{"off", "warn", "demote"}},
		{func(i int) text { v := guard.Sensitivity(i); return &v }, []string{"normal", "low", "high"}},
		{func(i int) text { v := guard.Level(i); return &v }, []string{"steady", "mild", "severe"}},
	} {
		for i, name := range kind.names {
			v := kind.make(i)
			if b, err := v.MarshalText(); err != nil || string(b) != name || v.String() != name {
				t.Errorf("%d is %q, want %q", i, b, name)
			}
			back := kind.make(0)
			if err := back.UnmarshalText([]byte(name)); err != nil || back.String() != name {
				t.Errorf("%q comes back as %v (%v)", name, back, err)
			}
		}
		v := kind.make(len(kind.names))
		if v.UnmarshalText([]byte("reload")) == nil {
			t.Errorf("%T takes a name that is none", v)
		}
		_ = v.String() // one out of range has a name too
	}
}
