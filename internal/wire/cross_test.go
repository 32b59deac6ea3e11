package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/repair"
	"github.com/dreyhq/drey/internal/repair/stage"
	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/anthropic"
	"github.com/dreyhq/drey/internal/wire/openai"
	"github.com/dreyhq/drey/internal/wire/sse"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference")

var codecs = map[drey.Wire]wire.Codec{
	drey.WireAnthropic: anthropic.Codec{},
	drey.WireChat:      openai.Chat{},
	drey.WireResponses: openai.Responses{},
}

// crossing is one way from a caller's wire to a provider's and back.
type crossing struct {
	From, To drey.Wire
	Target   wire.Target

	caller, provider wire.Codec
	request          *wire.Request
	encoded          *wire.Encoded
}

const inputTokens = 33

func (c *crossing) back() wire.Back {
	b := wire.NewBack(c.request, c.encoded)
	b.InputTokens, b.Lenient = inputTokens, repair.Arguments
	return b
}

// stage is how the gateway leaves out reasoning that nobody asked for.
func (c *crossing) stage() *stage.Stage {
	o := stage.Options{Reasoning: stage.Drop}
	if c.request.Thinking.Asked() {
		o.Reasoning = stage.Show
	}
	s, _ := stage.New(o) // it has no filters whose names could be wrong
	return s
}

func (c *crossing) decoder() wire.Decoder { return stage.Decoder(c.provider.NewDecoder(), c.stage()) }

func (c *crossing) encoder() wire.Encoder {
	id := map[drey.Wire]string{drey.WireAnthropic: "msg_drey", drey.WireChat: "chatcmpl-drey", drey.WireResponses: "resp_drey"}[c.From]
	return c.caller.NewEncoder(wire.EncoderOptions{ID: id, Created: 1, WantUsage: c.request.WantUsage, InputTokens: inputTokens})
}

// TestCrossings translates each request, and both its answers back, and holds
// every byte. The head of each file says which bugs it guards.
func TestCrossings(t *testing.T) {
	files, err := filepath.Glob("testdata/cross/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, out := cross(t, ar)
			if *update {
				write(t, file, ar, out)
				return
			}
			for _, f := range out {
				if diff := cmp.Diff(string(member(ar, f.Name)), string(f.Data)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
			}
			holdStream(t, c, member(ar, "stream"))
		})
	}
}

// cross returns what each given member becomes.
func cross(t *testing.T, ar *txtar.Archive) (*crossing, []txtar.File) {
	t.Helper()
	var c crossing
	if err := json.Unmarshal(member(ar, "setup.json"), &c); err != nil {
		t.Fatal(err)
	}
	c.caller, c.provider = codecs[c.From], codecs[c.To]
	var err error
	if c.request, err = c.caller.DecodeRequest(member(ar, "request")); err != nil {
		t.Fatal(err)
	}
	if c.encoded, err = c.provider.EncodeRequest(c.request, c.Target); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(c.encoded.Body) {
		t.Errorf("the request is no JSON: %s", c.encoded.Body)
	}
	out := []txtar.File{{Name: "request.out", Data: c.encoded.Body}}
	var notes bytes.Buffer
	for _, n := range slices.Concat(c.request.Notes, c.encoded.Notes) {
		notes.WriteString(n.Event + " " + n.Type + " " + n.Name + "\n")
	}
	out = append(out, txtar.File{Name: "notes.out", Data: notes.Bytes()})

	answer := c.answer(t, member(ar, "answer"), c.back())
	out = append(out, txtar.File{Name: "answer.out", Data: answer})
	one := c.back()
	one.OneCall = true
	if limited := c.answer(t, member(ar, "answer"), one); !bytes.Equal(limited, answer) {
		out = append(out, txtar.File{Name: "answer.one.out", Data: limited})
	}
	stream, sig := run(t, wire.Translate(c.decoder(), c.encoder(), c.back()), bytes.NewReader(member(ar, "stream")))
	if sig.Err != nil || !sig.Done {
		t.Errorf("the stream ended with %+v", sig)
	}
	out = append(out, txtar.File{Name: "stream.out", Data: stream})

	// The same stream for a caller that asked for none.
	write := func(r *wire.Response) ([]byte, error) { r.Created = 1; return c.caller.EncodeResponse(r) }
	whole, sig := run(t, wire.Assemble(c.decoder(), c.back(), write), bytes.NewReader(member(ar, "stream")))
	if sig.Err != nil || !sig.Done || !json.Valid(whole) {
		t.Errorf("assembled to %+v, %s", sig, whole)
	}
	out = append(out, txtar.File{Name: "assembled.out", Data: whole})
	for i := range out {
		if n := len(out[i].Data); n > 0 && out[i].Data[n-1] != '\n' {
			out[i].Data = append(bytes.Clone(out[i].Data), '\n') // as the archive holds it
		}
	}
	return &c, out
}

