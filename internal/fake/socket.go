package fake

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// ServeHTTP answers one request over a socket. A writer that cannot be
// hijacked loses its connection by http.ErrAbortHandler instead.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !u.begin() {
		panic(http.ErrAbortHandler)
	}
	defer u.wg.Done()
	u.serve(r.Context(), &socket{ResponseWriter: w, rc: http.NewResponseController(w)}, r)
}

type socket struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (s *socket) Flush() error { return s.rc.Flush() }

func (s *socket) lose(how Loss) {
	if how == Clean {
		return // the handler's return ends the body properly
	}
	conn, _, err := s.rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && how != FIN {
		_ = tcp.SetLinger(0) // without it this is a FIN, which is no less a loss
	}
	_ = conn.Close()
}

// Server is an Upstream on a real loopback port.
type Server struct {
	*Upstream
	addr string

	mu   sync.Mutex
	http *http.Server // nil while the port is closed
	done chan struct{}
}

// Listen starts a server with a script on a free loopback port.
func Listen(s Script) (*Server, error) { return New(Options{Script: s}).Listen() }

// Listen opens a free loopback port for u. Close the server, not u.
func (u *Upstream) Listen() (*Server, error) {
	s := &Server{Upstream: u, addr: "127.0.0.1:0"}
	return s, s.up()
}

// URL returns the server's address without a trailing slash, with no path.
func (s *Server) URL() string { return "http://" + s.addr }

// Outage is that of Upstream; Refused closes the port, and the connections
// that stand, until Restore.
func (s *Server) Outage(b Behaviour) {
	s.Upstream.Outage(b)
	if b.refused {
		s.down()
	}
}

// Restore ends an outage and opens the port again if it was closed. The error
// is that of opening it.
func (s *Server) Restore() error {
	s.Upstream.Restore()
	return s.up()
}

// Close closes the port and ends every request in progress.
func (s *Server) Close() {
	s.down()
	s.Upstream.Close()
}

func (s *Server) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	if s.done == nil { // the first time; from then on the port stays
		s.addr = l.Addr().String()
	}
	s.http = &http.Server{Handler: s.Upstream, ErrorLog: log.New(io.Discard, "", 0)}
	s.done = make(chan struct{})
	go func(srv *http.Server, done chan struct{}) {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the listener is ours alone, so this is a bug
		}
	}(s.http, s.done)
	return nil
}

func (s *Server) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return
	}
	_ = s.http.Close() // it closes all it can, whatever it returns
	<-s.done
	s.http = nil
}
