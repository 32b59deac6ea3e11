package config

import (
	"slices"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"hedgehog:7b", "Qwen3:8b", "qwen3-coder:30b", "squirrel"}
	for _, tt := range []struct {
		name string
		n    int
		want []string
	}{
		{"squirel", 1, []string{"squirrel"}},
		{"qwen3", 2, []string{"Qwen3:8b", "qwen3-coder:30b"}},
		{"QWEN3:8B", 1, []string{"Qwen3:8b"}},
		{"hedgehog", 1, []string{"hedgehog:7b"}},
		{"x", 9, []string{"Qwen3:8b", "squirrel", "hedgehog:7b", "qwen3-coder:30b"}},
	} {
		if got := Nearest(tt.name, known, tt.n); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := Nearest("a", nil, 3); len(got) != 0 {
		t.Errorf("of nothing %v is near", got)
	}
}
