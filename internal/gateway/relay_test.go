package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
)

// Text that may stand around a structured answer is held back until it is known
// that there is none, and is then the answer.
func TestTextInPlaceOfAStructuredAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil, scripted{id: "a", wire: drey.WireAnthropic, script: fake.Always(fake.Text("I would rather not.").Gap(time.Second))})
		body := `{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}},` + prompt(drey.WireChat, true)[1:]
		a := l.ask(t.Context(), drey.WireChat, body)
		if text, complete := a.text(drey.WireChat); text != "I would rather not." || !complete {
			t.Errorf("%q complete=%v\n%s", text, complete, a.body)
		}
	})
}
