package client

import (
	"context"
	"net/url"

	"github.com/dreyhq/drey/internal/api"
)

// OperationQuery selects operations. The zero value selects the first 100 that
// are live or retained.
type OperationQuery struct {
	Active   bool // only those that live
	Status   []string
	Kind     string
	Registry string
	Owner    string
	Child    string
	Label    []string // KEY=VALUE
	Name     string   // a prefix
	Archived bool     // those that are not retained any more
	Cursor   string   // NextCursor of the page before
	Limit    int      // 0 = 100, at most 1000
}

// Operations returns one page of operations.
func (c *Client) Operations(ctx context.Context, q OperationQuery) (api.Operations, error) {
	v := url.Values{}
	if q.Active {
		v.Set("active", "true")
	}
	for _, s := range q.Status {
		v.Add("status", s)
	}
	for _, l := range q.Label {
		v.Add("label", l)
	}
	set(v, "kind", q.Kind)
	set(v, "registry", q.Registry)
	set(v, "owner", q.Owner)
	set(v, "child", q.Child)
	set(v, "name", q.Name)
	if q.Archived {
		v.Set("archived", "true")
	}
	set(v, "cursor", q.Cursor)
	setLimit(v, q.Limit)
	var page api.Operations
	return page, c.get(ctx, "/operations", v, &page)
}

// Operation returns one operation, an archived one too.
func (c *Client) Operation(ctx context.Context, id string) (api.Operation, error) {
	var op api.Operation
	return op, c.get(ctx, "/operations/"+url.PathEscape(id), nil, &op)
}

// OperationProgress returns what an operation said of itself lately.
func (c *Client) OperationProgress(ctx context.Context, id string) (api.OperationProgress, error) {
	var p api.OperationProgress
	return p, c.get(ctx, "/operations/"+url.PathEscape(id)+"/progress", nil, &p)
}

// OperationTree returns operations, each above those that its child owns: all,
// or those below root, or those of a mob.
func (c *Client) OperationTree(ctx context.Context, root, mob string) (api.OperationTree, error) {
	v := url.Values{}
	set(v, "root", root)
	set(v, "mob", mob)
	var t api.OperationTree
	return t, c.get(ctx, "/operations/tree", v, &t)
}

// WaitOperations returns when the operations have ended, or the time is over:
// Satisfied is false then.
func (c *Client) WaitOperations(ctx context.Context, w api.OperationWait) (api.OperationsWaited, error) {
	var out api.OperationsWaited
	return out, c.post(ctx, "/operations/wait", w, &out)
}

// CancelOperation cancels an operation and returns it as it is then.
func (c *Client) CancelOperation(ctx context.Context, id string, how api.OperationCancel) (api.Operation, error) {
	var op api.Operation
	return op, c.post(ctx, "/operations/"+url.PathEscape(id)+"/cancel", how, &op)
}

// TerminateOwner ends the operations of a session and those below them.
func (c *Client) TerminateOwner(ctx context.Context, how api.TerminateOwner) (api.OperationsTerminated, error) {
	var out api.OperationsTerminated
	return out, c.post(ctx, "/operations/terminate-owner", how, &out)
}
