package postgres

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// BenchmarkAppend measures durable transitions as the benchmark of the same
// name in package sqlite does, on a server with fsync on. rows/txn is what
// group commit makes of the writers.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open1(b, options(b))
			var left atomic.Int64
			left.Store(int64(b.N))
			latencies := make([][]time.Duration, writers)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					id := fmt.Sprintf("0199f3a2-7c41-7d20-9a51-%012d", w)
					e := drey.Event{Name: "operation.progress", Machine: "operation", ID: id, From: "running", To: "running", Trigger: "report_progress",
						Fields: []drey.Field{drey.F("registry", "mob:red"), drey.F("message", "reading the third file"), drey.F("percent", 12.5)}}
					for version := int64(0); left.Add(-1) >= 0; version++ {
						e.At = time.Now()
						_, err := s.Append(b.Context(), store.Append{Machine: "operation", ID: id, Expect: version, Events: []drey.Event{e}})
						if err != nil {
							b.Error(err)
							return
						}
						latencies[w] = append(latencies[w], time.Since(e.At))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(latencies...)
			slices.Sort(all)
			st := s.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(float64(st.Transactions), "txns")
			b.ReportMetric(float64(st.Rows)/float64(st.Transactions), "rows/txn")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
