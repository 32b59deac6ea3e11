package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	core "github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/orchestrator"
	"github.com/dreyhq/drey/internal/store"
)

// Operations are asked about operations, and told to end some. Calls come
// concurrently. Errors are *operation.Error, or the context's.
type Operations interface {
	List(ctx context.Context, q orchestrator.ListQuery) (orchestrator.List, error)
	Get(ctx context.Context, id core.ID) (core.Snapshot, error)
	Progress(ctx context.Context, id core.ID) ([]core.Progress, error)
	Tree(ctx context.Context, q orchestrator.TreeQuery) ([]orchestrator.Branch, error)
	WaitAll(ctx context.Context, ids []core.ID) (orchestrator.Waited, error)
	Do(ctx context.Context, call core.Event) (core.Snapshot, error)
	TerminateOwner(ctx context.Context, owner, reason string, meta core.Meta) ([]core.ID, error)
}

// operationRoutes are the operations contract §11.
func (s *Server) operationRoutes(a huma.API) {
	if s.cfg.Operations == nil {
		return
	}
	act := func(path, id, summary string) huma.Operation {
		op := opRoute(http.MethodPost, path, id, summary)
		op.SkipValidateBody = false
		return op
	}
	huma.Register(a, opRoute(http.MethodGet, "", "operations", "Operations in the order of their names"), s.getOperations)
	huma.Register(a, opRoute(http.MethodGet, "/tree", "operation-tree", "Operations, each above those that its child owns"), s.getOperationTree)
	huma.Register(a, opRoute(http.MethodGet, "/{id}", "operation", "One operation, an archived one too"), s.getOperation)
	huma.Register(a, opRoute(http.MethodGet, "/{id}/progress", "operation-progress", "What an operation said of itself lately"), s.getOperationProgress)
	huma.Register(a, act("/wait", "operations-wait", "Wait until operations have ended"), s.waitOperations)
	huma.Register(a, act("/{id}/cancel", "operation-cancel", "Cancel an operation"), s.cancelOperation)
	huma.Register(a, act("/terminate-owner", "operations-terminate-owner", "End all operations of a session, and those below them"), s.terminateOwner)
	events := eventsOperation(a)
	events.Path, events.OperationID, events.Summary = api.Prefix+"/operations/events", "operations-events", "Events of operations, live or in pages"
	huma.Register(a, events, func(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		in.Machine = core.MachineName
		return s.getEvents(ctx, in)
	})
	events.Path, events.OperationID, events.Summary = api.Prefix+"/operations/{id}/events", "operation-events", "Events of one operation; a stream ends with it"
	huma.Register(a, events, s.getOperationEvents)
}

// opRoute is a route below /operations.
func opRoute(method, path, id, summary string) huma.Operation {
	op := operation(method, "/operations"+path, id, summary)
	op.Errors = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusServiceUnavailable}
	return op
}

// OperationID is the id in a path. huma reads embedded structs only where their
// name is exported.
type OperationID struct {
	ID string `path:"id" maxLength:"64" doc:"the operation's id, a UUID"`
}

func (in *OperationID) parse() (core.ID, error) {
	id, err := core.ParseID(in.ID)
	if err != nil {
		return id, invalid("path.id", err.Error())
	}
	return id, nil
}

// operationsInput are the filters of GET /operations.
type operationsInput struct {
	Paging
	Status   []string `query:"status,explode" doc:"any of these; may be given several times"`
	Active   string   `query:"active" enum:"true,false" doc:"only those that live, or that have ended"`
	Kind     string   `query:"kind" enum:"mob_member_child,background_tool_op"`
	Registry string   `query:"registry" doc:"fallback, mob:ID or session:ID"`
	Owner    string   `query:"owner" doc:"only those of this session"`
	Child    string   `query:"child" doc:"only those whose child is this session"`
	Label    []string `query:"label,explode" doc:"KEY=VALUE; all of them"`
	Prefix   string   `query:"name" doc:"only those whose display_name begins so"`
	Archived bool     `query:"archived" doc:"those that are not retained any more, in place of those that are"`
}

func (in *operationsInput) filter() (core.Filter, error) {
	f := core.Filter{
		Registry: core.RegistryID(in.Registry), Owner: in.Owner, Child: in.Child, Prefix: in.Prefix, Archived: in.Archived,
	}
	for _, text := range in.Status {
		var status core.Status
		if err := status.UnmarshalText([]byte(text)); err != nil || status == core.Absent {
			return f, invalid("query.status", fmt.Sprintf("%s is no status", text))
		}
		f.Statuses = append(f.Statuses, status)
	}
	if in.Active != "" {
		active := in.Active == "true"
		f.Active = &active
	}
	if in.Kind != "" {
		_ = f.Kind.UnmarshalText([]byte(in.Kind)) // the enum has checked it
	}
	for _, pair := range in.Label {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return f, invalid("query.label", "must be KEY=VALUE")
		}
		if f.Labels == nil {
			f.Labels = core.Labels{}
		}
		f.Labels[key] = value
	}
	return f, nil
}

