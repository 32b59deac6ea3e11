package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the Makefile; a binary from `go install` takes them from the module.
var (
	version = ""
	commit  = ""
	date    = ""
)

// buildInfo is what `drey version` tells, and what the daemon calls itself.
type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func build() buildInfo {
	b := buildInfo{Version: version, Commit: commit, Date: date, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && b.Commit == "":
				b.Commit = s.Value[:min(12, len(s.Value))] // as the Makefile writes it
			case s.Key == "vcs.time" && b.Date == "":
				b.Date = s.Value
			}
		}
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "dev"
	}
	return b
}

func versionCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which drey this is",
		Example: "  drey version --json | jq -r .version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build()
			if c.json {
				return c.printJSON(b)
			}
			fmt.Fprintf(c.stdout, "drey %s", b.Version)
			if b.Commit != "" {
				fmt.Fprintf(c.stdout, " (%s)", b.Commit)
			}
			fmt.Fprintf(c.stdout, ", %s, %s/%s\n", b.Go, b.OS, b.Arch)
			return nil
		},
	}
}
