package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/route"
)

// visit is one request at the TCP doors. It is the ResponseWriter that the
// floors below write to, so that a panic is told from an answer that has begun.
type visit struct {
	http.ResponseWriter
	r       *http.Request
	d       *doors
	id      drey.RequestID
	at      time.Time
	path    string // below /p/{profile}
	profile string // of the path; "" if it names none
	control bool   // it is for the control API, and so are its errors
	begun   bool   // a status has gone out
	status  int    // that status
}

// Unwrap lets http.ResponseController find the connection.
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

func (v *visit) WriteHeader(status int) {
	if !v.begun {
		v.begun, v.status = true, status
	}
	v.ResponseWriter.WriteHeader(status)
}

func (v *visit) Write(p []byte) (int, error) {
	if !v.begun {
		v.begun, v.status = true, http.StatusOK
	}
	return v.ResponseWriter.Write(p)
}

// serveTCP is the door of agents, browsers and whoever else reaches the port:
//
//  1. a Host that is not ours, and a page of another origin, are refused;
//  2. the path picks the handler, which checks method and key.
//
// There is no router and no chain of handlers, because every request of an
// agent comes this way.
func (s *Server) serveTCP(w http.ResponseWriter, r *http.Request) {
	v := &visit{ResponseWriter: w, r: r, d: s.doors.Load(), id: newRequestID(), at: time.Now()}
	v.path, v.profile = cutProfile(r.URL.Path)
	v.control = v.isControl()
	defer s.mend(v)
	// 1
	open := v.path == "/" || v.path == "/healthz" || v.path == "/readyz"
	switch {
	case !v.d.host(r.Host):
		v.refuse(&gateway.Refusal{
			Case:    route.CaseForbidden,
			Message: fmt.Sprintf("the Host %q is not one of this drey's; add it to listen.allowed_hosts if it should be", clip(r.Host)),
		})
		return
	case !open && !v.d.origin(r):
		v.refuse(&gateway.Refusal{
			Case:    route.CaseForbidden,
			Message: fmt.Sprintf("a page of %s may not call this drey", clip(r.Header.Get("Origin"))),
		})
		return
	}
	// 2
	switch v.path {
	case "/v1/messages":
		s.generate(v, drey.WireAnthropic, s.cfg.Gateway.Generate)
	case "/v1/messages/count_tokens":
		s.generate(v, drey.WireAnthropic, s.cfg.Gateway.CountTokens)
	case "/v1/chat/completions":
		s.generate(v, drey.WireChat, s.cfg.Gateway.Generate)
	case "/v1/responses":
		s.generate(v, drey.WireResponses, s.cfg.Gateway.Generate)
	case "/v1/responses/input_tokens":
		s.generate(v, drey.WireResponses, s.cfg.Gateway.CountTokens)
	case "/v1/embeddings":
		s.generate(v, drey.WireChat, s.cfg.Gateway.Embed)
	default:
		s.elsewhere(v)
	}
}

// isControl reports whether the path is the control API's.
func (v *visit) isControl() bool {
	return v.profile == "" && (v.path == api.Prefix || strings.HasPrefix(v.path, api.Prefix+"/"))
}

// elsewhere serves the paths that are in no hurry.
func (s *Server) elsewhere(v *visit) {
	s.visitors.note(v.at, v.r.RemoteAddr, v.r.Method, v.r.URL.Path, v.r.UserAgent())
	switch p := v.path; {
	case p == "/":
		s.front(v)
	case p == "/healthz":
		s.healthz(v)
	case p == "/readyz":
		s.readyz(v)
	case p == "/metrics" && s.cfg.Metrics != nil:
		s.metrics(v)
	case p == "/v1/models":
		s.models(v, "")
	case strings.HasPrefix(p, "/v1/models/") && len(p) > len("/v1/models/"):
		s.models(v, p[len("/v1/models/"):])
	case v.control:
		s.controlTCP(v)
	default:
		v.refuse(&gateway.Refusal{Case: route.CaseNotFound, Message: "there is no " + clip(v.r.URL.Path) + "; " + suggest(p)})
	}
}

// suggest says where a request with an unknown path was probably meant to go.
// Clients disagree on whether a base URL ends in /v1.
func suggest(p string) string {
	for _, known := range []string{
		"/v1/messages/count_tokens", "/v1/messages", "/v1/chat/completions", "/v1/responses/input_tokens", "/v1/responses", "/v1/embeddings", "/v1/models",
	} {
		if strings.HasSuffix(p, known) {
			return "the path is " + known + ": the base URL of this client ends without /v1"
		}
		if strings.HasSuffix(p, strings.TrimPrefix(known, "/v1")) {
			return "the path is " + known + ": the base URL of this client ends with /v1"
		}
	}
	return "agents use /v1/messages, /v1/chat/completions, /v1/responses, /v1/embeddings and /v1/models"
}

