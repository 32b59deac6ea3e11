package anthropic_test

import (
	"testing"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/google/go-cmp/cmp"
)

func TestResponseIDs(t *testing.T) {
	for id, want := range map[string]string{"msg_1": "msg_1", "chatcmpl-1": "msg_1", "resp_1": "msg_1", "": "msg_"} {
		b, err := codec.EncodeResponse(&wire.Response{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		r, err := codec.DecodeResponse(b)
		if err != nil || r.ID != want {
			t.Errorf("id %q became %q, %v", id, r.ID, err)
		}
	}
}

func TestStopReasons(t *testing.T) {
	call := []wire.Block{use("1", "T", "{}")}
	for _, tt := range []struct {
		name   string
		stop   wire.Stop
		blocks []wire.Block
		want   wire.Stop
	}{
		{"unknown is a normal end", wire.StopUnknown, nil, wire.StopEnd},
		{"a call wins over the end", wire.StopEnd, call, wire.StopTools},
		{"but not over the length", wire.StopLength, call, wire.StopLength},
		{"tools without a call is an end", wire.StopTools, nil, wire.StopEnd},
		{"refusal", wire.StopRefusal, nil, wire.StopRefusal},
		{"pause", wire.StopPause, nil, wire.StopPause},
	} {
		b, err := codec.EncodeResponse(&wire.Response{Stop: tt.stop, Blocks: tt.blocks})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := codec.Inspect(b)
		if err != nil || rep.Stop != tt.want {
			t.Errorf("%s: %s, %v", tt.name, rep.Stop, err)
		}
	}
}

func TestResponseRefuses(t *testing.T) {
	for _, body := range []string{``, `<html>`, `[]`, `{}`, `{"content":"text"}`, `{"content":[`, `{"content":[{"type":"text","text":1}]}`, `{"choices":[]}`} {
		if _, err := codec.DecodeResponse([]byte(body)); !malformed(err) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func malformed(err error) bool {
	e, ok := err.(*wire.AnswerError)
	return ok && e.Kind == wire.Malformed
}

// FuzzResponse says that what was decoded and encoded stays the same from then
// on.
func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"id":"msg_1","content":[{"type":"text","text":"x"},{"type":"tool_use","input":{"a":1.0}},{"type":"thinking","thinking":"t"}],"usage":{"input_tokens":1e2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := codec.Inspect(body); err != nil && len(body) > 0 {
			if _, derr := codec.DecodeResponse(body); derr == nil {
				t.Fatalf("decoded, and Inspect says %v", err)
			}
		}
		r, err := codec.DecodeResponse(body)
		if err != nil {
			return
		}
		once, err := codec.EncodeResponse(r)
		if err != nil {
			return // a block that no answer of this wire can hold
		}
		r1, err := codec.DecodeResponse(once)
		if err != nil {
			t.Fatalf("%v in %s", err, once)
		}
		twice, err := codec.EncodeResponse(r1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(once), string(twice)); d != "" {
			t.Fatal(d)
		}
	})
}
