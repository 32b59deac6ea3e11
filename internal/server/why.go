package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/health"
	core "github.com/dreyhq/drey/internal/operation"
	"github.com/dreyhq/drey/internal/store"
	"github.com/dreyhq/drey/internal/why"
)

// whyRoutes are the operations that explain.
func (s *Server) whyRoutes(a huma.API) {
	huma.Register(a, operation(http.MethodGet, "/why/request/{id}", "why-request", "Why a request went where it went"), s.whyRequest)
	huma.Register(a, operation(http.MethodGet, "/why/provider/{name}", "why-provider", "What became of a provider"), s.whyProvider)
	if s.cfg.Operations != nil {
		op := operation(http.MethodGet, "/why/operation/{id}", "why-operation", "What became of an operation, an archived one too")
		op.Errors = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusServiceUnavailable}
		huma.Register(a, op, s.whyOperation)
	}
	if s.cfg.Lifecycle != nil {
		huma.Register(a, operation(http.MethodGet, "/why/daemon", "why-daemon", "Why the daemon is in the state it is in"), s.whyDaemon)
	}
}

func (s *Server) whyRequest(ctx context.Context, in *requestInput) (*answer[api.Why], error) {
	row, err := s.row(ctx, in.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, noRequest(in.ID)
	case err != nil:
		return nil, s.refuseControl("why", err)
	}
	facts := why.RequestFacts{Row: row.Row}
	caused, err := s.cfg.Journal.Query(ctx, store.Query{RequestID: row.ID, Limit: store.MaxLimit})
	if err != nil {
		return nil, s.refuseControl("why", err)
	}
	facts.Caused = caused.Events
	for _, id := range why.PassedOver(row.Row) {
		before, err := s.cfg.Journal.Query(ctx, store.Query{
			Machine: "provider", ID: string(id), Event: "self-healing-exclude", Until: row.At.Add(time.Microsecond), Newest: true, Limit: 1,
		})
		if err != nil {
			return nil, s.refuseControl("why", err)
		}
		facts.Before = append(facts.Before, before.Events...)
	}
	story, err := why.Request(facts)
	if err != nil {
		return nil, s.refuseControl("why", err)
	}
	return &answer[api.Why]{tell(story)}, nil
}

// How much is read for the story of a provider, or of an operation.
const (
	storyEvents = 500                // of the provider, of its process, and of trials; the first and the last of an operation
	storyCauses = 100                // events that caused some
	storyRows   = 3 * store.MaxLimit // requests that are searched for failed attempts
	storyBefore = time.Hour          // how long before the first event a run of failures may have begun
)

func (s *Server) whyProvider(ctx context.Context, in *Named) (*answer[api.Why], error) {
	events, err := s.eventsOf(ctx, in.Name)
	if err != nil {
		return nil, s.refuseControl("why", err)
	}
	facts := why.ProviderFacts{ID: drey.ProviderID(in.Name), Now: time.Now(), Events: events}
	p, err := s.provider(in.Name)
	switch {
	case err == nil:
		facts.Standing = s.standing(p)
	case len(events) == 0:
		return nil, err
	}
	if facts.Failures, err = s.failuresOf(ctx, facts.ID, events); err != nil {
		return nil, s.refuseControl("why", err)
	}
	return &answer[api.Why]{tell(why.Provider(facts))}, nil
}

// eventsOf returns the latest events of a provider and its process, and those
// that caused them, in the order of seq.
func (s *Server) eventsOf(ctx context.Context, name string) ([]drey.Event, error) {
	var events []drey.Event
	for _, q := range []store.Query{
		{Machine: "provider", ID: name}, {Machine: "process", ID: name}, {Event: "chain-panic-trial"},
	} {
		q.Newest, q.Limit = true, storyEvents
		page, err := s.cfg.Journal.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, ev := range page.Events {
			if why.About(ev, drey.ProviderID(name)) { // trials are of any provider
				events = append(events, ev)
			}
		}
	}
	return s.withCauses(ctx, events)
}

