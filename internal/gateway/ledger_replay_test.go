package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/store"
)

// rowsOnly is a store.Telemetry that remembers rows.
type rowsOnly struct {
	store.Telemetry
	rows []store.RequestRow
}

func (r *rowsOnly) PutRequest(row store.RequestRow) { r.rows = append(r.rows, row) }

// TestAReplayIsNoTraffic: it has its row, and no metric moves.
func TestAReplayIsNoTraffic(t *testing.T) {
	registry := prometheus.NewRegistry()
	rows := &rowsOnly{}
	l := NewLedger(LedgerConfig{Bus: nobody{}, Rows: rows, Redact: func(b []byte) []byte { return b }}, NewMetrics(registry))
	count := func() (n int) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	before := count()
	rec := &Record{
		ID: "req_b", ReplayOf: "req_a", At: time.Now(), Wire: drey.WireChat, Profile: "default", Provider: "p", Outcome: OutcomeOK, Status: 200,
		Attempts: []AttemptRecord{{Provider: "p", OK: true, Took: time.Second}}, Total: time.Second,
	}
	l.Record(rec)
	l.drain(t.Context())
	if len(rows.rows) != 1 || !strings.Contains(string(rows.rows[0].Row), `"replay_of":"req_a"`) {
		t.Errorf("%+v", rows.rows)
	}
	if n := count(); n != before {
		t.Errorf("%d series came of a replay", n-before)
	}
	own := *rec
	own.ReplayOf = ""
	l.Record(&own)
	l.drain(t.Context())
	if count() == before {
		t.Error("no series came of a request: that proves nothing")
	}
}
