package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/tidwall/sjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/store"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// answer is a body of 200.
type answer[T any] struct {
	Body T
}

// nothing is the input of an operation without parameters.
type nothing struct{}

// Paging are the parameters of every list. huma reads embedded structs only
// where their name is exported.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many items a page has at most"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before"`
}

func operation(method, path, id, summary string) huma.Operation {
	return huma.Operation{Method: method, Path: api.Prefix + path, OperationID: id, Summary: summary, SkipValidateBody: true}
}

// routes are the operations of the control API.
func (s *Server) routes(a huma.API) {
	huma.Register(a, operation(http.MethodGet, "/status", "status", "The daemon in one look"), s.getStatus)
	s.providerRoutes(a)
	s.whyRoutes(a)
	s.lifecycleRoutes(a)
	s.operationRoutes(a)
	s.budgetRoutes(a)
	huma.Register(a, operation(http.MethodGet, "/requests", "requests", "Requests that have ended, newest first"), s.getRequests)
	huma.Register(a, operation(http.MethodGet, "/requests/{id}", "request", "One request with its events"), s.getRequest)
	s.captureRoutes(a)
	huma.Register(a, operation(http.MethodGet, "/config", "config", "The configuration in force"), s.getConfig)
	huma.Register(a, operation(http.MethodPost, "/config/reload", "config-reload", "Read the configuration again"), s.reload)
	huma.Register(a, eventsOperation(a), s.getEvents)
}

func (s *Server) getStatus(ctx context.Context, _ *nothing) (*answer[api.Status], error) {
	st, err := s.cfg.Daemon.Status(ctx)
	if err != nil {
		return nil, s.refuseControl("status", err)
	}
	return &answer[api.Status]{st}, nil
}

func (s *Server) getConfig(ctx context.Context, _ *nothing) (*answer[api.Config], error) {
	c, err := s.cfg.Daemon.Config(ctx)
	if err != nil {
		return nil, s.refuseControl("config", err)
	}
	return &answer[api.Config]{c}, nil
}

func (s *Server) reload(ctx context.Context, _ *nothing) (*answer[api.Reload], error) {
	// A client that hangs up must not leave a reload half told: it goes on.
	r, err := s.cfg.Daemon.Reload(context.WithoutCancel(ctx))
	if err != nil {
		return nil, s.refuseControl("reload", err)
	}
	return &answer[api.Reload]{r}, nil
}

// requestsInput are the filters of GET /requests.
type requestsInput struct {
	Paging
	Profile  string `query:"profile" doc:"only this profile's"`
	Provider string `query:"provider" doc:"only those that this provider served"`
	Outcome  string `query:"outcome" enum:"ok,cancel,failed,failed_midstream,refused" doc:"only those that ended so"`
	Since    string `query:"since" doc:"only those that came at this time (RFC 3339) or within this duration (2h), and later"`
}

func (s *Server) getRequests(ctx context.Context, in *requestsInput) (*answer[api.Requests], error) {
	since, err := sinceTime(in.Since, time.Now())
	if err != nil {
		return nil, invalid("query.since", err.Error())
	}
	head, err := s.cfg.Journal.Head(ctx)
	if err != nil {
		return nil, s.refuseControl("requests", err)
	}
	page, err := s.cfg.Rows.Requests(ctx, store.RequestQuery{
		Before: in.Cursor, Profile: in.Profile, Provider: in.Provider, Outcome: in.Outcome, Since: since, Limit: in.Limit,
	})
	switch {
	case errors.Is(err, store.ErrCursor):
		return nil, invalid("query.cursor", "not a cursor of this list")
	case err != nil:
		return nil, s.refuseControl("requests", err)
	}
	out := api.Requests{Requests: make([]json.RawMessage, 0, len(page.Rows)), Page: api.Page{NextCursor: page.Next, AsOfSeq: head}}
	for _, r := range page.Rows {
		// The store must not see its own bytes changed.
		row, err := sjson.DeleteBytes(slices.Clone(r.Row), "events")
		if err != nil {
			return nil, s.refuseControl("requests", err)
		}
		out.Requests = append(out.Requests, row)
	}
	return &answer[api.Requests]{out}, nil
}

// requestInput names one request.
type requestInput struct {
	ID string `path:"id" maxLength:"64" example:"req_0a1b2c3d4e5f6a7b8c9d0e1f" doc:"the request's id, as in X-Drey-Request-Id"`
}

func (s *Server) getRequest(ctx context.Context, in *requestInput) (*answer[json.RawMessage], error) {
	row, err := s.row(ctx, in.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, noRequest(in.ID)
	case err != nil:
		return nil, s.refuseControl("request", err)
	}
	return &answer[json.RawMessage]{row.Row}, nil
}

// row reads one request's row.
func (s *Server) row(ctx context.Context, id string) (store.RequestRow, error) {
	return ended(ctx, s.cfg.Rows, s.cfg.Rows.Request, id)
}

// ended finds what is kept of a request. It is written a moment after the
// request has ended, and who asks by an id has often just got the answer: what
// is not there is looked for once more when all that waits has been written.
func ended[T any](ctx context.Context, rows Rows, find func(context.Context, drey.RequestID) (T, error), id string) (T, error) {
	found, err := find(ctx, drey.RequestID(id))
	if !errors.Is(err, store.ErrNotFound) {
		return found, err
	}
	if err := rows.Flush(ctx); err != nil {
		return found, err
	}
	return find(ctx, drey.RequestID(id))
}

// noRequest is the refusal of an id that no ended request has.
func noRequest(id string) error {
	return &statusError{http.StatusNotFound, api.Error{
		Code: api.CodeNotFound, Message: "there is no request " + clip(id),
		Hint: "a request is there once it has ended; `drey requests` lists them",
	}}
}

// sinceTime reads a time, or a duration before now.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := drey.ParseDuration(text); err == nil {
		return now.Add(-d.D()), nil
	}
	t, err := drey.ParseTime(text)
	if err != nil {
		return t, errors.New("neither a time (RFC 3339) nor a duration like 2h or 7d")
	}
	return t, nil
}

// invalid is the refusal of one parameter.
func invalid(path, message string) error {
	return &statusError{http.StatusBadRequest, api.Error{
		Code: api.CodeInvalidArgument, Message: path + ": " + message, Fields: []api.Field{{Path: path, Message: message}},
	}}
}