// withCauses adds the events that caused some, as far as a story has room for
// them, and returns all in the order of seq.
func (s *Server) withCauses(ctx context.Context, events []drey.Event) ([]drey.Event, error) {
	known := map[drey.Seq]bool{}
	for _, ev := range events {
		known[ev.Seq] = true
	}
	for i := 0; i < len(events) && len(known) < 3*storyEvents+storyCauses; i++ {
		cause := events[i].Cause
		if cause == 0 || known[cause] {
			continue
		}
		known[cause] = true
		page, err := s.cfg.Journal.Query(ctx, store.Query{After: cause - 1, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(page.Events) == 1 && page.Events[0].Seq == cause { // else it is in the archive
			events = append(events, page.Events[0])
		}
	}
	slices.SortFunc(events, func(a, b drey.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return events, nil
}

// failuresOf returns the failed attempts at a provider, as far as they belong
// to its events: those of the requests that the events name, and those of the
// latest requests since shortly before the first event.
func (s *Server) failuresOf(ctx context.Context, id drey.ProviderID, events []drey.Event) ([]why.Failure, error) {
	if len(events) == 0 {
		return nil, nil
	}
	var out []why.Failure
	seen := map[drey.RequestID]bool{}
	add := func(row store.RequestRow) {
		if !seen[row.ID] {
			seen[row.ID] = true
			out = append(out, why.Failures(row.Row, id)...)
		}
	}
	for _, ev := range events {
		if ev.RequestID == "" || seen[ev.RequestID] {
			continue
		}
		row, err := s.cfg.Rows.Request(ctx, ev.RequestID)
		switch {
		case errors.Is(err, store.ErrNotFound): // lost, or still under way
		case err != nil:
			return nil, err
		default:
			add(row)
		}
	}
	q := store.RequestQuery{Since: events[0].At.Add(-storyBefore), Limit: store.MaxLimit}
	for read := 0; read < storyRows; {
		page, err := s.cfg.Rows.Requests(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			add(row)
		}
		read += len(page.Rows)
		if q.Before = page.Next; q.Before == "" {
			break
		}
	}
	return out, nil
}

// standing is what the story needs of a provider's view, with the times that
// the view tells as spans.
func (s *Server) standing(p api.Provider) why.Standing {
	out := why.Standing{
		State: p.State, Phase: p.Phase, By: p.By,
		ConsecutiveFailures: p.ConsecutiveFailures, InFlight: p.InFlight, RampLimit: p.RampLimit,
	}
	if s.cfg.Healer == nil {
		return out
	}
	if h, ok := s.cfg.Healer.Health(p.Name); ok {
		out.Since, out.Until, out.NextProbeAt = h.ExcludedAt, h.Until, h.NextProbeAt
		out.Trial = h.Trial == health.TrialOpen
		out.ParkedUntil, out.ParkedReason = h.ParkedUntil, h.ParkedReason.String()
		if h.Process != nil {
			out.Process = h.Process.State.String()
		}
	}
	return out
}

func (s *Server) whyOperation(ctx context.Context, in *OperationID) (*answer[api.Why], error) {
	id, err := in.parse()
	if err != nil {
		return nil, err
	}
	op, err := s.cfg.Operations.Get(ctx, id)
	if err != nil {
		return nil, s.refuseOperation("why", err)
	}
	facts := operationFacts(operationView(&op))
	facts.Now = time.Now()
	if facts.Events, err = s.eventsOfOperation(ctx, &op); err != nil {
		return nil, s.refuseControl("why", err)
	}
	return &answer[api.Why]{tell(why.Operation(facts))}, nil
}

// eventsOfOperation returns the first and the last events of an operation up to
// its snapshot, and those that caused them, in the order of seq. Between the
// first and the last of very many there is hardly more than progress.
func (s *Server) eventsOfOperation(ctx context.Context, op *core.Snapshot) ([]drey.Event, error) {
	q := store.Query{Machine: core.MachineName, ID: op.ID.String(), Limit: storyEvents}
	page, err := s.cfg.Journal.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	events := page.Events
	if page.Next != 0 {
		q.After, q.Newest = page.Next, true
		if page, err = s.cfg.Journal.Query(ctx, q); err != nil {
			return nil, err
		}
		events = append(events, page.Events...)
	}
	events = slices.DeleteFunc(events, func(ev drey.Event) bool { return ev.Seq > op.LastSeq })
	return s.withCauses(ctx, events)
}

// operationFacts is what the story needs of an operation's view.
func operationFacts(v api.Operation) why.OperationFacts {
	at := func(ms int64) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms)
	}
	f := why.OperationFacts{
		ID: v.ID, Name: v.Name, Kind: v.Kind, Status: v.Status, Version: v.Version, Registry: v.Registry, Owner: v.Owner,
		Parent: v.Parent, Archived: v.Archived, ExpectPeer: v.ExpectPeer, Waiters: v.Waiters, Watchers: v.Watchers, Outcome: v.Outcome,
		Created: at(v.CreatedAtMS), Started: at(v.StartedAtMS), Completed: at(v.CompletedAtMS),
	}
	if v.Peer != nil {
		f.Peer, f.Address = v.Peer.Name, v.Peer.Peer.Address
	}
	if p := v.Progress; p != nil {
		f.Message, f.Percent, f.ProgressAt = p.Message, p.Percent, at(p.AtMS)
	}
	return f
}

// storyLives is how many of the lifecycle's events are read for its story.
const storyLives = 500

func (s *Server) whyDaemon(ctx context.Context, _ *nothing) (*answer[api.Why], error) {
	l, err := s.cfg.Lifecycle.Lifecycle(ctx)
	if err != nil {
		return nil, s.refuseControl("why", err)
	}
	page, err := s.cfg.Journal.Query(ctx, store.Query{Machine: "lifecycle", Newest: true, Limit: storyLives})
	if err != nil {
		return nil, s.refuseControl("why", err)
	}
	w, err := WhyDaemon(l, true, page.Events, time.Now())
	if err != nil {
		return nil, s.refuseControl("why", err)
	}
	return &answer[api.Why]{w}, nil
}

// WhyDaemon explains a lifecycle by its events, in order. running says that l
// is what a daemon tells of itself; else it is what the files tell. It is here
// so that a CLI that finds no daemon tells the same story as one that does. An
// error says that l has a time that is none.
func WhyDaemon(l api.Lifecycle, running bool, events []drey.Event, now time.Time) (api.Why, error) {
	f := why.DaemonFacts{Now: now, Running: running, State: l.State, Step: l.Step, Visitor: l.Visitor, Events: events}
	var errs [3]error
	f.Since, errs[0] = drey.ParseTime(l.Since)
	f.LastActivity, errs[1] = drey.ParseTime(l.LastActivity)
	if m := l.MayHibernate; m != nil {
		f.By, f.Because = m.By, m.Because
	}
	if l.Next != nil {
		f.Next = l.Next.Event
		f.NextAt, errs[2] = drey.ParseTime(l.Next.At)
	}
	if q := l.Quarantine; q != nil {
		f.Quarantine = q.Reason
	}
	return tell(why.Daemon(f)), errors.Join(errs[:]...)
}

// tell is a story as the control API tells it.
func tell(st why.Story) api.Why {
	out := api.Why{Subject: st.Subject, ID: st.ID, Summary: st.Summary, Steps: make([]api.WhyStep, 0, len(st.Steps)), Earlier: st.Earlier, Text: st.Text(nil)}
	for _, step := range st.Steps {
		out.Steps = append(out.Steps, api.WhyStep{At: drey.FormatTime(step.At), Seq: step.Seq, Event: step.Event, RequestID: step.RequestID, Text: step.Text})
	}
	return out
}
