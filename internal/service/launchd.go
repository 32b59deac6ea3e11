package service

import (
	"encoding/xml"
	"path/filepath"
	"strings"
)

// label names the job for launchd.
const label = "com.github.dreyhq.drey"

// launchdFiles has launchd keep `drey up`, which wakes the daemon. WatchPaths
// is not needed with it: the waker sees wake requests by itself.
func launchdFiles(s Spec) []File {
	dir := filepath.Join(s.UserHome, "Library", "LaunchAgents")
	if s.System {
		dir = "/Library/LaunchDaemons"
	}
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	text := func(v string) string {
		var out strings.Builder
		_ = xml.EscapeText(&out, []byte(v)) // a Builder takes everything
		return "<string>" + out.String() + "</string>"
	}
	line(`<?xml version="1.0" encoding="UTF-8"?>`)
	line(`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">`)
	line(`<plist version="1.0">`)
	line(`<dict>`)
	line(`	<key>Label</key>`)
	line(`	`, text(label))
	line(`	<key>ProgramArguments</key>`)
	line(`	<array>`)
	args := []string{s.Program, "up"}
	if s.Config != "" {
		args = append(args, "--config", s.Config)
	}
	for _, a := range args {
		line(`		`, text(a))
	}
	line(`	</array>`)
	line(`	<key>EnvironmentVariables</key>`)
	line(`	<dict>`)
	line(`		<key>DREY_HOME</key>`)
	line(`		`, text(s.Home))
	line(`	</dict>`)
	if s.System {
		line(`	<key>UserName</key>`)
		line(`	`, text(s.User))
	}
	line(`	<key>RunAtLoad</key>`)
	line(`	<true/>`)
	line(`	<key>KeepAlive</key>`)
	line(`	<dict>`)
	line(`		<key>SuccessfulExit</key>`)
	line(`		<false/>`)
	line(`	</dict>`)
	line(`	<key>ExitTimeOut</key>`)
	line(`	<integer>40</integer>`)
	line(`	<key>Umask</key>`)
	line(`	<integer>63</integer>`)
	line(`	<key>StandardOutPath</key>`)
	line(`	`, text(s.Log))
	line(`	<key>StandardErrorPath</key>`)
	line(`	`, text(s.Log))
	line(`</dict>`)
	line(`</plist>`)
	return []File{{filepath.Join(dir, label+".plist"), b.String()}}
}
