package service

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
)

var update = flag.Bool("update", false, "rewrite golden files")

func spec() Spec {
	return Spec{
		Program: "/usr/local/bin/drey", Home: "/home/ann/.drey", Addr: "127.0.0.1:3739",
		Socket: "/home/ann/.drey/drey.sock", Log: "/home/ann/.drey/logs/drey.log", Wake: "/home/ann/.drey/wake.signal",
		UserHome: "/home/ann",
	}
}

// strange is a spec that needs every kind of quoting.
func strange() Spec {
	s := spec()
	s.Program, s.Home = `/opt/my "drey"/50%/$x/drey`, `/srv/a b\c`
	s.Config = "/etc/drey & co.yaml"
	s.Socket, s.Log, s.Wake = s.Home+"/drey.sock", s.Home+"/logs/drey.log", s.Home+"/wake.signal"
	s.Addr = ":3739"
	s.System, s.User = true, "ann"
	return s
}

func TestFiles(t *testing.T) {
	for name, row := range map[string]struct {
		m Manager
		s Spec
	}{
		"systemd": {Systemd, spec()}, "systemd-strange": {Systemd, strange()},
		"launchd": {Launchd, spec()}, "launchd-strange": {Launchd, strange()},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := row.m.Files(row.s)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, f := range files {
				b.WriteString("==> " + f.Path + "\n" + f.Content)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got); -update rewrites:\n%s", diff)
			}
		})
	}
}

