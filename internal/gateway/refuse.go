package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire"
)

// Refusal is why a request is not taken to any provider. The doors refuse with
// it what never becomes a request of theirs, so that every error of drey looks
// the same on its wire.
type Refusal struct {
	Case    route.Case
	Code    string // replaces the case's own word; "" leaves it
	Message string // for a person: what is wrong and what to do
	Details []byte // a JSON object within the error; nil = none
	RetryAt time.Time
	Header  http.Header // added to the answer, such as Allow
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Refuse answers with the refusal in the wire's own envelope, as JSON even
// where a stream was asked for, and returns the status.
func Refuse(w http.ResponseWriter, of drey.Wire, id drey.RequestID, r *Refusal) int {
	codec, ok := codecs[of]
	if !ok {
		codec = codecs[drey.WireChat]
	}
	t := route.Refusal{Case: r.Case, Code: r.Code, At: time.Now(), RetryAt: r.RetryAt}.Tell(of)
	e := wire.Error{Type: t.Type, Code: t.Code, Message: r.Message, RequestID: string(id), Details: r.Details}
	if t.RetryAfter > 0 { // as beside every error that time mends: nobody was asked, nobody passed over
		e.Detail, _ = json.Marshal(route.Fail{RetryAt: r.RetryAt}.Detail(route.Walk{}, nil)) // a time: it cannot fail
	}
	body := codec.Error(e)
	h := w.Header()
	setID(h, id)
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	told(h, t)
	for k, v := range r.Header {
		h[k] = v
	}
	w.WriteHeader(t.Status)
	_, _ = w.Write(body) // a caller that is gone has no use for it
	return t.Status
}