// generate takes in one call of an agent and hands it to the gateway.
func (s *Server) generate(v *visit, wire drey.Wire, handle func(context.Context, http.ResponseWriter, *gateway.Request)) {
	if !v.method(http.MethodPost) {
		return
	}
	key, ok := s.agentKey(v)
	if !ok {
		return
	}
	if ok, closed := s.gate.enter(v.d.maxStreams); !ok {
		ref := &gateway.Refusal{Case: route.CaseNoProvider, Message: fmt.Sprintf("%d requests are under way already, which is the most (listen.max_streams)", v.d.maxStreams)}
		if closed {
			ref.Message, ref.Header = told(ErrDraining), closing()
		}
		v.refuse(ref)
		return
	}
	defer s.gate.leave()
	body, refusal := v.body()
	if refusal != nil {
		v.refuse(refusal)
		return
	}
	defer s.cfg.Begin()()
	req := &gateway.Request{
		ID: v.id, At: v.at, Wire: wire, Body: body, Query: v.r.URL.RawQuery, Header: v.r.Header,
		HeaderProfile: v.r.Header.Get("X-Drey-Profile"), PathProfile: v.profile, Key: key,
	}
	ctx := v.r.Context()
	handle(ctx, v, req)
	if v.status == http.StatusForbidden { // the profile's: no provider's 403 is passed on
		s.keyRefused(v.at, doorAgents, key.Name, "not its profile", v.id, v.r.RemoteAddr)
	}
	if cause := context.Cause(ctx); !v.begun && cause != nil && !errors.Is(cause, context.Canceled) {
		// We cut it and not the caller, who would read silence as an empty
		// answer.
		v.refuse(&gateway.Refusal{Case: route.CaseCancelled, Message: told(cause), Header: closing()})
	}
}

// told is an error with its hint, for a caller whose wire has no place for one.
func told(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*drey.Error](err); ok && e.Err != nil {
		text = e.Err.Error()
	}
	if hint := drey.HintOf(err); hint != "" {
		text += "; " + hint
	}
	return text
}

// refuse answers with an error in the shape that is nearest to the path.
func (v *visit) refuse(ref *gateway.Refusal) {
	if !v.control {
		gateway.Refuse(v, v.wire(), v.id, ref)
		return
	}
	status := route.Refusal{Case: ref.Case}.Tell(drey.WireNone).Status
	controlError(v, v.id, status, api.Error{Code: codeOf(status), Message: ref.Message})
}

// wire is the wire in which this caller reads errors: the path's, and where
// that says nothing the one whose version header came along.
func (v *visit) wire() drey.Wire {
	switch {
	case strings.HasPrefix(v.path, "/v1/messages"):
		return drey.WireAnthropic
	case v.path == "/v1/chat/completions":
		return drey.WireChat
	case strings.HasPrefix(v.path, "/v1/responses"):
		return drey.WireResponses
	case v.r.Header["Anthropic-Version"] != nil:
		return drey.WireAnthropic
	default:
		return drey.WireChat
	}
}

// method lets the methods through and refuses every other one.
func (v *visit) method(allowed ...string) bool {
	for _, m := range allowed {
		if v.r.Method == m {
			return true
		}
	}
	allow := strings.Join(allowed, ", ")
	v.refuse(&gateway.Refusal{
		Case: route.CaseMethod, Message: fmt.Sprintf("%s takes %s, not %s", clip(v.path), allow, clip(v.r.Method)),
		Header: http.Header{"Allow": {allow}},
	})
	return false
}

// agentKey checks the key of a call to the agents' API. Where there are no keys
// the credential that came along is kept for providers of key: caller; where
// there are it is ours, and goes no further.
func (s *Server) agentKey(v *visit) (gateway.Key, bool) {
	if v.d.open() {
		return gateway.Key{Secret: credential(v.r.Header)}, true
	}
	k, ok, given := v.d.keyOf(v.r.Header)
	if ok {
		return gateway.Key{Name: k.Name, Profiles: k.Profiles, PerMinute: k.PerMinute}, true
	}
	s.keyRefused(v.at, doorAgents, "", missingOr(given, "unknown"), v.id, v.r.RemoteAddr)
	v.refuse(&gateway.Refusal{Case: route.CaseKey, Message: keyMessage(given)})
	return gateway.Key{}, false
}

// mend turns a panic of a handler into the error that a bug is, as long as
// nothing has gone out. The gateway's own abort is passed on, by which the
// server cuts the connection; so is a panic behind an answer that has begun.
func (s *Server) mend(v *visit) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.cfg.Log.Error("bug", "request_id", string(v.id), "path", v.path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if v.begun {
		panic(http.ErrAbortHandler)
	}
	clear(v.Header())
	v.refuse(&gateway.Refusal{Case: route.CaseInternal, Message: "a bug in drey; its log has the details under this request id"})
}

// cutProfile takes /p/{profile} off a path.
func cutProfile(path string) (rest, profile string) {
	after, ok := strings.CutPrefix(path, "/p/")
	if !ok {
		return path, ""
	}
	profile, rest, _ = strings.Cut(after, "/")
	if profile == "" {
		return path, ""
	}
	return "/" + rest, profile
}

// closing asks the client to bring its next request on another connection.
func closing() http.Header { return http.Header{"Connection": {"close"}} }

// clip keeps what a caller sent from filling the message that tells about it.
func clip(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