// TestSystemdTakesTheUnits has the real systemd read them, where there is one.
func TestSystemdTakesTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	for name, s := range map[string]Spec{"plain": spec(), "strange": strange()} {
		t.Run(name, func(t *testing.T) {
			// The program must be there, with a name that needs quoting.
			dir := filepath.Join(t.TempDir(), "a 50% $b")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			s.Program = filepath.Join(dir, "drey")
			if err := os.WriteFile(s.Program, []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			if s.System {
				s.User = "root" // one that exists everywhere
			}
			files, err := Systemd.Files(s)
			if err != nil {
				t.Fatal(err)
			}
			units := t.TempDir()
			args := []string{"verify", "--man=no"}
			for _, f := range files {
				path := filepath.Join(units, filepath.Base(f.Path))
				if err := os.WriteFile(path, []byte(f.Content), 0o644); err != nil {
					t.Fatal(err)
				}
				args = append(args, path)
			}
			out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
			if err != nil || strings.Contains(string(out), units) {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

func TestWhatNoFileCanHold(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"line break":    func(s *Spec) { s.Home = "/a\nExecStart=/bin/rm" },
		"relative path": func(s *Spec) { s.Program = "drey" },
		"no user":       func(s *Spec) { s.System = true },
	} {
		s := spec()
		change(&s)
		if _, err := Systemd.Files(s); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestManagerOf(t *testing.T) {
	for goos, want := range map[string]string{"linux": "systemd", "darwin": "launchd", "plan9": ""} {
		m, err := ManagerOf(goos)
		if got := m.String(); want != "" && (err != nil || got != want) || want == "" && err == nil {
			t.Errorf("%s: %s, %v", goos, got, err)
		}
	}
}

// manager is a service manager that notes what it is told.
type manager struct {
	told   []string
	answer map[string]string // by the first words of a call
	fail   map[string]error
}

func (m *manager) run(_ context.Context, program string, args ...string) (string, error) {
	call := strings.Join(append([]string{program}, args...), " ")
	m.told = append(m.told, call)
	for prefix, err := range m.fail {
		if strings.HasPrefix(call, prefix) {
			return "it says no", err
		}
	}
	for prefix, out := range m.answer {
		if strings.HasPrefix(call, prefix) {
			return out, nil
		}
	}
	return "", nil
}

func TestInstallAndUninstall(t *testing.T) {
	for name, row := range map[string]struct {
		m             Manager
		install, stop []string
		files         []string
	}{
		"systemd": {Systemd,
			[]string{"systemctl --user show --property=Version", "systemctl --user daemon-reload", "systemctl --user enable --now drey.socket drey-control.socket drey-wake.path"},
			[]string{"systemctl --user show --property=Version", "systemctl --user disable --now drey.socket drey-control.socket drey-wake.path drey.service", "systemctl --user daemon-reload"},
			[]string{"drey-control.socket", "drey-wake.path", "drey.service", "drey.socket"}},
		"launchd": {Launchd,
			[]string{"launchctl print gui/501", "launchctl bootout gui/501/com.github.dreyhq.drey", "launchctl bootstrap gui/501 HOME/Library/LaunchAgents/com.github.dreyhq.drey.plist"},
			[]string{"launchctl print gui/501", "launchctl bootout gui/501/com.github.dreyhq.drey"},
			[]string{"com.github.dreyhq.drey.plist"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			s.UserHome = t.TempDir()
			var m manager
			h := Host{Manager: row.m, UID: 501, Run: m.run}
			check := func(want []string) {
				t.Helper()
				for i := range want {
					want[i] = strings.ReplaceAll(want[i], "HOME", s.UserHome)
				}
				if diff := cmp.Diff(want, m.told); diff != "" {
					t.Errorf("the manager is told (-want +got):\n%s", diff)
				}
				m.told = nil
			}
			if found, err := h.Uninstall(t.Context(), s); found || err != nil {
				t.Errorf("nothing to uninstall: %v, %v", found, err)
			}
			check(nil)
			for range 2 {
				if err := h.Install(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				check(append([]string(nil), row.install...))
			}
			files, err := row.m.Files(s)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(filepath.Dir(files[0].Path))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if diff := cmp.Diff(row.files, names); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if found, err := h.Uninstall(t.Context(), s); !found || err != nil {
				t.Errorf("uninstall: %v, %v", found, err)
			}
			check(row.stop)
			if _, err := os.Lstat(files[0].Path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file is left: %v", err)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	s := spec()
	s.UserHome = t.TempDir()
	m := manager{answer: map[string]string{
		"systemctl --user show --property=ActiveState,SubState,UnitFileState drey.s": "ActiveState=active\nSubState=listening\nUnitFileState=enabled",
		"systemctl --user show --property=ActiveState,SubState,UnitFileState drey-":  "ActiveState=inactive\nSubState=dead\nUnitFileState=",
	}}
	got, err := Host{Manager: Systemd, Run: m.run}.Status(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	want := []Part{
		{Name: "drey.service", Enabled: true, State: "active (listening)", Active: true},
		{Name: "drey.socket", Enabled: true, State: "active (listening)", Active: true},
		{Name: "drey-control.socket", State: "inactive (dead)"},
		{Name: "drey-wake.path", State: "inactive (dead)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m = manager{answer: map[string]string{"launchctl print gui/5/": "com.github.dreyhq.drey = {\n\tstate = running\n}"}}
	got, err = Host{Manager: Launchd, UID: 5, Run: m.run}.Status(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	want = []Part{{Name: "com.github.dreyhq.drey.plist", Enabled: true, State: "running", Active: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWithoutAManagerNothingIsWritten(t *testing.T) {
	s := spec()
	s.UserHome = t.TempDir()
	missing := &exec.Error{Name: "systemctl", Err: exec.ErrNotFound}
	for want, fail := range map[string]error{"there is no systemctl here": missing, "no user's session of systemd answers: it says no": errors.New("exit status 1")} {
		m := manager{fail: map[string]error{"systemctl": fail}}
		err := Host{Manager: Systemd, Run: m.run}.Install(t.Context(), s)
		if e, ok := errors.AsType[*drey.Error](err); !ok || e.Code != "no_service_manager" || !strings.Contains(err.Error(), want) || !strings.Contains(e.Hint, "drey up --detach") {
			t.Errorf("%v, want %s", err, want)
		}
		if entries, _ := os.ReadDir(s.UserHome); len(entries) > 0 {
			t.Error("files were written for a manager that is not there")
		}
	}
	m := manager{fail: map[string]error{"systemctl --user enable": errors.New("exit status 1")}}
	if err := (Host{Manager: Systemd, Run: m.run}).Install(t.Context(), s); err == nil || !strings.Contains(err.Error(), "it says no") {
		t.Errorf("the manager's refusal is told as %v", err)
	}
}
