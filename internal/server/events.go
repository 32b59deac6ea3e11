package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/store"
)

// eventsInput is where to begin and what to show.
type eventsInput struct {
	After       string `query:"after" pattern:"^[0-9]{1,18}$" doc:"begin behind this seq; live: from now without it; a page: from the beginning"`
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,18}$" doc:"what browsers send to resume; it wins over after"`
	Limit       int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many events a page has at most"`
	Newest      bool   `query:"newest" doc:"a page: the last events in place of the first"`

	Event     string `query:"event" maxLength:"200" doc:"only events whose name matches this glob: provider-*"`
	Machine   string `query:"machine" doc:"only this machine's, such as provider"`
	ID        string `query:"id" doc:"only those of the machine with this id"`
	RequestID string `query:"request_id" doc:"only those that this request caused"`
}

func eventsOperation(a huma.API) huma.Operation {
	op := operation(http.MethodGet, "/events", "events", "Events, live or in pages")
	op.Description = "Server-sent events: first those of the journal behind the given seq, then live, without a gap or a repetition between. " +
		"With Accept: application/json one page of the journal instead. Events of telemetry come live only, without an id. " +
		"A reader whose seq is no longer held first gets the message gap {from, to}; one that falls behind gets overflow {seq} as the last message, and may come back."
	event := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"ts", "event", "level"}, AdditionalProperties: true,
		Description: "One event: the envelope, and the event's own fields beside it.",
		Properties: map[string]*huma.Schema{
			"seq":        {Type: huma.TypeInteger, Description: "the place in the journal; absent on telemetry"},
			"ts":         {Type: huma.TypeString, Description: "UTC with microseconds; the order of texts is the order of times"},
			"event":      {Type: huma.TypeString},
			"level":      {Type: huma.TypeString, Enum: []any{"debug", "info", "warn", "error"}},
			"machine":    {Type: huma.TypeString, Description: "whose event it is"},
			"id":         {Type: huma.TypeString, Description: "which one of them"},
			"from":       {Type: huma.TypeString, Description: "the state that was left"},
			"to":         {Type: huma.TypeString, Description: "the state that was entered"},
			"trigger":    {Type: huma.TypeString, Description: "what moved it"},
			"cause":      {Type: huma.TypeInteger, Description: "the seq of the event that caused this one"},
			"request_id": {Type: huma.TypeString},
		},
	}
	schemas := a.OpenAPI().Components.Schemas
	schemas.Map()["Event"] = event
	page := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"events", "as_of_seq"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"events":      {Type: huma.TypeArray, Items: &huma.Schema{Ref: "#/components/schemas/Event"}},
			"next_cursor": {Type: huma.TypeString, Description: "pass it as after to go on; absent on the last page"},
			"as_of_seq":   {Type: huma.TypeInteger, Description: "the journal's head when the page was read"},
		},
	}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "OK",
		Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString, Description: "id: the seq; event: the name; data: an Event, or of gap and overflow the object described above"}},
			"application/json":  {Schema: page},
		},
	}}
	return op
}

// getEvents answers with a page or with a stream.
func (s *Server) getEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	from := in.LastEventID
	if from == "" {
		from = in.After
	}
	after, err := strconv.ParseUint(from, 10, 64)
	resume := err == nil // the pattern has checked what is there
	q := store.Query{
		After: drey.Seq(after), Event: in.Event, Machine: in.Machine, ID: in.ID, RequestID: drey.RequestID(in.RequestID),
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		if accepts(r, "application/json") && !accepts(r, "text/event-stream") {
			q.Limit, q.Newest = in.Limit, in.Newest
			s.eventPage(ctx, w, q)
			return
		}
		if r.Method == http.MethodHead { // there is no body to follow
			newLive(w)
			return
		}
		s.follow(ctx, w, q, resume)
	}}, nil
}

