package server

import (
	"cmp"
	"sync"
	"time"

	"github.com/dreyhq/drey"
)

// The doors that a key is refused at, as the event names them.
const (
	doorAgents  = "agents"
	doorControl = "control"
	doorMetrics = "metrics"
)

func missingOr(given bool, otherwise string) string {
	if !given {
		return "missing"
	}
	return otherwise
}

func keyMessage(given bool) string {
	if !given {
		return "this drey asks for a key; send it as Authorization: Bearer KEY or x-api-key: KEY"
	}
	return "this key is not one of drey's; compare it with the secret under keys in the configuration"
}

// refusals holds back events of keys that are refused. An agent with a wrong
// key tries again and again, and the journal must not be filled from outside.
type refusals struct {
	mu   sync.Mutex
	next time.Time // when the next event may be told
	held int       // refusals since the last event
}

// refusalPause is the least time between two events.
const refusalPause = time.Second

// keyRefused tells of a refused key, with the number of refusals since the last
// time it did. name is the key's, where one was recognised.
func (s *Server) keyRefused(at time.Time, door, name, reason string, id drey.RequestID, remote string) {
	f := &s.refused
	f.mu.Lock()
	f.held++
	n, now := f.held, !at.Before(f.next)
	if now {
		f.next, f.held = at.Add(refusalPause), 0
	}
	f.mu.Unlock()
	if !now {
		return
	}
	s.cfg.Bus.Emit(drey.Event{
		At: at, Name: "key-refused", Level: drey.Warn, Machine: "key", ID: cmp.Or(name, "unknown"), RequestID: id,
		Fields: []drey.Field{
			drey.F("door", door), drey.F("reason", reason), drey.F("remote", remote), drey.F("count", n),
		},
	})
}
