package guard_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestRefusals holds every byte of what a refused caller gets, on each wire,
// streaming and not, in testdata/refusals.txtar.
func TestRefusals(t *testing.T) {
	const file = "testdata/refusals.txtar"
	body := func(of drey.Wire) []byte {
		return conversation(of, append(repeat(48, bash(`"q"`)), repeat(3, bash("make"))...)...)
	}
	policies := []struct {
		name string
		guard.Policy
	}{
		{"cap", guard.Policy{Profile: "P", Cap: guard.Cap{Action: guard.Break, Limit: 50}}},
		{"loop", guard.Policy{Profile: "P", Loop: guard.Loop{Action: guard.Break, Window: 20, Threshold: 3}}},
	}
	var got txtar.Archive
	for _, p := range policies {
		for _, of := range wires {
			v := guard.Inspect(of, body(of), p.Policy)
			if v.Refusal == nil {
				t.Fatalf("%s %v is not refused", p.name, of)
			}
			for _, form := range []string{"json", "sse"} {
				stream := form == "sse"
				a := v.Refusal.Answer(codecs[of], guard.Caller{ID: "req_abcdefghijklmnopqrstuvwx", At: noon, Stream: stream, UserAgent: "curl/8"})
				status, kind := 400, "application/json"
				if stream {
					status, kind = 200, "text/event-stream"
				}
				if a.Status != status || a.ContentType != kind {
					t.Errorf("%s %v %s: %d %s", p.name, of, form, a.Status, a.ContentType)
				}
				got.Files = append(got.Files, txtar.File{Name: p.name + "." + of.String() + "." + form, Data: append(bytes.TrimRight(a.Body, "\n"), '\n')})
			}
		}
	}
	ar, err := txtar.ParseFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if *update {
		got.Comment = []byte("What a guard answers: the cap and the loop, on each wire, streaming and not.\nGuards the exact bodies of contract §12.\n\n")
		if ar != nil && len(ar.Comment) > 0 {
			got.Comment = ar.Comment
		}
		if err := os.WriteFile(file, txtar.Format(&got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(txtar.Format(&txtar.Archive{Comment: ar.Comment, Files: got.Files})), string(txtar.Format(ar))); d != "" {
		t.Error(d)
	}
}

// TestContractBodies holds the literals of contract §12 themselves.
func TestContractBodies(t *testing.T) {
	const m = "tool count exceeded on profile='P': 51 tool calls exceed the limit of 50."
	p := guard.Policy{Profile: "P", Cap: guard.Cap{Action: guard.Break, Limit: 50}}
	answer := func(of drey.Wire, to guard.Caller) string {
		a := guard.Inspect(of, conversation(of, repeat(51, bash("x"))...), p).Refusal.Answer(codecs[of], to)
		return string(a.Body)
	}
	const detail = `"detail":{"error":"tool_count_exceeded","message":"` + m + `","total_count":51,"max_allowed":50,"profile":"P"}`
	const told = `"tool_count":{"total_count":51,"max_allowed":50,"profile":"P"}`
	openAI := `{"error":{"message":"` + m + `","type":"invalid_request_error","param":null,"code":"tool_count_exceeded"},` + detail + `}`
	for _, tt := range []struct {
		name      string
		got, want string
	}{
		{"anthropic", answer(drey.WireAnthropic, guard.Caller{ID: "R"}),
			`{"type":"error","error":{"type":"invalid_request_error","message":"` + m + `"},"request_id":"R",` + detail + `}`},
		{"chat", answer(drey.WireChat, guard.Caller{ID: "R"}), openAI},
		{"responses", answer(drey.WireResponses, guard.Caller{ID: "R"}), openAI},
		{"anthropic, streaming", answer(drey.WireAnthropic, guard.Caller{Stream: true}),
			"event: error\ndata: " + `{"type":"error","error":{"type":"invalid_request_error","message":"` + m + `",` + told + "}}\n\n"},
		{"chat, streaming", answer(drey.WireChat, guard.Caller{ID: "R", Stream: true}),
			`data: {"error":{"message":"` + m + `","type":"invalid_request_error","param":null,"code":"tool_count_exceeded",` + told + "}}\n\n"},
	} {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	failed := answer(drey.WireResponses, guard.Caller{ID: "req_R", At: noon, Stream: true})
	for _, part := range []string{"event: response.failed\ndata: ", `"type":"response.failed","sequence_number":0`, `"id":"resp_R"`, `"status":"failed"`, `"error":{"code":"tool_count_exceeded","message":"` + m + `",` + told + `}`} {
		if !strings.Contains(failed, part) {
			t.Errorf("%s\nis without %s", failed, part)
		}
	}
}

// TestRefusedStreams holds that no client takes a refused stream for an answer.
func TestRefusedStreams(t *testing.T) {
	for _, of := range wires {
		v := guard.Inspect(of, conversation(of, repeat(3, bash("x"))...), guard.Policy{Loop: guard.Loop{Action: guard.Break, Window: 20, Threshold: 3}})
		a := v.Refusal.Answer(codecs[of], guard.Caller{ID: "req_R", At: noon, Stream: true})
		r := sse.NewReader(bytes.NewReader(a.Body), 0)
		ev, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		s, _ := codecs[of].NewObserver(wire.ObserverOptions{}).Observe(ev)
		if e, ok := s.Err.(*wire.AnswerError); !ok || e.Kind != wire.Reported || !strings.Contains(e.Msg, "tool loop detected") || s.Done || s.Content {
			t.Errorf("%v: %+v", of, s)
		}
		if ev, err := r.Next(); err == nil {
			t.Errorf("%v: and then %s", of, ev.Data)
		}
	}
}

func TestStreamForms(t *testing.T) {
	tests := []struct {
		form   guard.StreamForm
		stream bool
		agent  string
		status int
	}{
		{guard.FormAuto, true, "curl/8", 200},
		{guard.FormAuto, true, "", 200},
		{guard.FormAuto, true, "claude-cli/2.1.197 (external, sdk-cli)", 400},
		{guard.FormAuto, true, "codex_exec/0.169.0", 400},
		{guard.FormAuto, true, "codex_cli_rs/1", 400},
		{guard.FormAuto, true, "opencode/1.18.33 ai-sdk/5", 400},
		{guard.FormAuto, true, "like claude-cli/2", 200},
		{guard.FormSSE, true, "claude-cli/2", 200},
		{guard.FormHTTP, true, "curl/8", 400},
		{guard.FormAuto, false, "curl/8", 400},
		{guard.FormSSE, false, "curl/8", 400},
		{guard.FormHTTP, false, "curl/8", 400},
	}
	r := guard.Inspect(drey.WireChat, conversation(drey.WireChat, repeat(2, bash("x"))...), guard.Policy{Cap: guard.Cap{Action: guard.Break, Limit: 1}}).Refusal
	for _, tt := range tests {
		a := r.Answer(codecs[drey.WireChat], guard.Caller{Stream: tt.stream, UserAgent: tt.agent, Form: tt.form})
		if a.Status != tt.status {
			t.Errorf("%v, stream %v, %q: %d", tt.form, tt.stream, tt.agent, a.Status)
		}
	}
}

// TestMessagesStayShort holds the 200 characters of contract §9, also where a
// model calls a tool anything.
func TestMessagesStayShort(t *testing.T) {
	long := calls(strings.Repeat("ä\"", 500) + ` {}`)
	p := guard.Policy{Profile: drey.ProfileID(strings.Repeat("p", 64)), Loop: guard.Loop{Action: guard.Break, Window: 20, Threshold: 3}}
	r := guard.Inspect(drey.WireChat, conversation(drey.WireChat, repeat(3, long)...), p).Refusal
	if n := len([]rune(r.Message)); n > 200 {
		t.Errorf("%d characters: %s", n, r.Message)
	}
}
