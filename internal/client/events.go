package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// EventQuery selects events.
type EventQuery struct {
	After     *drey.Seq // exclusive; nil = live: from now on, a page: from the beginning
	Event     string    // a glob over the event's name
	Machine   string
	ID        string
	RequestID drey.RequestID

	// For pages alone.
	Limit  int  // 0 = 100, at most 1000
	Newest bool // the last events in place of the first

	// Lost is called when the live stream has broken and is taken up again,
	// once per break; nil = nobody wants to know.
	Lost func(err error)
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	set(v, "event", q.Event)
	set(v, "machine", q.Machine)
	set(v, "id", q.ID)
	set(v, "request_id", string(q.RequestID))
	return v
}

// EventPage returns one page of the journal.
func (c *Client) EventPage(ctx context.Context, q EventQuery) (api.Events, error) {
	v := q.values()
	if q.After != nil {
		v.Set("after", seqText(*q.After))
	}
	setLimit(v, q.Limit)
	if q.Newest {
		v.Set("newest", "true")
	}
	var page api.Events
	return page, c.get(ctx, "/events", v, &page)
}

// Message is one message of the live stream.
type Message struct {
	Event drey.Event // what happened; zero where another field says what it is
	Gap   *api.Gap   // events that were missed for good
	// Hibernating says that the daemon's process ends until somebody asks it
	// for work. It is the last message of the stream: coming back at once would
	// wake it for ever.
	Hibernating bool
	Data        json.RawMessage // as it came; the reader's to keep
}

// backoff is how long Events waits before it connects again: it doubles up to
// the longest, and begins anew once a message has come.
var backoff = struct{ first, longest time.Duration }{100 * time.Millisecond, 5 * time.Second}

// Events returns the live stream of events. It survives the daemon: when the
// connection breaks, or the reader falls behind, it connects again and goes on
// behind the last event that it saw, so that nothing is missed and nothing
// comes twice. What the journal no longer holds is told by a Message with a
// Gap. Telemetry has no place in the journal, and what of it falls into a break
// is not repeated.
//
// The stream ends when the daemon goes into HIBERNATION, and with an error: the
// connection failed, the daemon refuses the query, or ctx has ended. Breaking
// out of the loop ends it too.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		f := follower{c: c, q: q, wait: backoff.first, yield: yield}
		if q.After != nil {
			f.place = seqText(*q.After)
		}
		for {
			err := f.connect(ctx)
			if errors.Is(err, errDone) {
				return
			}
			if ctx.Err() != nil {
				yield(Message{}, wrap("GET /events", ctx.Err()))
				return
			}
			if e, ok := errors.AsType[*drey.Error](err); !f.welcome || ok && e.Class == drey.Caller {
				yield(Message{}, wrap("GET /events", err))
				return
			}
			if q.Lost != nil && !f.told {
				f.told = true
				q.Lost(wrap("GET /events", err))
			}
			// Full jitter keeps many readers from coming back at once.
			t := time.NewTimer(time.Duration(rand.Int64N(int64(f.wait)) + 1))
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
			f.wait = min(2*f.wait, backoff.longest)
		}
	}
}

// errDone says that the reader wants no more.
var errDone = errors.New("done")

// follower is one live stream over all its connections.
type follower struct {
	c       *Client
	q       EventQuery
	yield   func(Message, error) bool
	place   string // the seq of the last message; "" = from now on
	welcome bool   // some connection was accepted
	told    bool   // of the break that lasts
	wait    time.Duration
}

// connect reads one connection to its end, which it returns.
func (f *follower) connect(ctx context.Context) error {
	v := f.q.values()
	header := http.Header{"Accept": {"text/event-stream"}}
	if f.place != "" {
		header.Set("Last-Event-ID", f.place)
	}
	resp, err := f.c.send(ctx, http.MethodGet, "/events", v, header, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f.welcome = true
	frames := sse.NewReader(resp.Body, 0)
	for {
		frame, err := frames.Next()
		if err != nil {
			return err
		}
		if frame.Partial {
			return io.ErrUnexpectedEOF // what is cut comes again, whole
		}
		f.wait, f.told = backoff.first, false
		if frame.Data != nil && !f.message(frame) {
			return errDone
		}
		if frame.ID != "" {
			f.place = frame.ID
		}
		if frame.Name == api.MessageOverflow {
			return fmt.Errorf("the reader fell behind after seq %s", f.place)
		}
	}
}

// message hands a frame to the reader. It reports whether the reader goes on.
func (f *follower) message(frame sse.Event) bool {
	m := Message{Data: append(json.RawMessage(nil), frame.Data...)}
	var err error
	switch frame.Name {
	case api.MessageOverflow:
		return true // the connection ends, and the next one goes on from there
	case api.MessageGap:
		m.Gap = &api.Gap{}
		err = json.Unmarshal(m.Data, m.Gap)
	case api.MessageHibernating:
		m.Hibernating = true
		f.yield(m, nil)
		return false
	default:
		err = json.Unmarshal(m.Data, &m.Event)
	}
	if err != nil { // of a newer daemon, perhaps: whoever shows it has the data
		m.Gap, m.Event = nil, drey.Event{Name: frame.Name}
	}
	return f.yield(m, nil)
}

func seqText(s drey.Seq) string { return strconv.FormatUint(uint64(s), 10) }
