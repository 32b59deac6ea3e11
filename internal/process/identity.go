package process

import (
	"fmt"
	"syscall"
	"time"
)

// markName is the variable by which the processes of a group are known when
// the first of them is gone.
const markName = "DREY_PROCESS"

// Identity says which processes a managed backend is, beyond the life of the
// daemon that started it. Its caller keeps it in the store from the start
// until Wait returns; a later daemon hands it to KillSurvivor. The zero value
// is nobody.
type Identity struct {
	PID  int `json:"pid"`
	PGID int `json:"pgid"`
	// StartTime tells the process from every other one that ever had its
	// number. It is opaque: equal or not.
	StartTime string `json:"start_time"`
	// Mark is a random value in the environment of the process and of what it
	// starts. It is no secret.
	Mark string `json:"mark"`
}

// survivors reports whether processes of this identity live. The numbers alone
// prove nothing: after a while, or a reboot, they are other people's. Either
//  1. the first process is there and began when ours did, also if it has ended
//     and is not reaped yet; or
//  2. it is gone, and one of its group carries our mark. (Who has its number
//     now is not in question: no number is given out again while a group has
//     it.)
func (id Identity) survivors() bool {
	// What is no group that Start made is never signalled: -1 is everybody,
	// and our own group is us.
	if id.PID <= 1 || id.PGID != id.PID || id.PGID == syscall.Getpgrp() {
		return false
	}
	left := members(id.PGID)
	if len(left) == 0 {
		return false
	}
	if began := startTime(id.PID); began != "" { // 1
		return began == id.StartTime
	}
	for _, pid := range left { // 2
		if id.Mark != "" && hasVariable(pid, markName+"="+id.Mark) {
			return true
		}
	}
	return false
}

// KillSurvivor ends what lives of a backend that an earlier daemon started and
// could not stop: SIGTERM to its group, and SIGKILL after the grace. It reports
// whether there was anything to end, and returns when all of it is gone.
// Processes that only have the numbers of the identity are left alone, without
// an error. The error is ErrImmortal.
func KillSurvivor(id Identity, grace time.Duration) (bool, error) {
	if !id.survivors() {
		return false, nil
	}
	_ = syscall.Kill(-id.PGID, syscall.SIGTERM)
	if awaitGone(id.PGID, time.Now().Add(grace)) {
		return true, nil
	}
	// Time has passed: ask again whose the numbers are.
	for end := time.Now().Add(killWait); id.survivors(); {
		if time.Now().After(end) {
			return true, fmt.Errorf("end process group %d: %w", id.PGID, ErrImmortal)
		}
		_ = syscall.Kill(-id.PGID, syscall.SIGKILL)
		awaitGone(id.PGID, time.Now().Add(lookAgain))
	}
	return true, nil
}
