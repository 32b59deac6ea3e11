package why

// skipped says why a provider was passed over, by the word of provider-skipped
// (the gateway contract §5).
var skipped = map[string]string{
	"no-credential":     "its credential is missing",
	"paid-gate":         "it costs money, and allow_paid is off",
	"excluded":          "it is excluded",
	"restarting":        "it is being restarted",
	"parked-rate-limit": "it had asked for a pause (rate limit)",
	"parked-quota":      "its quota is used up",
	"parked-auth":       "it had refused its credential",
	"resource":          "it had run out of memory",
	"budget":            "a budget has no room for it",
	"journal":           "what it may cost could not be written down",
	"context-window":    "the prompt is longer than its window",
	"ramping":           "it is being brought back slowly, and has its share already",
	"busy":              "it answers as many requests as it may at once",
	"loading":           "its model is still loading",
	"demoted":           "it is not well, and the profile puts such behind",
	"capability":        "it lacks what the request needs",
	"thinking-order":    "the request asks for thinking, and others do that",
	"context-budget":    "the prompt all but fills its window",
	"adaptive":          "others have been faster or failed less",
	"drift":             "its answers have become worse",
	"crash-loop":        "its process ends again and again",
}

// chosenBy says how the profile was chosen, by the word of route-resolved.
var chosenBy = map[string]string{
	"body":    "named by the request itself",
	"header":  "named by a header",
	"path":    "named by the path",
	"key":     "named by the client's key",
	"model":   "named by the model's name",
	"auto":    "chosen by the auto-router",
	"default": "the default, since nothing named one",
}

// parked says for what a provider is left alone.
var parked = map[string]string{
	"parked-rate-limit": "it asked for a pause (rate limit)",
	"parked-quota":      "its quota is used up",
	"parked-auth":       "it refused its credential",
	"resource":          "it ran out of memory",
}

// woken says what brought the daemon back, by the reason of its transition (the
// lifecycle contract §7.2).
var woken = map[string]string{
	"wake.signal": "somebody left a wake.signal",
	"connection":  "a connection was waiting",
	"alarm":       "a timer was due",
	"start":       "it was started",
	"operator":    "the operator woke it",
}

// stopped says why the daemon's process ended.
var stopped = map[string]string{
	"signal":      "it was told to stop",
	"hibernation": "it hibernated",
	"error":       "it failed; its log says how",
}

// lifted says why a quarantine ended.
var lifted = map[string]string{
	"auto_recovery_after_ttl":    "its time was over",
	"auto_recovery_malformed_ts": "its end could not be read",
	"manual_reset":               "by the operator",
}

// lives says what an operation is the life of.
var lives = map[string]string{
	"mob_member_child":   "a member of a mob",
	"background_tool_op": "a tool in the background",
}

// upcoming says what the next idle event or task does.
var upcoming = map[string]string{
	"idle_5min":             "grows drowsy",
	"idle_30min":            "falls asleep",
	"sleep_cycle_done":      "hibernates",
	"sleep_cycle":           "begins its sleep cycle",
	"backstop_cycle":        "begins a sleep cycle without sleep",
	"backstop_cycle_sliced": "begins a sleep cycle beside the work",
	"quarantine_lift":       "ends the quarantine of its sleep cycle",
}

// word returns a phrase, or the word itself where there is none: a newer
// daemon's, perhaps.
func word(m map[string]string, key string) string {
	if s, ok := m[key]; ok {
		return s
	}
	return key
}
