package discover

import "net/url"

// VendorOf returns what is known of whoever serves a URL: the environment
// variable that usually holds its key, and the base of its paths. ok is false
// for a host that is no known vendor's.
func VendorOf(base string) (keyEnv, usual string, ok bool) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return "", "", false
	}
	for _, v := range vendors {
		if theirs, err := url.Parse(v.url); err == nil && theirs.Hostname() == u.Hostname() {
			return v.env, v.url, true
		}
	}
	return "", "", false
}
