package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestManualOfHealing reads the examples of docs/healing.md: each is a whole
// file, and each is good.
func TestManualOfHealing(t *testing.T) {
	text, err := os.ReadFile("../../docs/healing.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("%d examples", len(blocks))
	}
	for i, block := range blocks {
		example, _, _ := strings.Cut(block, "```")
		_, warnings, err := Parse(fmt.Sprintf("example %d", i+1), []byte(example), Options{})
		if err != nil {
			t.Error(err)
		}
		for _, w := range warnings {
			t.Error(w)
		}
	}
}
