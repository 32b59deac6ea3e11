package operation

import (
	"time"

	"github.com/dreyhq/drey"
)

// Policy is what the configuration says about the operations of a registry
// (operations.*).
type Policy struct {
	// MaxConcurrent is how many operations of a registry may be live at once;
	// nil = any number, 0 = none. Source: max_concurrent (null).
	MaxConcurrent *int `json:"max_concurrent" doc:"live operations per registry; null = no limit"`
	// MaxCompleted is how many ended operations a registry retains; the oldest
	// ending goes first. 0 = none. Source: max_completed (256).
	MaxCompleted int `json:"max_completed" doc:"ended operations retained per registry"`
	// ProgressHistory is how many progress updates are kept per operation.
	// Source: progress_history (32).
	ProgressHistory int `json:"progress_history" doc:"progress updates kept per operation"`
	// KeepHistory is how long operations that are not retained any more stay
	// readable as archived. Source: keep_history (30d).
	KeepHistory drey.Duration `json:"keep_history" doc:"how long ended operations stay readable as archived"`
}

// DefaultPolicy returns the contract's defaults.
func DefaultPolicy() Policy {
	return Policy{MaxCompleted: 256, ProgressHistory: 32, KeepHistory: drey.Duration(30 * 24 * time.Hour)}
}

// full reports whether a registry with so many live operations takes no more.
func (p *Policy) full(active int) bool { return p.MaxConcurrent != nil && active >= *p.MaxConcurrent }
