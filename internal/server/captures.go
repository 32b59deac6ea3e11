package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/store"
)

// Captures is what the control API reads of the requests that were captured.
type Captures interface {
	Captures(ctx context.Context, q store.CaptureQuery) (store.CapturePage, error)
	Capture(ctx context.Context, id drey.RequestID) (store.Capture, error)
	// Capturing is logs.capture as it is in force: off, errors or all.
	Capturing() string
}

// captureRoutes are the operations on captured requests (the gateway contract
// §15).
func (s *Server) captureRoutes(a huma.API) {
	if s.cfg.Captures == nil {
		return
	}
	huma.Register(a, operation(http.MethodGet, "/captures", "captures", "Requests that were captured, newest first"), s.getCaptures)
	one := operation(http.MethodGet, "/captures/{id}", "capture", "One request as it came, with the raw answers of its providers")
	one.Errors = []int{http.StatusBadRequest, http.StatusNotFound}
	huma.Register(a, one, s.getCapture)
	again := operation(http.MethodPost, "/requests/{id}/replay", "request-replay", "Send a captured request again, and see both answers side by side")
	again.SkipValidateBody = false
	again.Description = "Answers when the provider has, which may take minutes; hanging up ends it. " +
		"Nobody else gets the answer, and it counts for nothing in the providers' health."
	again.Errors = []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests}
	huma.Register(a, again, s.replay)
}

func (s *Server) getCaptures(ctx context.Context, in *Paging) (*answer[api.Captures], error) {
	head, err := s.cfg.Journal.Head(ctx)
	if err != nil {
		return nil, s.refuseControl("captures", err)
	}
	page, err := s.cfg.Captures.Captures(ctx, store.CaptureQuery{Before: in.Cursor, Limit: in.Limit})
	switch {
	case errors.Is(err, store.ErrCursor):
		return nil, invalid("query.cursor", "not a cursor of this list")
	case err != nil:
		return nil, s.refuseControl("captures", err)
	}
	out := api.Captures{Captures: make([]api.CaptureEntry, 0, len(page.Captures)), Page: api.Page{NextCursor: page.Next, AsOfSeq: head}}
	for _, c := range page.Captures {
		out.Captures = append(out.Captures, api.CaptureEntry{
			ID: c.ID, At: drey.FormatTime(c.At), Profile: c.Profile, Provider: c.Provider, Outcome: c.Outcome, Bytes: c.Bytes,
		})
	}
	return &answer[api.Captures]{out}, nil
}

func (s *Server) getCapture(ctx context.Context, in *requestInput) (*answer[api.Capture], error) {
	c, err := s.capture(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &answer[api.Capture]{*c}, nil
}

// replayInput names a request and says how it is sent again.
type replayInput struct {
	ID   string `path:"id" maxLength:"64" example:"req_0a1b2c3d4e5f6a7b8c9d0e1f" doc:"the captured request's id"`
	Body *api.ReplayAsk
}

func (s *Server) replay(ctx context.Context, in *replayInput) (*answer[api.Replay], error) {
	c, err := s.capture(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ask := gateway.ReplayAsk{ID: newRequestID()}
	if b := in.Body; b != nil {
		ask.Provider, ask.Profile, ask.Paid = b.Provider, b.Profile, b.Yes
	}
	out, err := s.cfg.Gateway.Replay(ctx, c, ask)
	if err != nil {
		return nil, s.refuseControl("replay", err)
	}
	return &answer[api.Replay]{*out}, nil
}

// capture reads a capture, or says why there is none.
func (s *Server) capture(ctx context.Context, id string) (*api.Capture, error) {
	c, err := ended(ctx, s.cfg.Rows, s.cfg.Captures.Capture, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, s.noCapture(ctx, id)
	}
	var out api.Capture
	if err == nil {
		err = json.Unmarshal(c.Whole, &out)
	}
	if err != nil {
		return nil, s.refuseControl("capture", err)
	}
	return &out, nil
}

// noCapture is the refusal of an id of which nothing was captured.
func (s *Server) noCapture(ctx context.Context, id string) error {
	row, err := s.row(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return noRequest(id)
	case err != nil:
		return s.refuseControl("capture", err)
	}
	e := api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("the request %s was not captured", clip(id))}
	var said struct {
		Captured bool   `json:"captured"`
		ReplayOf string `json:"replay_of"`
	}
	_ = json.Unmarshal(row.Row, &said) // a row that cannot be read says nothing
	switch mode := s.cfg.Captures.Capturing(); {
	case said.Captured:
		e.Message = fmt.Sprintf("what was captured of the request %s is gone", clip(id))
		e.Hint = "the oldest captures are removed beyond logs.capture_max_mb, and all after journal.keep; one that has just ended is there in a second"
	case said.ReplayOf != "":
		e.Hint = "it is itself a replay; send " + clip(said.ReplayOf) + " again instead"
	case mode == "off":
		e.Hint = "set logs.capture: errors or all; requests are captured from then on"
	case mode == "errors":
		e.Hint = "logs.capture is errors, and it ended well or came before that; set logs.capture: all to keep every request"
	default:
		e.Hint = "it came before logs.capture was set, or while too many captures waited to be written"
	}
	return &statusError{http.StatusNotFound, e}
}
