package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The keys about money in testdata/whole.yaml: a limit of 0 is one, and what is
// not said is none.
func TestParseMoney(t *testing.T) {
	f := whole(t)
	for _, tt := range []struct {
		what      string
		want, got any
	}{
		{"cost", Cost{new(3.0), new(15.5), new(0.3), new(0.0), new(5.0), new(0.0)}, f.Provider("cloud.1").Cost},
		{"cost of who says nothing", Cost{}, f.Provider("local").Cost},
		{"budget", &Budget{new(10.0), new(100.0)}, f.Budget},
		{"budget of a profile", &Budget{USDDay: new(2.5)}, f.Profile("coding").Budget},
		{"budget of a profile that says nothing", (*Budget)(nil), f.Profile("plain").Budget},
		{"budget of a key", &Budget{USDMonth: new(20.0)}, f.Keys[0].Budget},
		{"requests_per_minute", []int{30, 0}, []int{f.Keys[0].RequestsPerMinute, f.Keys[1].RequestsPerMinute}},
	} {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, d)
		}
	}
}
