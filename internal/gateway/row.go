package gateway

import (
	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/wire"
)

// row is a request as requests.jsonl and the control API write it.
type row struct {
	TS       string          `json:"ts"`
	ID       drey.RequestID  `json:"id"`
	Wire     drey.Wire       `json:"wire"`
	Profile  drey.ProfileID  `json:"profile,omitempty"`
	Key      string          `json:"key,omitempty"`
	Asked    string          `json:"model,omitempty"`
	Served   string          `json:"model_served,omitempty"`
	Provider drey.ProviderID `json:"provider,omitempty"`
	Attempts []attemptRow    `json:"attempts"`
	Skipped  []skippedRow    `json:"skipped,omitempty"`
	Stream   bool            `json:"stream"`
	Status   int             `json:"status"`
	Outcome  Outcome         `json:"outcome"`
	TTFT     float64         `json:"ttft_ms,omitempty"`
	MS       float64         `json:"ms"`
	Tokens   tokensRow       `json:"tokens"`
	Guards   []guard.Trip    `json:"guards,omitempty"`
	Cost     float64         `json:"cost_usd"`
	Savings  float64         `json:"savings_usd"`
	Repaired int             `json:"repaired,omitempty"` // tool calls that were made of text
	Filters  []string        `json:"filters,omitempty"`  // those that changed the answer
	Finish   string          `json:"finish,omitempty"`
	Error    string          `json:"error,omitempty"`
	Captured bool            `json:"captured,omitempty"`
	ReplayOf drey.RequestID  `json:"replay_of,omitempty"`
}

type attemptRow struct {
	Provider  drey.ProviderID `json:"provider"`
	Class     string          `json:"class"` // "ok" or the class of the failure
	Status    int             `json:"status,omitempty"`
	MS        float64         `json:"ms"`
	TTFT      float64         `json:"ttft_ms,omitempty"`
	Committed bool            `json:"committed,omitempty"`
	Resumed   bool            `json:"resumed,omitempty"`
	Cost      float64         `json:"cost_usd,omitempty"`
	Error     string          `json:"error,omitempty"`
}

type skippedRow struct {
	Provider drey.ProviderID `json:"provider"`
	Reason   string          `json:"reason"`
	Until    string          `json:"until,omitempty"`
}

type tokensRow struct {
	Input      int  `json:"input"`
	Output     int  `json:"output"`
	CacheRead  int  `json:"cache_read,omitempty"`
	CacheWrite int  `json:"cache_write,omitempty"`
	Reasoning  int  `json:"reasoning,omitempty"`
	Estimated  bool `json:"estimated,omitempty"`
}

// row returns the record in the shape of the log.
func (r *Record) row() row {
	out := row{
		TS: drey.FormatTime(r.At), ID: r.ID, Wire: r.Wire, Profile: r.Profile, Key: r.Key, Asked: r.Asked, Served: r.Served,
		Provider: r.Provider, Attempts: make([]attemptRow, 0, len(r.Attempts)), Stream: r.Stream, Status: r.Status,
		Outcome: r.Outcome, TTFT: millis(r.FirstByte), MS: millis(r.Total), Tokens: tokens(r.Usage), Cost: r.Cost.USD(), Savings: r.Savings.USD(),
		Guards: r.Guards, Finish: r.Stop.String(), Error: r.Error, Captured: r.Captured, ReplayOf: r.ReplayOf,
	}
	out.Repaired, out.Filters = r.mendedRow()
	for _, a := range r.Attempts {
		out.Attempts = append(out.Attempts, attemptRow{
			Provider: a.Provider, Class: a.outcome(), Status: a.Status, MS: millis(a.Took), TTFT: millis(a.FirstByte),
			Committed: a.Committed && !a.OK, Resumed: a.Resumed, Cost: a.Cost.USD(), Error: a.Error,
		})
	}
	for _, s := range r.Skipped {
		skipped := skippedRow{Provider: s.Provider, Reason: s.Reason}
		if !s.Until.IsZero() {
			skipped.Until = drey.FormatTime(s.Until)
		}
		out.Skipped = append(out.Skipped, skipped)
	}
	return out
}

// withEvents returns a row's line with the request's events in it, as the store
// keeps it. It leaves line as it is.
func (r *Record) withEvents(line []byte) []byte {
	out := make([]byte, 0, len(line)+256*len(r.Events)+16)
	out = append(out, line[:len(line)-1]...)
	out = append(out, `,"events":[`...)
	for i, ev := range r.Events {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = ev.AppendJSON(out); err != nil {
			out = append(out, "null"...) // a bug of ours, and no reason to lose the row
		}
	}
	return append(out, "]}"...)
}

// stored returns the record as the store keeps it, row its whole line.
func (r *Record) stored(row []byte) store.RequestRow {
	return store.RequestRow{
		ID: r.ID, At: r.At, Profile: string(r.Profile), Provider: string(r.Provider),
		Outcome: string(r.Outcome), Status: r.Status, Row: row,
	}
}

// outcome is the attempt's label: "ok" or its class.
func (a AttemptRecord) outcome() string {
	if a.OK {
		return "ok"
	}
	return a.Class.String()
}

func tokens(u wire.Usage) tokensRow {
	return tokensRow{u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning, u.Estimated}
}
