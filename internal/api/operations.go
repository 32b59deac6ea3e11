package api

import "encoding/json"

// Operation is one child's life: a member of a mob, or a tool that runs in the
// background.
type Operation struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind" enum:"mob_member_child,background_tool_op"`
	Owner      string            `json:"owner_session_id"`
	Name       string            `json:"display_name"`
	Source     string            `json:"source_label"`
	Child      string            `json:"child_session_id,omitempty"`
	ExpectPeer bool              `json:"expect_peer_channel"`
	OnRestart  string            `json:"on_restart" enum:"resume,fail"`
	Labels     map[string]string `json:"labels"`

	Registry      string          `json:"registry"`
	Status        string          `json:"status" enum:"provisioning,running,retiring,completed,failed,aborted,cancelled,retired,terminated"`
	Version       int64           `json:"version" doc:"1 after the registration, and 1 more with each transition"`
	LastSeq       uint64          `json:"last_seq" doc:"of its last event"`
	PeerReady     bool            `json:"peer_ready"`
	Peer          *PeerHandle     `json:"peer_handle,omitempty"`
	ProgressCount int64           `json:"progress_count"`
	Progress      *OpProgress     `json:"progress,omitempty" doc:"the last message and the last percent"`
	Watchers      int             `json:"watcher_count"`
	Waiters       int             `json:"waiter_count"`
	Outcome       json.RawMessage `json:"terminal_outcome,omitempty" doc:"how it ended: outcome_type, and what belongs to it"`
	Parent        string          `json:"parent_operation_id,omitempty"`

	CreatedAtMS   int64  `json:"created_at_ms"`
	UpdatedAtMS   int64  `json:"updated_at_ms"`
	StartedAtMS   int64  `json:"started_at_ms,omitempty"`
	CompletedAtMS int64  `json:"completed_at_ms,omitempty"`
	ElapsedMS     *int64 `json:"elapsed_ms,omitempty" doc:"from the registration to the ending"`
	Archived      bool   `json:"archived,omitempty" doc:"ended, and not retained by its registry any more"`
}

// PeerHandle says where a member can be reached as a peer.
type PeerHandle struct {
	Name string `json:"peer_name"`
	Peer struct {
		Name    string `json:"name"`
		ID      string `json:"peer_id"`
		Address string `json:"address"`
	} `json:"peer"`
}

// OpProgress is what an operation said of itself.
type OpProgress struct {
	Message string   `json:"message"`
	Percent *float64 `json:"percent,omitempty"`
	AtMS    int64    `json:"at_ms"`
}

// Operations is one page of GET /operations.
type Operations struct {
	Operations []Operation `json:"operations"`
	Page
}

// OperationProgress is GET /operations/{id}/progress.
type OperationProgress struct {
	Progress []OpProgress `json:"progress" doc:"the last updates, oldest first"`
}

// OperationTree is GET /operations/tree.
type OperationTree struct {
	Operations []OperationBranch `json:"operations"`
}

// OperationBranch is an operation and those that its child owns.
type OperationBranch struct {
	Operation
	Below []OperationBranch `json:"below"`
}

// OperationWait is the body of POST /operations/wait.
type OperationWait struct {
	IDs     []string `json:"ids" maxItems:"1000"`
	Timeout string   `json:"timeout,omitempty" doc:"such as 30s or 5m; without it the wait lasts until all have ended"`
}

// OperationsWaited is its answer.
type OperationsWaited struct {
	Satisfied bool              `json:"satisfied" doc:"all have ended"`
	IDs       []string          `json:"operation_ids"`
	Outcomes  []json.RawMessage `json:"outcomes" doc:"of operation_ids, in their order; null for those that live"`
}

// OperationCancel is the body of POST /operations/{id}/cancel. It may be left
// out.
type OperationCancel struct {
	Reason    string `json:"reason,omitempty" maxLength:"4096"`
	RequestID string `json:"request_id,omitempty" maxLength:"256" doc:"a repeat with it is answered as the first call was"`
}

// TerminateOwner is the body of POST /operations/terminate-owner.
type TerminateOwner struct {
	Owner  string `json:"owner_session_id" minLength:"1"`
	Reason string `json:"reason"`
}

// OperationsTerminated is its answer.
type OperationsTerminated struct {
	Terminated []string `json:"terminated" doc:"those that this call has ended, in order"`
}