func (s *Server) eventPage(ctx context.Context, w http.ResponseWriter, q store.Query) {
	id := drey.RequestID(w.Header().Get("X-Drey-Request-Id"))
	page, err := s.cfg.Journal.Query(ctx, q)
	if err != nil {
		s.writeError(w, id, s.refuseControl("events", err))
		return
	}
	out := struct {
		Events []json.RawMessage `json:"events"`
		api.Page
	}{make([]json.RawMessage, 0, len(page.Events)), api.Page{AsOfSeq: page.AsOf}}
	if page.Next != 0 {
		out.NextCursor = strconv.FormatUint(uint64(page.Next), 10)
	}
	for _, ev := range page.Events {
		out.Events = append(out.Events, s.eventJSON(ev))
	}
	body, err := json.Marshal(out)
	if err != nil {
		s.writeError(w, id, s.refuseControl("events", err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// writeError answers with an error of refuseControl, outside of huma.
func (s *Server) writeError(w http.ResponseWriter, id drey.RequestID, err error) {
	e, ok := errors.AsType[*statusError](err)
	if !ok {
		e = &statusError{http.StatusInternalServerError, bugError()}
	}
	body := e.Body
	body.Message = string(s.cfg.Redact([]byte(body.Message)))
	controlError(w, id, e.status, body)
}

// eventJSON writes an event as every reader of the control API gets it.
func (s *Server) eventJSON(ev drey.Event) []byte {
	data, err := ev.MarshalJSON()
	if err != nil {
		// A field that no JSON can hold: better a bare event than none.
		s.cfg.Log.Error("event-not-written", "event", ev.Name, "error", err)
		ev.Fields = nil
		data, _ = ev.MarshalJSON()
	}
	return s.cfg.Redact(data)
}

// comments come after this long without a message, so that neither side and no
// proxy between takes the connection for dead.
const commentAfter = 15 * time.Second

// follow streams events: those of the journal behind q.After if resume is set,
// then live. The two are joined without gap or repetition, because
//
//  1. the journal is read to its end before anybody subscribes, so that a long
//     history is not read while live events pile up behind it;
//  2. then the reader subscribes, and only then the journal is read to its end
//     again: what was committed before is in the journal, what is committed
//     later comes live;
//  3. what came both ways is told apart by its seq, which rises on both.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, q store.Query, resume bool) {
	s.followUntil(ctx, w, q, resume, nil)
}

// followUntil is follow, and the stream ends behind the event of which last
// says that nothing comes after it; nil = there is none.
func (s *Server) followUntil(ctx context.Context, w http.ResponseWriter, q store.Query, resume bool, last func(drey.Event) bool) {
	f := &follower{s: s, q: q, at: q.After, last: last}
	f.q.Limit = store.MaxLimit
	if err := f.begin(ctx, resume); err != nil {
		s.writeError(w, drey.RequestID(w.Header().Get("X-Drey-Request-Id")), s.refuseControl("events", err))
		return
	}
	f.out = newLive(w)
	if f.gap != nil {
		data, _ := json.Marshal(f.gap) // two numbers
		f.out.message(f.gap.To, api.MessageGap, data)
	}
	f.out.place(f.at, "from here")
	if f.out.flush() != nil || !f.replay(ctx) { // 1
		return
	}
	sub := s.cfg.Bus.Subscribe() // 2
	defer sub.Close()
	if !f.replay(ctx) {
		return
	}
	// From here on the reader waits for others, and nobody waits for it.
	s.conns.active.add(-1)
	defer s.conns.active.add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.live, func() { cancel(context.Cause(s.live)) })()
	f.live(ctx, sub)
	// Whoever was cut by the end that follows the farewell is told all the same,
	// or it would come back and wake the next process.
	if errors.Is(context.Cause(s.live), ErrHibernating) {
		data, _ := json.Marshal(api.Hibernating{Seq: f.at}) // a number
		f.out.message(0, api.MessageHibernating, data)
		_ = f.out.flush() // it is the end in either case
	}
}

// follower is one stream of events.
type follower struct {
	s   *Server
	q   store.Query
	out *liveWriter
	at  drey.Seq // everything up to here was sent, or is not the reader's
	gap *api.Gap // what the reader has missed for good; nil = nothing

	last func(drey.Event) bool // the event that ends the stream; nil = none does
	over bool                  // it was sent
}

// begin finds the place to start from, and whether something before it is gone.
func (f *follower) begin(ctx context.Context, resume bool) error {
	head, err := f.s.cfg.Journal.Head(ctx)
	if err != nil {
		return err
	}
	switch {
	case !resume:
		f.at = head
	case f.at > head:
		// Another journal's seq: the store was replaced. None of this one's
		// events have been seen, and where they stand in the other's order
		// nobody knows.
		f.at = head
		if head > 0 {
			f.gap = &api.Gap{From: 1, To: head}
		}
	case f.at < head:
		oldest, err := f.s.cfg.Journal.Query(ctx, store.Query{After: f.at, Limit: 1})
		if err != nil {
			return err
		}
		first := oldest.AsOf + 1
		if len(oldest.Events) > 0 {
			first = oldest.Events[0].Seq
		}
		if first > f.at+1 {
			f.gap = &api.Gap{From: f.at + 1, To: first - 1}
			f.at = first - 1
		}
	}
	return nil
}

// replay sends what the journal holds behind the reader's place. It reports
// whether the reader is still there.
func (f *follower) replay(ctx context.Context) bool {
	for {
		f.q.After = f.at
		page, err := f.s.cfg.Journal.Query(ctx, f.q)
		if err != nil {
			if ctx.Err() == nil {
				f.s.cfg.Log.Warn("events-cut", "error", err)
			}
			return false // the reader resumes after the last id that it saw
		}
		for _, ev := range page.Events {
			f.send(ev)
		}
		if page.Next == 0 {
			f.at = max(f.at, page.AsOf) // nothing of the reader's lies between
		}
		if f.out.flush() != nil || f.over {
			return false
		}
		if page.Next == 0 {
			return true
		}
	}
}

// live sends what comes until the reader leaves, falls behind, or nothing can
// come any more.
func (f *follower) live(ctx context.Context, sub *events.Subscription) {
	for ctx.Err() == nil {
		quiet, cancel := context.WithDeadline(ctx, f.out.last.Add(commentAfter))
		err := f.untilQuiet(quiet, sub)
		cancel()
		switch {
		case errors.Is(err, events.ErrOverflow):
			data, _ := json.Marshal(api.Overflow{Seq: f.at}) // a number
			f.out.message(0, api.MessageOverflow, data)
			_ = f.out.flush() // it is the end in either case
			return
		case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
			return
		case time.Since(f.out.last) >= commentAfter:
			f.out.place(f.at, "still here")
			if f.out.flush() != nil {
				return
			}
		}
	}
}

// untilQuiet sends what comes until ctx ends, and returns why it stopped.
func (f *follower) untilQuiet(ctx context.Context, sub *events.Subscription) error {
	for {
		ev, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if ev.Seq != 0 && ev.Seq <= f.at { // 3
			continue
		}
		if f.wants(ev) {
			f.send(ev)
			if err := f.out.flush(); err != nil {
				return err
			}
			if f.over {
				return io.EOF
			}
		}
		f.at = max(f.at, ev.Seq)
	}
}

func (f *follower) send(ev drey.Event) {
	f.out.message(ev.Seq, ev.Name, f.s.eventJSON(ev))
	f.over = f.over || f.last != nil && f.last(ev)
	f.at = max(f.at, ev.Seq)
}

// wants is the journal's filter, for events that come live.
func (f *follower) wants(ev drey.Event) bool {
	return (f.q.Machine == "" || ev.Machine == f.q.Machine) &&
		(f.q.ID == "" || ev.ID == f.q.ID) &&
		(f.q.RequestID == "" || ev.RequestID == f.q.RequestID) &&
		store.Glob(f.q.Event, ev.Name)
}
