package postgres

import (
	"context"
	"fmt"

	"github.com/dreyhq/drey/internal/store"
)

// Checkpoint implements store.Upkeeper: it is the server's business.
func (s *Store) Checkpoint(context.Context, store.Pace) (store.Checkpointed, error) {
	return store.Checkpointed{}, fmt.Errorf("checkpoint: %w", store.ErrNotOurs)
}

// Backup implements store.Upkeeper: it is the server's business, whose own
// backups hold what a file of ours could not, the moments between.
func (s *Store) Backup(context.Context, string, store.Pace) (store.Copied, error) {
	return store.Copied{}, fmt.Errorf("backup: %w", store.ErrNotOurs)
}

// Optimize implements store.Upkeeper: it is the server's business, which
// analyzes and vacuums by itself.
func (s *Store) Optimize(context.Context, store.Pace) (store.Optimized, error) {
	return store.Optimized{}, fmt.Errorf("optimize: %w", store.ErrNotOurs)
}
