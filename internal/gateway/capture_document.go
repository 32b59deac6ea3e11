package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// askHeaders are the caller's headers that are kept: how the request is to be
// read, and who sent it. answerHeaders are the provider's. All others may hold
// credentials.
var (
	askHeaders = []string{
		"Content-Type", "Accept", "User-Agent", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta", "X-Drey-Profile",
		"X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-Retry-Count", "X-Stainless-Timeout",
	}
	answerHeaders = []string{
		"Content-Type", "Content-Encoding", "Request-Id", "X-Request-Id", "Server", "Retry-After", "Retry-After-Ms", "X-Should-Retry",
		"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens",
		"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Tokens-Reset",
	}
)

// callPaths are the doors by wire.
var callPaths = map[drey.Wire]string{
	drey.WireAnthropic: "/v1/messages", drey.WireChat: "/v1/chat/completions", drey.WireResponses: "/v1/responses",
}

// document writes a capture down, with every secret masked: those that the
// redactor knows, and the caller's own credential, which a provider of key:
// caller has seen.
func (c *capture) document(known *redact.Redactor, r *Record) *api.Capture {
	mask := masker{known.With(c.req.Key.Secret)}
	body := c.body[:min(len(c.body), c.set.body())]
	cut := len(body) < len(c.body)
	doc := &api.Capture{
		ID: r.ID, At: drey.FormatTime(r.At), Wire: c.req.Wire, Path: callPaths[c.req.Wire], Profile: mask.text(c.req.PathProfile, false),
		Query: mask.text(c.req.Query, false), Headers: mask.headers(c.req.Header, askHeaders),
		Body: mask.text(string(body), cut), Bytes: len(c.body), Cut: cut, Attempts: make([]api.CaptureAttempt, 0, len(c.attempts)),
	}
	if c.embeds {
		doc.Path = embedPath
	}
	doc.Masked = doc.Body != string(body)
	if line, err := json.Marshal(r.row()); err == nil { // else the ledger has said so
		doc.Row = mask.Bytes(line)
	}
	for _, t := range c.attempts {
		doc.Attempts = append(doc.Attempts, t.document(mask, r.At))
	}
	return doc
}

// embedPath is the door of embeddings.
const embedPath = "/v1/embeddings"

func (t *tap) document(mask masker, came time.Time) api.CaptureAttempt {
	out := api.CaptureAttempt{
		Provider: t.provider, Wire: t.wire, AtMS: millis(t.start.Sub(came)), Status: t.status,
		Headers: mask.headers(t.header, answerHeaders), Bytes: t.bytes, Cut: t.cut(),
	}
	if !t.streamed() {
		out.Body = mask.text(string(t.raw), true) // it may have ended anywhere
		return out
	}
	list, ends := frames(t.raw)
	for i, raw := range mask.stream(list) {
		at, _ := slices.BinarySearchFunc(t.marks, ends[i], func(m mark, to int) int { return m.to - to })
		out.Frames = append(out.Frames, api.CaptureFrame{MS: millis(t.marks[min(at, len(t.marks)-1)].at), Raw: raw})
	}
	return out
}

// streamed reports whether the answer came in frames. A type that is missing is
// what it looks like.
func (t *tap) streamed() bool {
	kind := strings.ToLower(t.header.Get("Content-Type"))
	return strings.HasPrefix(kind, eventStream[0]) || kind == "" && t.status/100 == 2 && !bytes.HasPrefix(bytes.TrimSpace(t.raw), []byte("{"))
}

// frames splits a stream, of which something may be missing at the end, into its
// frames. ends are where each of them ends in raw.
func frames(raw []byte) (list []string, ends []int) {
	at := len(raw) - len(bytes.TrimPrefix(raw, []byte("\ufeff"))) // a mark that the reader passes over
	rd := sse.NewReader(bytes.NewReader(raw), 0)
	for {
		ev, err := rd.Next()
		if err != nil || ev.Partial {
			break
		}
		list, at = append(list, string(ev.Raw)), at+len(ev.Raw)
		ends = append(ends, at)
	}
	if at < len(raw) { // not a whole frame
		list, ends = append(list, string(raw[at:])), append(ends, len(raw))
	}
	return list, ends
}

// masker takes secrets out of what was captured.
type masker struct{ *redact.Redactor }

// text masks the secrets of a text; cut as in redact.Pieces.
func (m masker) text(s string, cut bool) string {
	if s == "" {
		return ""
	}
	return m.Pieces([]string{s}, cut)[0]
}

// headers returns those of the named headers that are there, nil if none is.
func (m masker) headers(h http.Header, names []string) map[string]string {
	var out map[string]string
	for _, name := range names {
		if v := h[name]; len(v) > 0 {
			if out == nil {
				out = map[string]string{}
			}
			out[strings.ToLower(name)] = m.String(strings.Join(v, ", "))
		}
	}
	return out
}

// stream masks the secrets of a stream's frames. A model that repeats a secret
// tells it in pieces, with a frame around each: so the texts that stand in the
// same place of one frame after the other are read as one, and after that the
// frames as they are. The stream may have ended anywhere.
func (m masker) stream(frames []string) []string {
	type place struct{ frame, from, to int } // of a JSON string with its quotes
	texts, places := map[string][]string{}, map[string][]place{}
	for i, raw := range frames {
		at, data := dataOf(raw)
		s := scan.New([]byte(data))
		leaves(&s, "", func(path string, from, to int) {
			texts[path] = append(texts[path], string(scan.Unquote([]byte(data[from:to]))))
			places[path] = append(places[path], place{i, at + from, at + to})
		})
	}
	type edit struct {
		place
		text string
	}
	edits := map[int][]edit{}
	for path, was := range texts {
		for i, now := range m.Pieces(was, true) {
			if now != was[i] {
				at := places[path][i]
				edits[at.frame] = append(edits[at.frame], edit{at, now})
			}
		}
	}
	if len(edits) > 0 {
		frames = slices.Clone(frames)
	}
	for i, list := range edits {
		slices.SortFunc(list, func(a, b edit) int { return b.from - a.from }) // from the end, so that places stay
		for _, e := range list {
			quoted := string(scan.AppendString(nil, e.text))
			frames[i] = frames[i][:e.from] + quoted + frames[i][e.to:]
		}
	}
	return m.Pieces(frames, true)
}

// dataOf returns the data of a frame that has one line of it, and where that
// begins; "" if it has none, or several.
func dataOf(frame string) (at int, data string) {
	from := 0
	for line := range strings.Lines(frame) {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data:"); ok {
			if data != "" {
				return 0, ""
			}
			data = strings.TrimLeft(value, " ")
			at = from + len("data:") + len(value) - len(data)
		}
		from += len(line)
	}
	return at, data
}

// leaves tells the strings that are values of a JSON text, each with its path and
// where it stands, quotes included.
func leaves(s *scan.Scanner, path string, tell func(path string, from, to int)) {
	switch s.Kind() {
	case scan.Object:
		for key := range s.Fields() {
			leaves(s, path+"."+string(key), tell)
		}
	case scan.Array:
		for i := range s.Items() {
			leaves(s, path+"."+strconv.Itoa(i), tell)
		}
	case scan.String:
		if from, to := s.Span(); s.Err() == nil {
			tell(path, from, to)
		}
	}
}
