package anthropic_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/wire"
	"github.com/dreyhq/drey/internal/wire/sse"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

// TestGolden reads testdata/*.txtar. The comment of each file lists the bugs
// that it guards. What is given, by the name of the part:
//
//	request.json   a request of this wire → neutral.txt
//	stream.sse     a stream of this wire → events.txt, out.sse
//	response.json  a whole answer of this wire → neutral.txt, out.json
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.TrimSpace(a.Comment)) == 0 {
				t.Error("the file does not say which bugs it guards")
			}
			g := golden{t: t, a: a}
			for _, f := range append([]txtar.File(nil), a.Files...) {
				switch f.Name {
				case "request.json":
					g.request(f.Data)
				case "stream.sse":
					g.stream(f.Data)
				case "response.json":
					g.response(f.Data)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type golden struct {
	t *testing.T
	a *txtar.Archive
}

// want compares a golden part, or rewrites it.
func (g *golden) want(name, got string) {
	g.t.Helper()
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	for i := range g.a.Files {
		if f := &g.a.Files[i]; f.Name == name {
			if *update {
				f.Data = []byte(got)
			} else if string(f.Data) != got {
				g.t.Errorf("%s is\n%s\nwant\n%s", name, got, f.Data)
			}
			return
		}
	}
	if !*update {
		g.t.Errorf("no part %s; run with -update and read what it writes", name)
	}
	g.a.Files = append(g.a.Files, txtar.File{Name: name, Data: []byte(got)})
}

func (g *golden) request(body []byte) {
	r, err := codec.DecodeRequest(body)
	if err != nil {
		g.want("neutral.txt", "error: "+err.Error())
		return
	}
	g.want("neutral.txt", dumpRequest(r))
}

func (g *golden) stream(body []byte) {
	events, err := decodeStream(body, len(body))
	g.want("events.txt", dumpEvents(events, err))
	e := codec.NewEncoder(wire.EncoderOptions{ID: "msg_drey", Model: "served", InputTokens: 7})
	var out []byte
	for _, ev := range events {
		out = e.Encode(out, ev)
	}
	checkOrder(g.t, out, err == nil)
	g.want("out.sse", string(out))
}

func (g *golden) response(body []byte) {
	r, err := codec.DecodeResponse(body)
	rep, rerr := codec.Inspect(body)
	if (err == nil) != (rerr == nil) {
		g.t.Errorf("decoded: %v, inspected: %v", err, rerr)
	}
	if err != nil {
		g.want("neutral.txt", "error: "+err.Error())
		return
	}
	u := "none"
	if rep.Usage != nil {
		u = fmt.Sprintf("%+v", *rep.Usage)
	}
	g.want("neutral.txt", fmt.Sprintf("id %s\nmodel %s\nstop %s %q\nusage %+v\n%sreport: model %s, stop %s, empty %v, tools %d, usage %s\n",
		r.ID, r.Model, r.Stop, r.StopSequence, r.Usage, dumpBlocks("", r.Blocks), rep.Model, rep.Stop, rep.Empty, rep.Tools, u))
	out, err := codec.EncodeResponse(r)
	if err != nil {
		g.t.Fatal(err)
	}
	g.want("out.json", indent(out))
}

func indent(body []byte) string {
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		return "no JSON: " + string(body)
	}
	return b.String()
}

// decodeStream decodes a stream that is read in pieces of n bytes.
func decodeStream(body []byte, n int) ([]wire.Event, error) {
	r := sse.NewReader(&pieces{body, n}, 0)
	d := codec.NewDecoder()
	var out []wire.Event
	for {
		ev, err := r.Next()
		if err != nil {
			return d.Close(out)
		}
		if out, err = d.Decode(out, ev); err != nil {
			return out, err
		}
	}
}

var kinds = [...]string{"text", "image", "document", "tool_use", "tool_result", "reasoning", "redacted"}

func dumpBlocks(margin string, bs []wire.Block) string {
	var b strings.Builder
	for _, bl := range bs {
		fmt.Fprintf(&b, "%s%s", margin, kinds[bl.Kind])
		for _, f := range []struct{ name, value string }{
			{"text", bl.Text}, {"media", bl.MediaType}, {"data", bl.Data}, {"url", bl.URL}, {"title", bl.Title},
			{"id", bl.ID}, {"name", bl.Name}, {"input", string(bl.Input)}, {"signature", bl.Signature}, {"cache", string(bl.Cache)},
		} {
			if f.value != "" {
				fmt.Fprintf(&b, " %s=%q", f.name, f.value)
			}
		}
		if bl.IsError {
			b.WriteString(" error")
		}
		b.WriteString("\n" + dumpBlocks(margin+"  ", bl.Content))
	}
	return b.String()
}

func dumpRequest(r *wire.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "from %s model %q max %d stream %v stop %q temperature %s top_p %s top_k %s cached %v\n",
		r.From, r.Model, r.MaxTokens, r.Stream, r.Stop, r.Temperature, r.TopP, r.TopK, r.CachedPrefix)
	fmt.Fprintf(&b, "choice %d %q one call %v thinking %+v\n", r.Choice.Mode, r.Choice.Name, r.OneCall, r.Thinking)
	if f := r.Format; f != nil {
		fmt.Fprintf(&b, "format %s %q %s\n", f.Type, f.Name, f.Schema)
	}
	for _, t := range r.Tools {
		fmt.Fprintf(&b, "tool %q %q %q %s strict %v cache %s\n", t.Type, t.Name, t.Description, t.Schema, t.Strict != nil && *t.Strict, t.Cache)
	}
	b.WriteString("system\n" + dumpBlocks("  ", r.System))
	for _, m := range r.Messages {
		b.WriteString([]string{"user", "assistant", "system"}[m.Role] + " turn\n" + dumpBlocks("  ", m.Blocks))
	}
	return b.String()
}

func dumpEvents(events []wire.Event, err error) string {
	var b strings.Builder
	for _, ev := range events {
		b.WriteString([]string{"start", "block", "delta", "sign", "stop", "usage", "finish"}[ev.Kind])
		switch ev.Kind {
		case wire.Start:
			fmt.Fprintf(&b, " id %s model %s", ev.ID, ev.Model)
		case wire.BlockStart:
			b.WriteString(" " + strings.TrimSpace(dumpBlocks("", []wire.Block{ev.Block})))
		case wire.Delta, wire.Sign:
			fmt.Fprintf(&b, " %q", ev.Text)
		case wire.Finish:
			fmt.Fprintf(&b, " %s %q", ev.Stop, ev.StopSequence)
		}
		if ev.Usage != nil {
			fmt.Fprintf(&b, " usage %+v", *ev.Usage)
		}
		b.WriteByte('\n')
	}
	if err != nil {
		b.WriteString("error: " + err.Error() + "\n")
	}
	return b.String()
}