func (c *crossing) answer(t *testing.T, body []byte, b wire.Back) []byte {
	t.Helper()
	r, err := c.provider.DecodeResponse(body)
	if err != nil {
		t.Fatal(err)
	}
	b.Response(r)
	c.stage().Response(r)
	out, err := c.caller.EncodeResponse(r)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out) {
		t.Errorf("the answer is no JSON: %s", out)
	}
	return out
}

// run reads a stream through a relay. The signal sums up what was told.
func run(t testing.TB, relay wire.Relay, stream io.Reader) (out []byte, sum wire.Signal) {
	t.Helper()
	add := func(s wire.Signal) {
		if sum.Err != nil && s.Err != nil {
			t.Errorf("a second error: %v", s.Err)
		}
		if s.Err != nil {
			sum.Err = s.Err
		}
		sum.Done = sum.Done || s.Done
		sum.Content = sum.Content || s.Content
		sum.Text = sum.Text || s.Text
		if s.Usage != nil {
			sum.Usage = s.Usage
		}
	}
	r := sse.NewReader(stream, 0)
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var s wire.Signal
		out, s = relay.Frame(out, ev)
		add(s)
	}
	out, s := relay.Close(out)
	add(s)
	return out, sum
}

// ends are what tells a reader that an answer is whole.
var ends = []string{"message_stop", "message_delta", "[DONE]", `"finish_reason":"`, "response.completed", "response.incomplete"}

func hasEnd(b []byte) bool {
	for _, e := range ends {
		if bytes.Contains(b, []byte(e)) {
			return true
		}
	}
	return false
}

// holdStream holds that however a stream is cut into reads it gives the same
// bytes, and that wherever it breaks off it gives no clean end.
func holdStream(t *testing.T, c *crossing, stream []byte) {
	t.Helper()
	relay := func() wire.Relay { return wire.Translate(c.decoder(), c.encoder(), c.back()) }
	want, _ := run(t, relay(), bytes.NewReader(stream))
	if got, _ := run(t, relay(), iotest.OneByteReader(bytes.NewReader(stream))); !bytes.Equal(got, want) {
		t.Error("read byte by byte it is another stream")
	}
	for n := range len(stream) {
		parts := io.MultiReader(bytes.NewReader(stream[:n]), bytes.NewReader(stream[n:]))
		if got, _ := run(t, relay(), parts); !bytes.Equal(got, want) {
			t.Fatalf("read in two parts, cut at byte %d, it is another stream", n)
		}
		got, sig := run(t, relay(), bytes.NewReader(stream[:n]))
		if sig.Done {
			if !hasEnd(stream[:n]) || sig.Err != nil {
				t.Fatalf("broken off at byte %d it is done: %+v", n, sig)
			}
			continue
		}
		e, ok := errors.AsType[*wire.AnswerError](sig.Err)
		if !ok || e.Kind != wire.Cut {
			t.Fatalf("broken off at byte %d it ends with %v", n, sig.Err)
		}
		if hasEnd(got) || !bytes.HasPrefix(want, got) {
			t.Fatalf("broken off at byte %d it gives\n%s", n, got)
		}
		whole, sig := run(t, wire.Assemble(c.decoder(), c.back(), c.caller.EncodeResponse), bytes.NewReader(stream[:n]))
		if len(whole) > 0 || sig.Done {
			t.Fatalf("broken off at byte %d it is assembled to %s", n, whole)
		}
	}
}

func member(ar *txtar.Archive, name string) []byte {
	for _, f := range ar.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func write(t *testing.T, file string, ar *txtar.Archive, out []txtar.File) {
	t.Helper()
	kept := ar.Files[:0]
	for _, f := range ar.Files {
		if !strings.HasSuffix(f.Name, ".out") {
			kept = append(kept, f)
		}
	}
	ar.Files = append(kept, out...)
	if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
		t.Fatal(err)
	}
}
