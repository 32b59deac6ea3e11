// Package server holds the doors of the house: the agents' API in the wires
// that agents speak, and the control API over loopback and over a socket that
// only its owner may use. It decides who may come in and reads what they send;
// what is asked is answered by the floors below.
package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/store"
)

// Journal is what the control API reads of the journal.
type Journal interface {
	Query(ctx context.Context, q store.Query) (store.Page, error)
	Head(ctx context.Context) (drey.Seq, error)
}

// Rows is what the control API reads of the requests that have ended.
type Rows interface {
	Requests(ctx context.Context, q store.RequestQuery) (store.RequestPage, error)
	Request(ctx context.Context, id drey.RequestID) (store.RequestRow, error)
	// Flush writes the rows that wait for it.
	Flush(ctx context.Context) error
}

// Bus is the way of events: refused keys go out on it, live readers listen to
// it.
type Bus interface {
	Emit(ev drey.Event)
	Subscribe() *events.Subscription
}

// Daemon is what the control API asks of the daemon. Calls come concurrently.
// An error that is an *api.Error goes out as it is; of a *drey.Error the code,
// the text and the hint do.
type Daemon interface {
	Status(ctx context.Context) (api.Status, error)
	Config(ctx context.Context) (api.Config, error)
	// Reload reads the configuration again. It returns when the new one is in
	// force, or with an error when nothing has changed.
	Reload(ctx context.Context) (api.Reload, error)
}

// Config is what a server works with. What may be nil says
// so; Metrics, Redact and Log may be, too. The rest is required.
type Config struct {
	Version string
	Gateway *gateway.Gateway
	Daemon  Daemon
	Journal Journal
	Rows    Rows
	Bus     Bus
	Healer  Healer // nil = nobody keeps the providers' health, and nothing can be done to one
	// Captures are shown, and sent again; nil = nothing is captured.
	Captures Captures
	// Lifecycle is asked and told about the daemon's sleep; nil = it does not sleep.
	Lifecycle Lifecycle
	// Operations are asked and told about operations; nil = there are none.
	Operations Operations
	Budgets    Budgets // nil = nobody adds up what is spent
	// Begin is called when work arrives that keeps the daemon awake (the
	// lifecycle contract §6.1), and what it returns when that has ended: a model
	// call, or a change through the control API. nil = nobody wants to know.
	Begin   func() (end func())
	Metrics http.Handler // answers /metrics; nil = there is none
	// Redact takes secrets out of what goes out as JSON.
	Redact func([]byte) []byte
	Log    *slog.Logger
	Doors  Doors
	// Idle is how long a connection without a request is kept; 0 = 3 min,
	// since agents pause between turns and keep theirs.
	Idle time.Duration
}

// Doors are the rules of who may come in, and with how much. A reload replaces
// them as a whole.
type Doors struct {
	Bound        []string // addresses that are listened on, with or without port
	AllowedHosts []string // Host headers that are ours besides
	Keys         []Key    // none = open: only right where Bound is loopback
	MaxBody      int64    // bytes of a request's body, unpacked; 0 = 64 MiB
	MaxStreams   int      // requests at once; 0 = 4096
}

// The defaults of Doors. Source: the gateway contract §1, listen.
const (
	defaultMaxBody    = 64 << 20
	defaultMaxStreams = 4096
)

// ErrDraining is the cause with which requests are cancelled that did not end
// in time when the daemon stops. The gateway tells it in-band.
var ErrDraining = &drey.Error{
	Class: drey.Cancel, Code: "draining", Op: "serve", Hint: "send the request again in a moment",
	Err: errors.New("drey is stopping"),
}

// Server serves the doors. All methods may be called concurrently.
type Server struct {
	cfg     Config
	started time.Time
	doors   atomic.Pointer[doors]
	// control is the control API, behind whatever guards it. It is made when it
	// is first asked for: describing every route takes milliseconds, and at a
	// start somebody may be waiting for an answer of the agents' API.
	control func() *http.ServeMux
	refused refusals

	gate     gate // requests of agents that are under way
	handlers gate // whatever runs, behind any door
	conns    connections
	visitors visitors

	pausing   sync.Mutex // guards listeners, and lets one pause at a time
	listeners []*pausable

	live  context.Context // of live events; ends at Farewell
	leave context.CancelCauseFunc

	agents, socket entrance
}

// entrance is what listens: TCP for the agents' API and the control API, Unix
// sockets for the control API alone.
type entrance struct {
	*http.Server
	cancel context.CancelCauseFunc // ends the context of all its requests
}

// doors are Doors in the form in which they are asked.
type doors struct {
	*guard
	maxBody    int64
	maxStreams int
}

// New returns a server that has no listener yet.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Redact == nil {
		cfg.Redact = func(b []byte) []byte { return b }
	}
	if cfg.Begin == nil {
		cfg.Begin = func() func() { return func() {} }
	}
	s := &Server{cfg: cfg, started: time.Now()}
	s.live, s.leave = context.WithCancelCause(context.Background())
	s.SetDoors(cfg.Doors)
	s.control = sync.OnceValue(s.newControl)
	s.agents = s.newEntrance(s.serveTCP)
	s.socket = s.newEntrance(s.serveSocket)
	s.socket.ConnContext = withPeer
	return s
}

// SetDoors replaces the rules. Requests that are in keep those under which they
// came.
func (s *Server) SetDoors(d Doors) {
	in := &doors{guard: newGuard(d.Bound, d.AllowedHosts, d.Keys), maxBody: d.MaxBody, maxStreams: d.MaxStreams}
	if in.maxBody <= 0 {
		in.maxBody = defaultMaxBody
	}
	if in.maxStreams <= 0 {
		in.maxStreams = defaultMaxStreams
	}
	s.doors.Store(in)
}

// longestAnswer is longer than any answer may take (timeouts.total is 24 h at
// most). As the server's write timeout it cuts nothing, and with each request
// it takes back the shorter deadline that the answer before has left on the
// connection.
const longestAnswer = 25 * time.Hour

// newEntrance returns an entrance with the limits that keep slow clients from
// holding connections. The write timeout is none to speak of, because answers are streams:
// the gateway and the live events watch each write of theirs. The deadline of a
// request's body is set where it is read; http.Server's own ReadTimeout would
// cut a handler that works longer than that.
func (s *Server) newEntrance(handle http.HandlerFunc) entrance {
	base, cancel := context.WithCancelCause(context.Background())
	return entrance{&http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ok, _ := s.handlers.enter(math.MaxInt); !ok {
				panic(http.ErrAbortHandler) // read off its connection just as that was closed
			}
			defer s.handlers.leave()
			handle(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      longestAnswer,
		IdleTimeout:       cmp.Or(s.cfg.Idle, 3*time.Minute),
		ConnState:         s.conns.watch,
		MaxHeaderBytes:    256 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}, cancel}
}
