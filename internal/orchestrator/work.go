package orchestrator

import "github.com/dreyhq/drey/internal/operation"

// isWork reports whether an operation keeps the daemon awake (§8): a background
// tool while it lives, and whatever is being provisioned. A member that runs may
// be idle; its turns are work by themselves.
func isWork(m *operation.Machine) bool {
	return m.Live() && (m.Kind == operation.BackgroundTool || m.Status == operation.Provisioning)
}

// work tells the lifecycle of a published operation that has become work, or is
// work no longer. It belongs to the owner, and is called without o.mu: what it
// calls may look at Operations.
func (o *Operations) work(e *entry) {
	switch is := isWork(e.seen); {
	case is && e.endWork == nil && o.cfg.Work != nil:
		e.endWork = o.cfg.Work()
	case !is && e.endWork != nil:
		end := e.endWork
		e.endWork = nil
		end()
	}
}

// endWork ends what is open: nobody leads the operations any more.
func (o *Operations) endWork() {
	for _, e := range o.entries { // the owner, who is the one that changes them, is at its end
		if e.endWork != nil {
			e.endWork()
			e.endWork = nil
		}
	}
}
