package config

import (
	"strings"

	"github.com/dreyhq/drey"
)

// Names of the environment variables that beat the file.
const (
	EnvAllowPaid = "DREY_ALLOW_PAID"
	EnvProfile   = "DREY_PROFILE"
)

// Overlay puts the environment's values in place of the file's. It is for
// files that were not parsed; Parse does it by itself. A blank variable counts
// as not set. A value that the error names is left as it was.
func (f *File) Overlay(env func(name string) (value string, ok bool)) error {
	if f.origins == nil {
		f.origins = map[string]Source{}
	}
	old, origin := f.DefaultProfile, f.origins["default_profile"]
	errs := f.overlay(env)
	switch name := f.DefaultProfile; {
	case f.origins["default_profile"] != FromEnv:
	case name == AutoProfile && f.AutoRouter == nil:
		errs = append(errs, &Error{Path: EnvProfile, Msg: noRouter, Hint: noRouterHint})
		f.DefaultProfile, f.origins["default_profile"] = old, origin
	case name != AutoProfile && f.Profile(name) == nil:
		errs = append(errs, &Error{Path: EnvProfile, Msg: "there is no profile " + quoteJSON(string(name)), Hint: didYouMean(string(name), f.profileNames(), "")})
		f.DefaultProfile, f.origins["default_profile"] = old, origin
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (f *File) overlay(env func(string) (string, bool)) Errors {
	if env == nil {
		return nil
	}
	var errs Errors
	if v, _ := env(EnvAllowPaid); strings.TrimSpace(v) != "" {
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "1", "true", "yes", "on":
			f.AllowPaid = true
			f.origins["allow_paid"] = FromEnv
		case "0", "false", "no", "off":
			f.AllowPaid = false
			f.origins["allow_paid"] = FromEnv
		default:
			errs = append(errs, &Error{Path: EnvAllowPaid, Msg: "neither yes nor no", Hint: "set it to 1, true, yes or on, or to 0, false, no or off"})
		}
	}
	if v, _ := env(EnvProfile); strings.TrimSpace(v) != "" {
		v = strings.TrimSpace(v)
		if p := checkString(fileSpec.field("default_profile"), v); p != nil {
			errs = append(errs, &Error{Path: EnvProfile, Msg: p.msg, Hint: "set it to the name of a profile"})
		} else {
			f.DefaultProfile = drey.ProfileID(v)
			f.origins["default_profile"] = FromEnv
		}
	}
	return errs
}
