package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
)

// The vendors' own clients read an answer that broke at one provider and was
// given to its end by another as one answer; the journal, the audit log, the
// row, the metrics and `drey why` tell what happened.
func TestSDKsReadARescuedStream(t *testing.T) {
	const whole = "half of an answer that goes on to its end"
	for from, events := range map[string]int{"anthropic": 6, "openai": 4} { // as many as tell "half of an "
		for _, to := range []string{"anthropic", "openai"} {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				first := provider(t, fake.Always(fake.Text(whole).Gap(5*time.Millisecond).CutAfter(events, fake.Clean)))
				second := provider(t, fake.Always(fake.Text(" answer that goes on to its end").Gap(time.Millisecond)))
				h := open(t, fmt.Sprintf(`listen: {addr: "127.0.0.1:0"}
providers:
  first: {wire: %s, url: %q, health: {threshold: 20}}
  second: {wire: %s, url: %q, capabilities: {prefill: true}}
profiles:
  default: {chain: [first, second], rescue: continue, hold: 0}
`, from, first.URL(), to, second.URL()))

				m := askAnthropic(t, h.anthropicClient(), hello, true)
				if got := saidByAnthropic(m); got.Text != whole || got.Stop != "end_turn" {
					t.Errorf("Anthropic's SDK read %+v", got)
				}
				if len(m.Content) != 1 {
					t.Errorf("in %d blocks", len(m.Content))
				}
				ev := h.event("stream-rescued", 0)
				if ev.From != "first" || ev.To != "second" || ev.RequestID == "" {
					t.Errorf("%+v", ev)
				}
				h.toldOfRescue(t, ev)

				p := helloChat
				p.StreamOptions.IncludeUsage = openai.Bool(true)
				if got := saidByOpenAI(askOpenAI(t, h.openaiClient(), p, true)); got.Text != whole || got.Stop != "stop" || got.Output == 0 {
					t.Errorf("OpenAI's SDK read %+v", got)
				}
				r := askResponses(t, h.openaiClient(), responses.ResponseNewParams{Model: "any", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")}}, true)
				if got := r.OutputText(); got != whole {
					t.Errorf("of responses it read %q", got)
				}
			})
		}
	}
}

// toldOfRescue checks what is told of a rescue besides the answer.
func (h *house) toldOfRescue(t *testing.T, ev drey.Event) {
	t.Helper()
	row := h.row(string(ev.RequestID))
	if row.Outcome != "ok" {
		t.Errorf("the row says %+v", row)
	}
	if why := h.do("GET", "/api/v1/why/request/"+string(ev.RequestID), "").body; !strings.Contains(why, "second went on where first had stopped") {
		t.Errorf("why says %s", why)
	}
	if metrics := h.do("GET", "/metrics", "").body; !strings.Contains(metrics, `drey_rescues_total{mode="continue",outcome="ok"} 1`) {
		t.Error("the metrics do not count it")
	}
	eventually(t, "the audit log has it", func() bool {
		b, err := os.ReadFile(h.home.Audit())
		return err == nil && strings.Contains(string(b), `"event":"stream-rescued"`) && strings.Contains(string(b), `"mode":"continue","at_tokens":3`)
	})
}
