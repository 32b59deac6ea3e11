package config

import (
	"github.com/dreyhq/drey"
)

// The structs of this file keep the place of keys that are not built yet: the
// key that leads to each carries built:"no", so that none of them is decoded.
// Rules that compare two of their keys come with the issue that builds them.

// AutoRouter chooses a profile by what a request looks like.
type AutoRouter struct {
	Rules   []RouterRule   `yaml:"rules" doc:"tried in order; the first that is true counts"`
	Default drey.ProfileID `yaml:"default,required" doc:"profile where no rule is true"`
}

// RouterRule is one rule of the auto-router.
type RouterRule struct {
	ID      string         `yaml:"id,required" doc:"what events call it"`
	When    string         `yaml:"when,required" doc:"condition"`
	Profile drey.ProfileID `yaml:"profile,required" doc:"the profile then"`
}
