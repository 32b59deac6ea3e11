package client

import (
	"context"

	"github.com/dreyhq/drey/internal/api"
)

// Budgets returns what was spent, and what may still be.
func (c *Client) Budgets(ctx context.Context) (api.Budgets, error) {
	var b api.Budgets
	return b, c.get(ctx, "/budgets", nil, &b)
}
