package daemon

import (
	"fmt"
	"os"
	"strings"

	"github.com/dreyhq/drey/internal/config"
)

// secrets resolves references to secrets.
type secrets struct {
	env      func(string) (string, bool)
	userHome string
	warnings []string
}

// read returns the secret, or "" if it is missing or blank: that takes its
// user out and does not stop the start.
func (s *secrets) read(ref config.Secret) string {
	if ref.Env != "" {
		v, _ := s.env(ref.Env)
		return strings.TrimSpace(v)
	}
	path := s.expand(ref.File)
	info, err := os.Stat(path)
	if err != nil {
		s.warn("the secret %s cannot be read: %v", ref, err)
		return ""
	}
	if info.Mode().Perm()&0o077 != 0 {
		s.warn("the secret file %s can be read by others; run: chmod 600 %s", path, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		s.warn("the secret %s cannot be read: %v", ref, err)
		return ""
	}
	return strings.TrimSpace(string(data))
}

func (s *secrets) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// expand replaces a leading ~/ by the user's home.
func (s *secrets) expand(path string) string { return config.ExpandHome(path, s.userHome) }
