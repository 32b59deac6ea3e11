package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// keeper starts a daemon with a backend of these habits, kills it as nobody
// should, and returns who is left.
func keeper(t *testing.T, habits ...string) Identity {
	t.Helper()
	argv := self(append([]string{"keeper"}, habits...)...)
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var id Identity
	if err == nil {
		err = json.Unmarshal(line, &id)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	t.Cleanup(func() {
		if left := members(id.PGID); len(left) > 0 {
			t.Errorf("processes %v are left", left)
			_ = syscall.Kill(-id.PGID, syscall.SIGKILL)
		}
	})
	return id
}

func TestKilledDaemonTakesItsBackendAlong(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	id := keeper(t)
	if !awaitGone(id.PGID, time.Now().Add(5*time.Second)) {
		t.Error("the backend lives on")
	}
	if killed, err := KillSurvivor(id, time.Second); killed || err != nil {
		t.Errorf("there was nobody: %v, %v", killed, err)
	}
}

func TestKillSurvivor(t *testing.T) {
	t.Run("who does not listen", func(t *testing.T) {
		id := keeper(t, "ignore-term", "grandchildren")
		if killed, err := KillSurvivor(id, 20*time.Millisecond); !killed || err != nil {
			t.Errorf("%v, %v", killed, err)
		}
		noneLeft(t, id.PGID)
	})
	t.Run("whose first process is gone", func(t *testing.T) {
		const mark = "TESTMARK"
		r := Run(t.Context(), Command{Argv: self("leave", "linger"), Env: []string{markName + "=" + mark}})
		var pid int
		if _, err := fmt.Sscanf(r.Output, "left %d lingering", &pid); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		pgid, err := syscall.Getpgid(pid)
		if err != nil || pgid == pid || startTime(pgid) != "" {
			t.Fatalf("group %d of %d, %v", pgid, pid, err)
		}
		for _, other := range []string{"", "TESTMAR", "SOMEBODYELSE"} {
			if killed, err := KillSurvivor(Identity{PID: pgid, PGID: pgid, StartTime: "gone", Mark: other}, 0); killed || err != nil {
				t.Errorf("workers of %q: %v, %v", other, killed, err)
			}
		}
		if len(members(pgid)) != 1 {
			t.Fatal("they were signalled")
		}
		if killed, err := KillSurvivor(Identity{PID: pgid, PGID: pgid, StartTime: "gone", Mark: mark}, 20*time.Millisecond); !killed || err != nil {
			t.Errorf("%v, %v", killed, err)
		}
		noneLeft(t, pgid)
	})
}

func TestKillSurvivorSparesOthers(t *testing.T) {
	p := begin(t, Spec{})
	ready(t, p)
	id := p.Identity()
	for name, other := range map[string]Identity{
		"a number that was given out again": {PID: id.PID, PGID: id.PGID, StartTime: id.StartTime + "1", Mark: id.Mark},
		"a record without a start time":     {PID: id.PID, PGID: id.PGID, Mark: id.Mark},
		"a group that is not its own":       {PID: id.PID, PGID: id.PID - 1, StartTime: id.StartTime},
		"everybody":                         {PID: 1, PGID: 1, StartTime: startTime(1)},
		"our own group":                     {PID: syscall.Getpgrp(), PGID: syscall.Getpgrp(), StartTime: startTime(syscall.Getpgrp())},
		"nobody":                            {},
	} {
		if killed, err := KillSurvivor(other, 0); killed || err != nil {
			t.Errorf("%s: %v, %v", name, killed, err)
		}
	}
	if status, err := ask(p, "/health"); status != 200 || err != nil {
		t.Error("it was signalled:", status, err)
	}
}

func TestStartTimeTellsProcessesApart(t *testing.T) {
	p, q := begin(t, Spec{}), begin(t, Spec{})
	if p.Identity().StartTime != startTime(p.PID()) || p.Identity().Mark == q.Identity().Mark {
		t.Errorf("%+v, %+v", p.Identity(), q.Identity())
	}
	if startTime(0) != "" {
		t.Error("nobody has a start time")
	}
}
