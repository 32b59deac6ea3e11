package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

// maxControlBody bounds what the control API reads of a body.
const maxControlBody = 1 << 20

// newControl returns the control API without its guards, which differ from door
// to door.
func (s *Server) newControl() *http.ServeMux {
	mux := http.NewServeMux()
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	humaAPI := humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "drey control API", Version: "1",
				Description: "What the daemon is doing, live and in pages, and how to tell it something. " +
					"Over the control socket it asks for no key; over TCP it asks for one with admin: true as soon as any keys are set.",
			},
			Components: &huma.Components{Schemas: registry},
		},
		Formats:       map[string]huma.Format{"application/json": s.format(), "json": s.format()},
		DefaultFormat: "application/json",
		// A filter with a typing error would silently select everything.
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{stampError},
	})
	s.routes(humaAPI)
	spec, err := json.MarshalIndent(humaAPI.OpenAPI(), "", "  ")
	if err != nil {
		panic(err) // the document is made of our own types
	}
	mux.HandleFunc("GET "+api.Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(spec)))
		_, _ = w.Write(spec)
	})
	return mux
}

// format writes every body that huma sends, errors too, without secrets.
func (s *Server) format() huma.Format {
	return huma.Format{Unmarshal: json.Unmarshal, Marshal: func(w io.Writer, v any) error {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		_, err := w.Write(s.cfg.Redact(b.Bytes()))
		return err
	}}
}

// controlTCP is the control API over TCP: open where there are no keys, else
// for keys with admin.
func (s *Server) controlTCP(v *visit) {
	if !v.d.open() {
		k, ok, given := v.d.keyOf(v.r.Header)
		switch {
		case !ok:
			s.keyRefused(v.at, doorControl, "", missingOr(given, "unknown"), v.id, v.r.RemoteAddr)
			controlError(v, v.id, http.StatusUnauthorized, api.Error{
				Code: api.CodeUnauthorized, Message: keyMessage(given), Hint: "the control API takes keys with admin: true; the control socket needs none",
			})
			return
		case !k.Admin:
			s.keyRefused(v.at, doorControl, k.Name, "not admin", v.id, v.r.RemoteAddr)
			controlError(v, v.id, http.StatusForbidden, api.Error{
				Code: api.CodeForbidden, Message: fmt.Sprintf("the key %q may not use the control API", k.Name),
				Hint: "use a key with admin: true, or the control socket",
			})
			return
		}
	}
	s.serveControl(v)
}

// serveSocket is the control API over the socket, for its owner alone.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	id := newRequestID()
	if err := peerRefused(r.Context()); err != nil {
		s.cfg.Log.Warn("socket-refused", "request_id", string(id), "error", err)
		controlError(w, id, http.StatusForbidden, api.Error{
			Code: api.CodeForbidden, Message: err.Error(), Hint: "run it as the user whose daemon this is",
		})
		return
	}
	v := &visit{ResponseWriter: w, r: r, id: id, path: r.URL.Path, control: true}
	defer s.mend(v)
	s.serveControl(v)
}

// serveControl finds the route. What no route takes is refused in our shape and
// not in net/http's.
func (s *Server) serveControl(v *visit) {
	w, r, id := v, v.r, v.id
	setID(w.Header(), id)
	h, pattern := s.control().Handler(r)
	if pattern == "" || path.Clean(r.URL.Path) != r.URL.Path { // the mux would redirect: to whom, with a body?
		probe := &refusalProbe{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			allow := probe.header.Get("Allow")
			w.Header().Set("Allow", allow)
			controlError(w, id, probe.status, api.Error{
				Code: api.CodeMethod, Message: fmt.Sprintf("%s takes %s, not %s", clip(r.URL.Path), allow, clip(r.Method)),
			})
			return
		}
		controlError(w, id, http.StatusNotFound, api.Error{
			Code: api.CodeNotFound, Message: "there is no " + clip(r.URL.Path), Hint: api.Prefix + "/openapi.json lists what there is",
		})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
	s.control().ServeHTTP(w, r)
	if changes(r) && v.status < 400 {
		s.cfg.Begin()() // only now it is known that it was not refused
	}
}

// changes reports whether a request of the control API is work that keeps the
// daemon awake: one that changes something, but not one that puts it to sleep
// (the lifecycle contract §6.1). A wake moves it by itself.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !strings.HasPrefix(r.URL.Path, api.Prefix+"/lifecycle/")
}

// refusalProbe takes in how net/http's mux refuses a request.
type refusalProbe struct {
	header http.Header
	status int
}

func (p *refusalProbe) Header() http.Header         { return p.header }
func (p *refusalProbe) WriteHeader(status int)      { p.status = status }
func (p *refusalProbe) Write(b []byte) (int, error) { return len(b), nil }

// statusError is an api.Error on its way through huma.
type statusError struct {
	status int
	Body   api.Error `json:"error"`
}