func (s *Server) getOperations(ctx context.Context, in *operationsInput) (*answer[api.Operations], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Operations.List(ctx, orchestrator.ListQuery{Filter: f, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, s.refuseOperation("operations", err)
	}
	out := api.Operations{Operations: make([]api.Operation, 0, len(page.Operations)), Page: api.Page{NextCursor: page.Next, AsOfSeq: page.AsOf}}
	for i := range page.Operations {
		out.Operations = append(out.Operations, operationView(&page.Operations[i]))
	}
	return &answer[api.Operations]{out}, nil
}

func (s *Server) getOperation(ctx context.Context, in *OperationID) (*answer[api.Operation], error) {
	id, err := in.parse()
	if err != nil {
		return nil, err
	}
	op, err := s.cfg.Operations.Get(ctx, id)
	return s.answerOperation("operation", op, err)
}

func (s *Server) answerOperation(op string, snapshot core.Snapshot, err error) (*answer[api.Operation], error) {
	if err != nil {
		return nil, s.refuseOperation(op, err)
	}
	return &answer[api.Operation]{operationView(&snapshot)}, nil
}

func (s *Server) getOperationProgress(ctx context.Context, in *OperationID) (*answer[api.OperationProgress], error) {
	id, err := in.parse()
	if err != nil {
		return nil, err
	}
	updates, err := s.cfg.Operations.Progress(ctx, id)
	if err != nil {
		return nil, s.refuseOperation("operation progress", err)
	}
	out := api.OperationProgress{Progress: make([]api.OpProgress, 0, len(updates))}
	for _, u := range updates {
		out.Progress = append(out.Progress, *progressView(u))
	}
	return &answer[api.OperationProgress]{out}, nil
}

// treeInput selects the tree's top.
type treeInput struct {
	Root  string `query:"root" doc:"this operation and those below it"`
	Owner string `query:"owner" doc:"those of this session and those below them"`
	Mob   string `query:"mob" doc:"those of this mob, by its id"`
}

func (s *Server) getOperationTree(ctx context.Context, in *treeInput) (*answer[api.OperationTree], error) {
	q := orchestrator.TreeQuery{Owner: in.Owner, Mob: in.Mob}
	if in.Root != "" {
		var err error
		if q.Root, err = core.ParseID(in.Root); err != nil {
			return nil, invalid("query.root", err.Error())
		}
	}
	branches, err := s.cfg.Operations.Tree(ctx, q)
	if err != nil {
		return nil, s.refuseOperation("operation tree", err)
	}
	return &answer[api.OperationTree]{api.OperationTree{Operations: branchViews(branches)}}, nil
}

func branchViews(in []orchestrator.Branch) []api.OperationBranch {
	out := make([]api.OperationBranch, 0, len(in))
	for i := range in {
		out = append(out, api.OperationBranch{Operation: operationView(&in[i].Snapshot), Below: branchViews(in[i].Below)})
	}
	return out
}

func (s *Server) waitOperations(ctx context.Context, in *answer[api.OperationWait]) (*answer[api.OperationsWaited], error) {
	ids := make([]core.ID, len(in.Body.IDs))
	for i, text := range in.Body.IDs {
		id, err := core.ParseID(text)
		if err != nil {
			return nil, invalid(fmt.Sprintf("body.ids[%d]", i), err.Error())
		}
		ids[i] = id
	}
	if in.Body.Timeout != "" {
		d, err := drey.ParseDuration(in.Body.Timeout)
		if err != nil || d < 0 {
			return nil, invalid("body.timeout", "must be a duration like 30s or 5m")
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.D())
		defer cancel()
	}
	// Who waits for others is not waited for.
	s.conns.active.add(-1)
	defer s.conns.active.add(1)
	got, err := s.cfg.Operations.WaitAll(ctx, ids)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the outcomes say who was late
	}
	if err != nil {
		return nil, s.refuseOperation("operations wait", err)
	}
	out := api.OperationsWaited{Satisfied: true, IDs: idTexts(got.IDs), Outcomes: make([]json.RawMessage, 0, len(got.Outcomes))}
	for _, o := range got.Outcomes {
		text := outcomeView(o)
		if text == nil {
			text, out.Satisfied = json.RawMessage("null"), false
		}
		out.Outcomes = append(out.Outcomes, text)
	}
	return &answer[api.OperationsWaited]{out}, nil
}

// cancelInput is an operation and why it is cancelled.
type cancelInput struct {
	OperationID
	Body *api.OperationCancel
}

func (s *Server) cancelOperation(ctx context.Context, in *cancelInput) (*answer[api.Operation], error) {
	id, err := core.ParseID(in.ID)
	if err != nil {
		return nil, invalid("path.id", err.Error())
	}
	call := core.Cancel{Meta: core.Meta{ID: id}}
	if in.Body != nil {
		call.Reason, call.RequestID = in.Body.Reason, drey.RequestID(in.Body.RequestID)
	}
	op, err := s.cfg.Operations.Do(ctx, call)
	return s.answerOperation("operation cancel", op, err)
}

