package config

import "github.com/dreyhq/drey"

// Lifecycle says when the daemon goes to sleep, and what it does there. Source
// of the defaults: the lifecycle contract §9.
type Lifecycle struct {
	DrowsyAfter      drey.Duration `yaml:"drowsy_after" default:"5m" range:"1ms.." doc:"idle time until DROWSY, less than sleep_after"`
	SleepAfter       drey.Duration `yaml:"sleep_after" default:"30m" range:"1ms.." doc:"idle time until SLEEP"`
	HibernateAfter   drey.Duration `yaml:"hibernate_after" default:"30m" range:"1ms.." doc:"idle time until HIBERNATION, at least sleep_after"`
	Hibernate        string        `yaml:"hibernate" default:"auto" enum:"auto|owned|never" doc:"whether the process may end when idle: auto where somebody is known to wake it, owned on your word that a custom activator does"`
	ShadowRun        bool          `yaml:"shadow_run" default:"false" restart:"yes" doc:"go through all states without ever ending the process"`
	BootGrace        drey.Duration `yaml:"boot_grace" default:"60s" range:"1ms.." doc:"after a start, without idle events"`
	ActivityFlush    drey.Duration `yaml:"activity_flush" default:"30s" range:"1ms.." doc:"how often activity is written down at most"`
	LockWait         drey.Duration `yaml:"lock_wait" default:"2s" range:"0..1m" restart:"yes" doc:"how long a start waits for a predecessor that is leaving"`
	DrainTimeout     drey.Duration `yaml:"drain_timeout" default:"20s" range:"0..10m" doc:"how long answers under way may still end at a stop"`
	CycleDeadline    drey.Duration `yaml:"cycle_deadline" default:"48h" range:"1ms.." doc:"longest time without a full sleep cycle, however busy it is"`
	QuarantineTTL    drey.Duration `yaml:"quarantine_ttl" default:"24h" range:"1ms.." doc:"pause of the sleep cycle after a step has failed three times"`
	BackupKeep       int           `yaml:"backup_keep" default:"7" range:"1..1000" doc:"copies of the store that are kept"`
	BackupEvery      drey.Duration `yaml:"backup_every" default:"24h" range:"0.." doc:"age of the newest copy at which another is made"`
	LogCompressAfter drey.Duration `yaml:"log_compress_after" default:"30d" range:"1ms.." doc:"age at which the lifecycle's logs are compressed"`
	LogKeep          drey.Duration `yaml:"log_keep" default:"365d" range:"0.." doc:"age at which compressed ones are deleted; 0 = never"`
}

// lifecycle checks the order of the idle times.
func (c *checker) lifecycle() {
	l := &c.f.Lifecycle
	const drowsy, sleep, hibernate = "lifecycle.drowsy_after", "lifecycle.sleep_after", "lifecycle.hibernate_after"
	if !c.sound(drowsy) || !c.sound(sleep) || !c.sound(hibernate) {
		return
	}
	if l.DrowsyAfter >= l.SleepAfter {
		c.faulty(drowsy, "not less than sleep_after, which is "+l.SleepAfter.String(), "the daemon is DROWSY before it goes to SLEEP: shorten drowsy_after or lengthen sleep_after", sleep)
	}
	if l.SleepAfter > l.HibernateAfter {
		c.faulty(hibernate, "less than sleep_after, which is "+l.SleepAfter.String(), "the daemon goes to SLEEP before it goes into HIBERNATION: lengthen hibernate_after or shorten sleep_after", sleep)
	}
}
