package process

import "os"

// passed are the variables of drey's own environment that a child gets where
// they are set (the healing contract §6). All others, and so every key, stay here.
var passed = [...]string{
	"PATH", "HOME", "LANG", "TMPDIR",
	"USER", "LOGNAME", "SHELL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
}

// cleanEnv returns the environment of a child. Of two entries with one name
// the later counts, so extra may replace what is passed.
func cleanEnv(own []string, extra []string) []string {
	env := make([]string, 0, len(passed)+len(own)+len(extra))
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(append(env, extra...), own...)
}
