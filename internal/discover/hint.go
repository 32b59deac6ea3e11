package discover

import "net/url"

// KeyVariable returns the name of the environment variable that usually holds
// the key of whoever serves a URL; "" for a host that is no known vendor's.
func KeyVariable(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	for _, v := range vendors {
		if theirs, err := url.Parse(v.url); err == nil && theirs.Hostname() == u.Hostname() {
			return v.env
		}
	}
	return ""
}
