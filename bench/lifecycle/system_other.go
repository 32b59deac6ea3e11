//go:build !linux

package main

import (
	"errors"
	"fmt"
	"time"
)

// drop is Linux's alone.
func drop(path string) error { return fmt.Errorf("drop %s: %w", path, errors.ErrUnsupported) }

// cpu is Linux's alone.
func cpu(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// resident is Linux's alone.
func resident(int) (all, own float64, err error) { return 0, 0, errors.ErrUnsupported }

func load() string { return "unknown" }
