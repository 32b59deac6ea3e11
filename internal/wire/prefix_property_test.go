package wire_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// TestEqualPrefixesAcross holds for what callers really send what
// TestEqualPrefixes holds for neutral requests: from every wire to every wire,
// decoded and encoded, or rewritten on the same one, a conversation that grew
// gives bytes that grew, also under a first line that differs each time.
func TestEqualPrefixesAcross(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		long := drawRequest(t)
		cut := rapid.IntRange(1, len(long.Messages)).Draw(t, "cut")
		for cut > 1 && long.Messages[cut-1].Role == wire.Assistant {
			cut--
		}
		short := *long
		short.Messages = long.Messages[:cut]
		// The line differs, and what follows it does not.
		lined := func(r *wire.Request, line string) *wire.Request {
			out := *r
			out.System = append([]wire.Block{{Text: "x-anthropic-billing-header: " + line + "\nyou are"}}, r.System...)
			return &out
		}
		to := wire.Target{
			Price: rapid.SampledFrom([]drey.Price{drey.Local, drey.Paid}).Draw(t, "price"), Documents: true, ReasoningHistory: true,
			StripLines: true, AppendSystem: rapid.SampledFrom([]string{"", "be brief"}).Draw(t, "append"), MaxOutputTokens: 8,
		}
		for caller, in := range codecs {
			bodies := make([][]byte, 2)
			for i, r := range []*wire.Request{lined(&short, "one"), lined(long, "another")} {
				enc, err := in.EncodeRequest(r, wire.Target{Price: drey.Paid, Documents: true, ReasoningHistory: true, MaxOutputTokens: 8})
				if err != nil {
					t.Fatal(err)
				}
				bodies[i] = enc.Body
			}
			for provider, out := range codecs {
				translate := func(body []byte) []byte {
					if caller == provider {
						b, err := in.Rewrite(body, wire.Edits{Model: "m", StripLines: true, AppendSystem: to.AppendSystem})
						if err != nil {
							t.Fatal(err)
						}
						return b.Bytes()
					}
					r, err := in.DecodeRequest(body)
					if err != nil {
						t.Fatal(err)
					}
					enc, err := out.EncodeRequest(r, to)
					if err != nil {
						t.Fatal(err)
					}
					return enc.Body
				}
				a, b := translate(bodies[0]), translate(bodies[1])
				if again := translate(bodies[1]); !bytes.Equal(b, again) {
					t.Fatalf("%v to %v: twice the same is not the same", caller, provider)
				}
				if end := lastMessage(a); !bytes.HasPrefix(b, a[:end]) {
					t.Fatalf("%v to %v:\n%s\nis no longer the beginning of\n%s", caller, provider, a[:end], b)
				}
			}
		}
	})
}

// FirstItem reads no more than it must.
func TestFirstItem(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{`[]`, ``}, {` [ ] `, ``}, {`[1,2]`, `1`}, {` [ {"a":[1]} , 2]`, `{"a":[1]}`}, {`["x", what follows`, `"x"`},
		{`{}`, ``}, {`"a"`, ``}, {``, ``}, {`[`, ``}, {`[{`, ``},
	} {
		if got := wire.FirstItem([]byte(tt.list)); string(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.list, got, tt.want)
		}
	}
}
