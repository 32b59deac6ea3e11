package config

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest returns up to n of the known names, the one first that name most
// probably means: by the letters to change, where a name that contains the
// other counts as near. It leaves known as it is.
func Nearest(name string, known []string, n int) []string {
	low := strings.ToLower(name)
	far := func(k string) int {
		k = strings.ToLower(k)
		d := distance(low, k)
		if low != "" && (strings.Contains(k, low) || strings.Contains(low, k)) {
			d = min(d, 1)
		}
		return d
	}
	out := slices.Clone(known)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(far(a), far(b)) })
	return out[:min(n, len(out))]
}
