package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/guard"
)

// midway runs look with the second write that has content, and lets the
// provider go on with each.
type midway struct {
	*httptest.ResponseRecorder
	frames int
	look   func()
	more   chan bool
}

func (m *midway) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "lorem") {
		if m.frames++; m.frames == 2 {
			m.look()
		}
		m.more <- true
	}
	return m.ResponseRecorder.Write(p)
}

// TestStreamsLetGoOfTheirRequests: while an answer streams, nobody keeps the
// prompt, which may be large and of no more use.
func TestStreamsLetGoOfTheirRequests(t *testing.T) {
	more := make(chan bool, 2)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for range 2 { // each when the one before has gone out
			fmt.Fprint(w, `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lorem "}}]}`+"\n\n")
			http.NewResponseController(w).Flush()
			<-more
		}
		fmt.Fprint(w, `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	defer up.Close()
	prompt := strings.Repeat("dolor sit amet ", 1<<10)
	calls := strings.Repeat(`{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"Read","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t","content":"`+prompt[:400]+`"},`, 5)
	body := `{"model":"m","stream":true,"max_tokens":5,"tools":[%s],"messages":[%s{"role":"user","content":"` + prompt + `"}]}`
	for _, c := range []struct {
		name, tool, turns string
		wire              drey.Wire
		change            func(*Settings)
	}{
		{"its own wire", `{"type":"function","function":{"name":"Read"}}`, "", drey.WireChat, nil},
		{"another wire", `{"name":"Read","input_schema":{"type":"object"}}`, "", drey.WireAnthropic, nil},
		{"guarded and trimmed", `{"type":"function","function":{"name":"Read"}}`, calls, drey.WireChat, func(s *Settings) {
			g := &s.Profiles[0].Guards
			g.Tools.Cap = guard.Cap{Limit: 1, Action: guard.Inject}
			g.Context = guard.Budget{Action: guard.BudgetTrim, Warn: 0.8, Trim: 0.9, Target: 0.75, KeepLast: 1}
			s.Providers[0].ContextTokens = 4500
		}},
		{"held for a restart", `{"type":"function","function":{"name":"Read"}}`, "", drey.WireChat, func(s *Settings) {
			s.Profiles[0].Rescue = Rescue{Mode: RescueRestart, HoldTokens: 1}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.change, scripted{id: "a", wire: drey.WireChat, change: func(p *Provider) {
				p.Config.Transport, p.Config.URL, p.Repair = nil, up.URL, true
			}})
			defer l.Close()
			r := &Request{ID: "req_x", At: time.Now(), Wire: c.wire, Body: fmt.Appendf(nil, body, c.tool, c.turns), Header: http.Header{}}
			asked := weak.Make(&r.Body[0])
			kept := true
			w := &midway{ResponseRecorder: httptest.NewRecorder(), more: more, look: func() {
				// Whoever wrote the request may still be about to note that it has.
				for end := time.Now().Add(10 * time.Second); kept && time.Now().Before(end); {
					runtime.GC()
					kept = asked.Value() != nil
				}
			}}
			l.Generate(t.Context(), w, r)
			if w.frames != 2 {
				t.Fatalf("%d writes in place of 2: %s", w.frames, w.Body)
			}
			if kept {
				t.Error("the request's body is kept while the answer streams")
			}
		})
	}
}
