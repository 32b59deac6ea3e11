package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManuals reads the examples of the manuals: each is a good file, or a part
// of one that leaves out providers or profiles.
func TestManuals(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../../README.md")
	examples := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			examples++
			example, _, _ := strings.Cut(block, "```")
			whole := strings.Contains(example, "providers:") && strings.Contains(example, "profiles:")
			_, warnings, err := Parse(filepath.Base(page), []byte(example), Options{})
			for _, fault := range faults(err) {
				if whole || !ofThePart(fault) {
					t.Error(fault)
				}
			}
			for _, w := range warnings {
				if whole {
					t.Error(w)
				}
			}
		}
	}
	if examples < 20 {
		t.Errorf("only %d examples", examples)
	}
}

func faults(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// ofThePart reports whether a fault is only that the rest of the file is not
// there.
func ofThePart(fault string) bool {
	for _, missing := range []string{"this key is missing", "there is neither a profile nor", "there is no profile", "there is no provider", "the file is empty"} {
		if strings.Contains(fault, missing) {
			return true
		}
	}
	return false
}
