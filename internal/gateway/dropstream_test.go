package gateway

import (
	"testing"

	"github.com/dreyhq/drey/internal/fake"
)

// TestBrokenStreamsAreAskedForWhole: a provider whose streams break serves
// callers that want a stream, once the configuration drops the wish. It is what
// doctor has people paste.
func TestBrokenStreamsAreAskedForWhole(t *testing.T) {
	broken := fake.Model{Stream: func(b fake.Behaviour) fake.Behaviour { return b.CutAfter(2, fake.Clean) }}
	for _, w := range bothWires {
		for _, caller := range callers {
			t.Run(name(caller, "to", w), func(t *testing.T) {
				l := newLab(t, nil, scripted{id: "a", wire: w, script: broken.Script(), change: func(p *Provider) {
					p.Drop = []string{"stream", "stream_options"}
				}})
				a := l.ask(t.Context(), caller, prompt(caller, true))
				if text, complete := a.text(caller); a.status != 200 || text != "ok" || !complete || a.aborted {
					t.Errorf("%d, %q, complete %v: %s", a.status, text, complete, a.body)
				}
				if call := l.fakes["a"].Calls()[0]; call.Stream {
					t.Errorf("it was asked to stream: %s", call.Body)
				}
			})
		}
	}
}
