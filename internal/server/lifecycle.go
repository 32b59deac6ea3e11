package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dreyhq/drey/internal/api"
)

// A Lifecycle is asked how the daemon sleeps, and told to. Calls come
// concurrently. Errors are as those of Daemon.
type Lifecycle interface {
	Lifecycle(ctx context.Context) (api.Lifecycle, error)
	// Wake returns when the state on disk is WAKE.
	Wake(ctx context.Context, reason string) (api.Lifecycle, error)
	// Sleep puts the daemon to SLEEP and returns when its sleep cycle has ended.
	Sleep(ctx context.Context, ask api.Sleep) (api.Slept, error)
	// Hibernate is Sleep, and then the process ends. It returns at the point of
	// no return.
	Hibernate(ctx context.Context) (api.Slept, error)
	// LiftQuarantine lets the sleep cycle run again.
	LiftQuarantine(ctx context.Context) (api.Lifted, error)
}

// lifecycleRoutes are the operations on the lifecycle (the lifecycle contract
// §9).
func (s *Server) lifecycleRoutes(a huma.API) {
	if s.cfg.Lifecycle == nil {
		return
	}
	l := s.cfg.Lifecycle
	act := func(method, path, id, summary string) huma.Operation {
		op := operation(method, "/lifecycle/"+path, id, summary)
		op.SkipValidateBody = false
		op.Errors = []int{http.StatusBadRequest, http.StatusConflict}
		return op
	}
	huma.Register(a, operation(http.MethodGet, "/lifecycle", "lifecycle", "How the daemon sleeps"),
		func(ctx context.Context, _ *nothing) (*answer[api.Lifecycle], error) {
			v, err := l.Lifecycle(ctx)
			return answered(s, "lifecycle", v, err)
		})
	huma.Register(a, act(http.MethodPost, "wake", "lifecycle-wake", "Wake the daemon; answers when it is awake"),
		func(ctx context.Context, in *optional[api.Wake]) (*answer[api.Lifecycle], error) {
			v, err := l.Wake(ctx, in.get().Reason)
			return answered(s, "lifecycle wake", v, err)
		})
	huma.Register(a, act(http.MethodPost, "sleep", "lifecycle-sleep", "Put the daemon to sleep; answers when its sleep cycle has ended"),
		func(ctx context.Context, in *optional[api.Sleep]) (*answer[api.Slept], error) {
			v, err := l.Sleep(ctx, in.get())
			return answered(s, "lifecycle sleep", v, err)
		})
	huma.Register(a, act(http.MethodPost, "hibernate", "lifecycle-hibernate", "Put the daemon to sleep and end its process; the next request starts it"),
		func(ctx context.Context, _ *nothing) (*answer[api.Slept], error) {
			// The doors wait for whoever is under way, and this one waits for
			// the doors.
			s.conns.active.add(-1)
			defer s.conns.active.add(1)
			v, err := l.Hibernate(ctx)
			return answered(s, "lifecycle hibernate", v, err)
		})
	huma.Register(a, act(http.MethodDelete, "quarantine", "lifecycle-quarantine-reset", "Let the sleep cycle run again"),
		func(ctx context.Context, _ *nothing) (*answer[api.Lifted], error) {
			v, err := l.LiftQuarantine(ctx)
			return answered(s, "lifecycle quarantine reset", v, err)
		})
}

// optional is the input of an operation whose body may be left out.
type optional[T any] struct {
	Body *T
}

// get returns the body, or the zero value where it was left out.
func (o *optional[T]) get() (v T) {
	if o.Body != nil {
		v = *o.Body
	}
	return v
}

func answered[T any](s *Server, op string, v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, s.refuseControl(op, err)
	}
	return &answer[T]{v}, nil
}