func (s *Server) terminateOwner(ctx context.Context, in *answer[api.TerminateOwner]) (*answer[api.OperationsTerminated], error) {
	ids, err := s.cfg.Operations.TerminateOwner(ctx, in.Body.Owner, in.Body.Reason, core.Meta{})
	if err != nil {
		return nil, s.refuseOperation("operations terminate-owner", err)
	}
	return &answer[api.OperationsTerminated]{api.OperationsTerminated{Terminated: idTexts(ids)}}, nil
}

// operationEventsInput is where to begin.
type operationEventsInput struct {
	OperationID
	After       string `query:"after" pattern:"^[0-9]{1,18}$" doc:"begin behind this seq; live: from now without it; a page: from the beginning"`
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,18}$" doc:"what browsers send to resume; it wins over after"`
	Limit       int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many events a page has at most"`
}

func (s *Server) getOperationEvents(ctx context.Context, in *operationEventsInput) (*huma.StreamResponse, error) {
	id, err := in.parse()
	if err != nil {
		return nil, err
	}
	op, err := s.cfg.Operations.Get(ctx, id)
	if err != nil {
		return nil, s.refuseOperation("operation events", err)
	}
	from := in.LastEventID
	if from == "" {
		from = in.After
	}
	after, err := strconv.ParseUint(from, 10, 64)
	resume := err == nil // the pattern has checked what is there
	q := store.Query{After: drey.Seq(after), Machine: core.MachineName, ID: id.String()}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		switch {
		case accepts(r, "application/json") && !accepts(r, "text/event-stream"):
			q.Limit = in.Limit
			s.eventPage(ctx, w, q)
		case r.Method == http.MethodHead:
			newLive(w)
		case op.Ended() && (!resume || q.After >= op.LastSeq): // nothing will come
			out := newLive(w)
			out.place(max(q.After, op.LastSeq), "ended")
			_ = out.flush() // it is the end in either case
		default:
			s.followUntil(ctx, w, q, resume, func(ev drey.Event) bool {
				var to core.Status
				return to.UnmarshalText([]byte(ev.To)) == nil && to.Ended()
			})
		}
	}}, nil
}

// refuseOperation turns an error of the registry into what the caller is told.
func (s *Server) refuseOperation(op string, err error) error {
	e, ok := errors.AsType[*core.Error](err)
	if !ok {
		return s.refuseControl(op, err)
	}
	body := api.Error{Code: e.Code.String(), Message: err.Error()}
	for _, f := range e.Fields() {
		body.Fields = append(body.Fields, api.Field{Path: f.Key, Message: fmt.Sprint(f.Value)})
	}
	return &statusError{e.Code.HTTPStatus(), body}
}

func idTexts(ids []core.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return slices.Clip(out)
}

// operationView is an operation as the control API tells it.
func operationView(s *core.Snapshot) api.Operation {
	v := api.Operation{
		ID: s.ID.String(), Kind: s.Kind.String(), Owner: s.Owner, Name: s.Name, Source: s.Source, Child: s.Child,
		ExpectPeer: s.ExpectPeer, OnRestart: s.OnRestart.String(), Labels: s.Labels,
		Registry: string(s.Registry), Status: s.Status.String(), Version: s.Version, LastSeq: uint64(s.LastSeq),
		PeerReady: s.PeerReady, ProgressCount: s.ProgressCount, Watchers: s.Watchers, Waiters: s.Waiters,
		Outcome: outcomeView(s.Outcome), Parent: s.Parent.String(),
		CreatedAtMS: s.CreatedAtMS, UpdatedAtMS: s.UpdatedAtMS, StartedAtMS: s.StartedAtMS, CompletedAtMS: s.CompletedAtMS,
		ElapsedMS: s.ElapsedMS, Archived: s.Archived,
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if s.PeerReady {
		v.Peer = &api.PeerHandle{Name: s.Peer.Name}
		v.Peer.Peer.Name, v.Peer.Peer.ID, v.Peer.Peer.Address = s.Peer.Peer.Name, s.Peer.Peer.ID, s.Peer.Peer.Address
	}
	if s.ProgressCount > 0 {
		v.Progress = progressView(s.Progress)
	}
	return v
}

func progressView(p core.Progress) *api.OpProgress {
	v := &api.OpProgress{Message: p.Message, AtMS: p.AtMS}
	if p.Percent.Known {
		v.Percent = &p.Percent.Value
	}
	return v
}

// outcomeView is an outcome's JSON, nil for that of a live operation.
func outcomeView(o core.Outcome) json.RawMessage {
	if o.IsZero() {
		return nil
	}
	text, err := o.MarshalJSON()
	if err != nil { // it is of an ended status
		return nil
	}
	return text
}
