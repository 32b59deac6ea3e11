package service

import (
	"path/filepath"
	"strings"
)

// Names of the units. Two sockets and not one, since a socket unit gives all
// its descriptors one name.
const (
	unitService = "drey.service"
	unitGateway = "drey.socket"
	unitControl = "drey-control.socket"
	unitWake    = "drey-wake.path"
)

// enabled are the units that start with the system or the session; they start
// the service.
var enabled = []string{unitGateway, unitControl, unitWake}

// systemdDir is where an administrator's or a user's units are.
func systemdDir(s Spec) string {
	if s.System {
		return "/etc/systemd/system"
	}
	return filepath.Join(s.UserHome, ".config", "systemd", "user")
}

func systemdFiles(s Spec) []File {
	dir := systemdDir(s)
	return []File{
		{filepath.Join(dir, unitService), systemdService(s)},
		{filepath.Join(dir, unitGateway), systemdSocket(s, "gateway", s.Addr)},
		{filepath.Join(dir, unitControl), systemdSocket(s, "control", s.Socket)},
		{filepath.Join(dir, unitWake), systemdPath(s)},
	}
}

func systemdService(s Spec) string {
	var b strings.Builder
	line := func(parts ...string) {
		b.WriteString(strings.Join(parts, "") + "\n")
	}
	line("[Unit]")
	line("Description=Drey, a home for AI agents")
	line("Documentation=https://github.com/dreyhq/drey")
	line("Requires=", unitGateway, " ", unitControl)
	line("After=", unitGateway, " ", unitControl)
	line("# Restarts alone never reach the limit: one that is hit stops the sockets too,")
	line("# and then nothing would start drey again.")
	line("StartLimitIntervalSec=60")
	line("StartLimitBurst=20")
	line()
	line("[Service]")
	line("Type=notify")
	if s.System {
		line("User=", escape(s.User))
	}
	exec := []string{quote(s.Program, false), "serve"} // of the program itself no variable is replaced
	if s.Config != "" {
		exec = append(exec, "--config", quote(s.Config, true))
	}
	line("Environment=", quote("DREY_HOME="+s.Home, false))
	line("ExecStart=", strings.Join(exec, " "))
	line("ExecReload=/bin/kill -HUP $MAINPID")
	line("Sockets=", unitGateway, " ", unitControl)
	line("# Exit 0 is hibernation or a stop: the sockets wait. 2 is a bad configuration, 4 a")
	line("# home that another drey serves: starting it again would not help.")
	line("Restart=on-failure")
	line("RestartSec=5")
	line("RestartPreventExitStatus=2 4")
	line("# A stop lets answers under way end for 20 s.")
	line("TimeoutStopSec=40")
	line("KillMode=mixed")
	line("UMask=0077")
	return b.String()
}

func systemdSocket(s Spec, name, address string) string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	line("[Unit]")
	line("Description=Drey, ", map[string]string{"gateway": "the address of its gateway", "control": "its control socket"}[name])
	line("Documentation=https://github.com/dreyhq/drey")
	line()
	line("[Socket]")
	line("ListenStream=", escape(strings.TrimPrefix(address, ":"))) // a lone port is every address
	line("FileDescriptorName=", name)
	line("Service=", unitService)
	line("Accept=no")
	if name == "control" {
		line("SocketMode=0600")
		line("DirectoryMode=0700")
		if s.System {
			line("SocketUser=", escape(s.User))
		}
		line("RemoveOnStop=yes")
	}
	line()
	line("[Install]")
	line("WantedBy=sockets.target")
	return b.String()
}

func systemdPath(s Spec) string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	line("[Unit]")
	line("Description=Drey, wake requests")
	line("Documentation=https://github.com/dreyhq/drey")
	line()
	line("[Path]")
	line("PathExists=", escape(s.Wake))
	line("Unit=", unitService)
	line()
	line("[Install]")
	line("WantedBy=paths.target")
	return b.String()
}

// escape protects a value from systemd's specifiers, which begin with %.
func escape(v string) string { return strings.ReplaceAll(v, "%", "%%") }

// quote makes one word of a value, as systemd splits lines. command says that
// the line is a command's, where $ begins a variable.
func quote(v string, command bool) string {
	v = escape(v)
	if command {
		v = strings.ReplaceAll(v, "$", "$$")
	}
	if v != "" && !strings.ContainsAny(v, " \"'\\;") {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}
