package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// AppendAndWait is Journal.Append on top of Journal.Submit.
func AppendAndWait(ctx context.Context, submit func(done func(Commit, error), appends ...Append), appends ...Append) (Commit, error) {
	if err := ctx.Err(); err != nil {
		return Commit{}, err
	}
	type result struct {
		commit Commit
		err    error
	}
	answer := make(chan result, 1)
	submit(func(c Commit, err error) { answer <- result{c, err} }, appends...)
	select {
	case a := <-answer:
		return a.commit, a.err
	case <-ctx.Done():
		return Commit{}, ctx.Err()
	}
}

// Check returns what is wrong with an append that no store can write; see Fail.
func (a Append) Check() error {
	switch {
	case a.Expect < AnyVersion:
		return a.Fail(fmt.Errorf("%d is no version", a.Expect))
	case a.Delete && a.Snapshot != nil:
		return a.Fail(errors.New("a snapshot and a deletion exclude each other"))
	case a.Snapshot != nil && !json.Valid(a.Snapshot):
		return a.Fail(errors.New("the snapshot is not JSON"))
	}
	return nil
}

// Fail names the append in an error.
func (a Append) Fail(err error) error {
	return fmt.Errorf("append to %s %q: %w", a.Machine, a.ID, err)
}