// Error returns the message.
func (e *statusError) Error() string { return e.Body.Message }

// GetStatus implements huma.StatusError.
func (e *statusError) GetStatus() int { return e.status }

// Schema gives errors the name that they have for clients.
func (e *statusError) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, typeOf[api.ErrorBody]())
}

func init() {
	// huma makes its own errors (validation, mostly) by this variable. It is
	// the library's one way to give them another shape.
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		e := &statusError{status: status, Body: api.Error{Message: msg}}
		if status == http.StatusUnprocessableEntity {
			e.status = http.StatusBadRequest
		}
		e.Body.Code = codeOf(e.status)
		for _, err := range errs {
			if d, ok := err.(huma.ErrorDetailer); ok {
				d := d.ErrorDetail()
				e.Body.Fields = append(e.Body.Fields, api.Field{Path: d.Location, Message: d.Message})
			} else if err != nil {
				e.Body.Message += ": " + err.Error()
			}
		}
		if len(e.Body.Fields) == 1 { // the one thing that is wrong is the message
			e.Body.Message = e.Body.Fields[0].Path + ": " + e.Body.Fields[0].Message
		}
		return e
	}
}

// stampError puts the request's id into an error as it goes out.
func stampError(ctx huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*statusError); ok {
		_, w := humago.Unwrap(ctx)
		e.Body.RequestID = w.Header().Get("X-Drey-Request-Id")
	}
	return v, nil
}

// statuses is the one place that maps a code of the control API to a status;
// contractStatuses are those of single routes, which no status alone gives. A
// code that is in neither goes by the class of its error.
var statuses = map[string]int{
	api.CodeInvalidArgument: http.StatusBadRequest,
	api.CodeConfigRejected:  http.StatusBadRequest,
	api.CodeUnauthorized:    http.StatusUnauthorized,
	api.CodeForbidden:       http.StatusForbidden,
	api.CodeNotFound:        http.StatusNotFound,
	api.CodeMethod:          http.StatusMethodNotAllowed,
	api.CodeLimitReached:    http.StatusTooManyRequests,
	api.CodeInternal:        http.StatusInternalServerError,
	api.CodeUnavailable:     http.StatusServiceUnavailable,
}

var contractStatuses = map[string]int{
	api.CodePaidGate:          http.StatusForbidden,
	api.CodeNotStarted:        http.StatusServiceUnavailable,
	api.CodeNothingToRestart:  http.StatusUnprocessableEntity,
	api.CodeRestartInProgress: http.StatusConflict,
}

func statusOf(code string) (status int, known bool) {
	if status, known = statuses[code]; !known {
		status, known = contractStatuses[code]
	}
	return status, known
}

// codeOf is the code of an error that has only a status.
func codeOf(status int) string {
	for code, st := range statuses {
		if st == status && code != api.CodeConfigRejected {
			return code
		}
	}
	if status >= 500 {
		return api.CodeInternal
	}
	return api.CodeInvalidArgument
}

// refuseControl turns an error of a floor below into what the caller is told.
// What is nobody's business but ours is logged and told as a bug.
func (s *Server) refuseControl(op string, err error) error {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		status, known := statusOf(e.Code)
		if !known {
			status = http.StatusConflict
		}
		return &statusError{status, *e}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &statusError{http.StatusServiceUnavailable, api.Error{Code: api.CodeUnavailable, Message: op + ": " + err.Error()}}
	}
	if e, ok := errors.AsType[*drey.Error](err); ok && e.Class != drey.Internal {
		status, known := statusOf(e.Code)
		switch {
		case known:
		case e.Class == drey.Caller:
			status = http.StatusConflict
		default:
			status = http.StatusServiceUnavailable
		}
		body := api.Error{Code: e.Code, Message: err.Error(), Hint: drey.HintOf(err)}
		if body.Code == "" {
			body.Code = codeOf(status)
		}
		return &statusError{status, body}
	}
	s.cfg.Log.Error("control-failed", "op", op, "error", err)
	return &statusError{http.StatusInternalServerError, api.Error{Code: api.CodeInternal, Message: op + " failed", Hint: "drey's log has the details"}}
}

func bugError() api.Error {
	return api.Error{Code: api.CodeInternal, Message: "a bug in drey", Hint: "its log has the details under this request id"}
}

// controlError answers with an error where huma is not involved.
func controlError(w http.ResponseWriter, id drey.RequestID, status int, e api.Error) {
	e.RequestID = string(id)
	body, err := json.Marshal(api.ErrorBody{Error: e})
	if err != nil {
		panic(err) // strings
	}
	h := w.Header()
	setID(h, id)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		h.Set("X-Should-Retry", "false")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// accepts reports whether a request asks for a type by name.
func accepts(r *http.Request, mediaType string) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header["Accept"], ",")), mediaType)
}
