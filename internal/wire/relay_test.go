package wire_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/openai"
)

// TestPass holds that between equal wires every byte comes through, and that a
// stream that breaks off anywhere is told to be cut.
func TestPass(t *testing.T) {
	files, err := filepath.Glob("testdata/cross/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		stream := member(ar, "stream")
		var c wire.Codec
		for _, codec := range codecs {
			if strings.Contains(filepath.Base(file), "_"+codec.Wire().String()+"_") {
				c = codec
			}
		}
		got, sig := run(t, wire.Pass(c.NewObserver(wire.ObserverOptions{}), c.EndMark()), bytes.NewReader(stream))
		want := stream
		if mark := c.EndMark(); !bytes.HasSuffix(stream, mark) {
			want = append(slices.Clip(stream), mark...) // some backends leave it out
		}
		if !bytes.Equal(got, want) || !sig.Done || sig.Err != nil || !sig.Content {
			t.Errorf("%s: %+v\n%s", file, sig, got)
		}
		for n := range len(stream) {
			_, sig := run(t, wire.Pass(c.NewObserver(wire.ObserverOptions{}), c.EndMark()), bytes.NewReader(stream[:n]))
			e, ok := errors.AsType[*wire.AnswerError](sig.Err)
			if sig.Done == ok || ok && e.Kind != wire.Cut || sig.Done && !hasEnd(stream[:n]) {
				t.Fatalf("%s: broken off at byte %d: %+v", file, n, sig)
			}
		}
	}
}

func TestPassHidesWhatWasNotAskedFor(t *testing.T) {
	const (
		before = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"
		usage  = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n"
		done   = "data: [DONE]\n\n"
	)
	got, sig := run(t, wire.Pass(openai.Chat{}.NewObserver(wire.ObserverOptions{HideUsage: true}), openai.Chat{}.EndMark()), strings.NewReader(before+usage+done))
	if string(got) != before+done || sig.Usage == nil || *sig.Usage != (wire.Usage{Input: 3, Output: 1}) {
		t.Errorf("%s %+v", got, sig.Usage)
	}
}
