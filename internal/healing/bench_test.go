package healing

import (
	"context"
	"testing"

	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
)

// benched returns a Keeper of one provider, until the benchmark or test ends.
func benched(tb testing.TB, limits Limits) *Keeper {
	up := fake.New(fake.Options{})
	tb.Cleanup(up.Close)
	s := settings(up)
	s.Providers[0].Limits = limits
	l := &lab{up: up}
	k, err := New(context.Background(), Config{Journal: &journal{}, Bus: l}, s)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = k.Serve(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-ended
	})
	return k
}

// once is one attempt of the healthy path, as the gateway makes it.
func once(ctx context.Context, k *Keeper) {
	_ = k.Live("main", "local")
	p, err := k.Leave(ctx, health.Departure{Provider: "local", Profile: "main"})
	if err != nil {
		panic(err)
	}
	k.Spoke(p)
	k.Ended(p, health.Ending{OK: true, FirstToken: 1, Tokens: 1})
}

// BenchmarkAttempt is what health costs an attempt: of a provider without limits
// that is well, which asks nobody, and of one with a limit, which asks the owner.
func BenchmarkAttempt(b *testing.B) {
	for name, limits := range map[string]Limits{"free": {}, "limited": {Concurrency: 1000, Queue: 16}} {
		b.Run(name, func(b *testing.B) {
			k := benched(b, limits)
			b.ReportAllocs()
			for b.Loop() {
				once(b.Context(), k)
			}
		})
		b.Run(name+", many at once", func(b *testing.B) {
			k := benched(b, limits)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once(b.Context(), k)
				}
			})
		})
	}
}

// The healthy path asks nobody and allocates nothing; the owner, who is told of
// it, allocates nothing for it either.
func TestHealthyPathDoesNotAllocate(t *testing.T) {
	k := benched(t, Limits{})
	ctx := t.Context()
	for range 20_000 { // the inbox and the window have their size now
		once(ctx, k)
	}
	k.wait(func() {})
	if n := testing.AllocsPerRun(2000, func() { once(ctx, k) }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
