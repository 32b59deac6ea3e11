package gateway

import (
	"net/http"
	"sync"
	"time"

	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// gate holds back the beginning of an answer, so that another provider may
// begin anew if this one breaks. The exchange's goroutine fills it; it is opened
// by that one when there is enough, or by a timer when the time is over, since
// a stream that trickles may give no other occasion.
type gate struct {
	sink    *sink
	arrived time.Time // the request

	mu      sync.Mutex
	pending []byte
	buf     *[]byte     // of pending; nil while there is none
	header  http.Header // the way, for the commit
	comment []byte
	timer   *time.Timer // nil = no content has come
	open    bool
	shut    bool // the attempt is over: the timer opens nothing any more
	err     error
	after   time.Duration // from the request's arrival to the commit
	next    int           // as in step, of what is pending
}

// openLocked commits what is pending.
func (g *gate) openLocked() {
	g.open = true
	g.after = time.Since(g.arrived)
	g.err = g.sink.commit(g.header, g.comment, g.pending)
	putBuffer(g.buf, g.pending)
	g.pending, g.buf = nil, nil
}

// addLocked holds more back.
func (g *gate) addLocked(p []byte) {
	if g.buf == nil {
		g.buf, g.pending = takeBuffer()
	}
	g.pending = append(g.pending, p...)
}

// ring is the timer's.
func (g *gate) ring() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open && !g.shut {
		g.openLocked()
	}
}

// hold is pump for a profile that rescues: content is held back for a while
// before it is the commit.
func (x *exchange) hold(a *attempt, st *upstream.Stream, relay wire.Relay) result {
	if x.rescue.resuming() {
		return x.readRest(a, st, relay)
	}
	limit := x.chain.Rescue
	g := &gate{sink: x.sink, arrived: x.req.At}
	content := false // some of it was content, if not all of that is pending yet
	speaking, committed := false, false
	before := 0 // frames of content that the caller does not get
	// seen takes note of a commit, whoever made it.
	seen := func() error {
		committed = true
		x.rec.FirstByte, x.next = g.after, g.next
		x.forget()
		if g.err == nil {
			x.tookOver(a)
		}
		return g.err
	}
	res := x.read(a, st, relay, func(s step) error {
		content, speaking = content || s.content, speaking || s.text
		if committed {
			x.next = s.next
			return x.sink.frames(s.out)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.open { // by the timer
			if err := seen(); err != nil {
				return err
			}
			x.next = s.next
			return x.sink.frames(s.out)
		}
		if s.failing { // not a word of it has gone out, and none shall
			g.shut = true
			return nil
		}
		g.addLocked(s.out)
		g.next = s.next
		switch shown := content && len(s.out) > 0; { // reasoning that the caller does not get is no content to it
		case g.header == nil && (shown || s.done && speaking):
			way := x.way(a.p.ID)
			g.header, g.comment = x.headers(a, way), x.comment(a, way)
			x.spoke()
		case !shown && g.header == nil:
			before = s.pieces
			return nil
		}
		switch {
		case s.done && !speaking: // it is an empty answer, whatever it thought
		case s.done, limit.HoldTime == 0, s.pieces-before >= limit.HoldTokens:
			g.openLocked()
			return seen()
		case g.timer == nil:
			g.timer = time.AfterFunc(limit.HoldTime, g.ring)
		}
		return nil
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	if g.timer != nil {
		g.timer.Stop()
	}
	if g.open && !committed && seen() != nil && res.ok {
		res.ok = false
		res = x.cancelled(res)
	}
	res.committed = committed
	if res.ok && !committed {
		pending := g.pending
		res.empty = func() error { return x.commit(a, pending) }
	}
	return res
}
