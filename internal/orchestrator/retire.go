package orchestrator

import (
	"context"

	"github.com/dreyhq/drey/internal/operation"
)

// retiredWhileProvisioning is why a member that was not ready yet ends as
// aborted and not as retired.
const retiredWhileProvisioning = "retired while provisioning"

// BeginRetire says that the member's disposal has begun. One that was still
// being provisioned is aborted; where there is none, nothing happens.
func (m *Members) BeginRetire(ctx context.Context, ref Ref) error {
	if err := needSession(ref, doRetire); err != nil {
		return err
	}
	return m.decide(ctx, ref.Session, doRetire, func(s *sitting) error {
		id, err := s.active()
		if err != nil || id.IsZero() {
			return err
		}
		switch _, now := s.machine(id); now.Status {
		case operation.Provisioning:
			_, err = s.step(operation.AbortProvisioning{Meta: operation.Meta{ID: id}, Reason: retiredWhileProvisioning})
		case operation.Running:
			_, err = s.step(operation.RequestRetire{Meta: operation.Meta{ID: id}})
		}
		return err
	})
}

// MarkRetired says that the member is gone. Its operation ends, in whatever
// status it was, and its binding is cleared. A session that is not known keeps
// its binding: a spawn may be about to use it.
func (m *Members) MarkRetired(ctx context.Context, ref Ref) error {
	if err := needSession(ref, doRetire); err != nil {
		return err
	}
	return m.decide(ctx, ref.Session, doRetire, func(s *sitting) error {
		id, err := s.active()
		if err != nil {
			return err
		}
		if id.IsZero() {
			known, err := s.known()
			if err != nil || !known {
				return err
			}
			return s.unbind()
		}
		meta := operation.Meta{ID: id}
		switch _, now := s.machine(id); now.Status {
		case operation.Provisioning:
			_, err = s.step(operation.AbortProvisioning{Meta: meta, Reason: retiredWhileProvisioning})
		case operation.Running:
			if _, err = s.step(operation.RequestRetire{Meta: meta}); err == nil {
				_, err = s.step(operation.MarkRetired{Meta: meta})
			}
		case operation.Retiring:
			_, err = s.step(operation.MarkRetired{Meta: meta})
		}
		if err != nil {
			return err
		}
		return s.unbind()
	})
}

// AbortProvision gives up an operation that is still being provisioned. One
// that has ended, or is not there, is given up already.
func (m *Members) AbortProvision(ctx context.Context, session string, id operation.ID, reason string) error {
	if err := needSession(SessionRef(session), doAbort); err != nil {
		return err
	}
	return m.decide(ctx, session, doAbort, func(s *sitting) error {
		now, err := s.own(id)
		switch {
		case err != nil:
			return err
		case now.Status == operation.Provisioning:
			_, err = s.step(operation.AbortProvisioning{Meta: operation.Meta{ID: id}, Reason: reason})
		case now.Live():
			return s.refuse(&now)
		}
		if err != nil {
			return err
		}
		return s.unbindIdle()
	})
}

// RollbackProvision undoes what a spawn has begun, however far it had come. What
// has ended, or is not there, is undone already.
func (m *Members) RollbackProvision(ctx context.Context, session string, id operation.ID, reason string) error {
	if err := needSession(SessionRef(session), doRollBack); err != nil {
		return err
	}
	return m.decide(ctx, session, doRollBack, func(s *sitting) error {
		now, err := s.own(id)
		switch {
		case err != nil:
			return err
		case now.Status == operation.Provisioning:
			_, err = s.step(operation.AbortProvisioning{Meta: operation.Meta{ID: id}, Reason: reason})
		case now.Live():
			_, err = s.step(operation.Fail{Meta: operation.Meta{ID: id}, Error: reason})
		}
		if err != nil {
			return err
		}
		return s.unbindIdle()
	})
}
