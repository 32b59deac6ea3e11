package server

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
)

// visitors remembers who came last to the TCP door without bringing work: when
// the daemon is woken again and again for nothing, that is who.
type visitors struct{ last atomic.Pointer[string] }

func (v *visitors) note(at time.Time, who, method, path, agent string) {
	if host, _, err := net.SplitHostPort(who); err == nil {
		who = host
	}
	text := fmt.Sprintf("%s from %s at %s", clip(method+" "+path), who, drey.FormatTime(at))
	if agent != "" {
		text += ", " + clip(agent)
	}
	v.last.Store(&text)
}

// Visitor says who came last to the TCP door without work, in words; "" if
// nobody has.
func (s *Server) Visitor() string {
	if text := s.visitors.last.Load(); text != nil {
		return *text
	}
	return ""
}
