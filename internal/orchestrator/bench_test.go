package orchestrator

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store/sqlite"
)

// logged collects log lines.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
func (l *logged) lines() int           { return bytes.Count([]byte(l.String()), []byte("\n")) }
func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// BenchmarkTransitions: durable transitions per second on SQLite. A transaction
// of the store is one sync of its log (synchronous=FULL, which it checks of its
// connection when it is opened): syncs says that they were made, and rows/sync
// that no more than one row of each writer shares one. What the store does
// without a registry is BenchmarkAppend of internal/store/sqlite.
func BenchmarkTransitions(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st, err := openSQLite(b.Context(), b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			h := open(b, Config{Journal: st})
			defer h.stop()
			ids := make([]operation.ID, writers)
			for i := range ids {
				ids[i] = h.running(b, red, member("o", fmt.Sprint("s", i)))
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			latencies := make([][]time.Duration, writers)
			before := st.(*sqlite.Store).Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						at := time.Now()
						if _, err := h.Do(b.Context(), operation.ReportProgress{Meta: meta(ids[w]), Update: operation.ProgressUpdate{Message: "reading the third file"}}); err != nil {
							b.Error(err)
							return
						}
						latencies[w] = append(latencies[w], time.Since(at))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
			after := st.(*sqlite.Store).Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			rows, syncs := after.Rows-before.Rows, after.Transactions-before.Transactions
			if rows < uint64(b.N) || rows > syncs*uint64(writers) {
				b.Errorf("%d transitions of %d writers made %d rows in %d syncs", b.N, writers, rows, syncs)
			}
			b.ReportMetric(float64(syncs), "syncs")
			b.ReportMetric(float64(rows)/float64(syncs), "rows/sync")
		})
	}
}

// crowd is a house with so many live operations: half of them in each of two
// registries, one in a hundred a tool, and labels that say so.
func crowd(b *testing.B, n int, cfg Config) *house {
	h := open(b, cfg)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				spec, r := member("mob", fmt.Sprint("s", i)), red
				if i%100 == 0 {
					spec.Kind, spec.ExpectPeer, spec.OnRestart = operation.BackgroundTool, false, operation.Resume
				}
				mob := "red"
				if i%2 == 0 {
					r, mob = operation.MobRegistry("blue"), "blue"
				}
				spec.Labels = operation.Labels{"mob": mob, "role": fmt.Sprint(i % 10), "half": fmt.Sprint(i % 2)}
				h.running(b, r, spec)
			}
		})
	}
	wg.Wait()
	return h
}

// BenchmarkList: a page of 100 out of 100,000 live operations, while 1,000
// transitions a second go on beside it.
func BenchmarkList(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := crowd(b, 100_000, Config{})
	runtime.GC()
	runtime.ReadMemStats(&after)
	stop, beside := make(chan struct{}), sync.WaitGroup{}
	beside.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		all, err := h.List(b.Context(), ListQuery{Limit: 1000})
		if err != nil {
			b.Error(err)
			return
		}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			id := all.Operations[i%len(all.Operations)].ID
			if _, err := h.Do(b.Context(), operation.ReportProgress{Meta: meta(id), Update: operation.ProgressUpdate{Message: "on it"}}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	defer beside.Wait()
	defer close(stop)
	yes, no := true, false
	for name, f := range map[string]operation.Filter{
		"all":            {},
		"active":         {Active: &yes},
		"label":          {Labels: operation.Labels{"role": "7"}},
		"kind":           {Kind: operation.BackgroundTool},
		"nothing ended":  {Active: &no},
		"nothing of two": {Labels: operation.Labels{"mob": "blue", "half": "1"}}, // 50,000 each
		"nothing named":  {Prefix: "member/s7777", Statuses: []operation.Status{operation.Retiring}},
		"prefix":         {Prefix: "member/s7777"},
		"child":          {Child: "s5000"},
	} {
		b.Run(name, func(b *testing.B) {
			var latencies []time.Duration
			for b.Loop() {
				at := time.Now()
				if _, err := h.List(b.Context(), ListQuery{Filter: f}); err != nil {
					b.Fatal(err)
				}
				latencies = append(latencies, time.Since(at))
			}
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/100_000, "B/operation")
		})
	}
}

// BenchmarkOpen: taking up 100,000 live operations from SQLite.
func BenchmarkOpen(b *testing.B) {
	st, err := openSQLite(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	crowd(b, 100_000, Config{Journal: st}).stop()
	for b.Loop() {
		o, err := New(b.Context(), Config{Journal: st, Policy: operation.DefaultPolicy(), Runtime: &runtimeFake{left: true}})
		if err != nil {
			b.Fatal(err)
		}
		if n := o.all.len(); n != 100_000 {
			b.Fatalf("%d operations were taken up", n)
		}
	}
}
