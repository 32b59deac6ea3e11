package dormancy

import (
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// BenchmarkBegin is what a request pays: from arrival to its last byte.
func BenchmarkBegin(b *testing.B) {
	o := New(Config{State: owned{&disk{record: lifecycle.Default(time.Now())}}, Home: &disk{}})
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o.Begin()()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				o.Begin()()
			}
		})
	})
}

// TestBeginAllocatesNothing holds what the benchmark shows.
func TestBeginAllocatesNothing(t *testing.T) {
	o := newLab(t, nil, nil).owner
	if n := testing.AllocsPerRun(1000, func() { o.Begin()() }); n != 0 {
		t.Errorf("%v allocations per request, want none", n)
	}
}
