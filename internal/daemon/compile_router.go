package daemon

import (
	"errors"
	"fmt"

	"github.com/dreyhq/drey/internal/autoroute"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
)

// autoRouter compiles the auto-router where default_profile asks for it. Its
// own default then stands for the default profile.
func autoRouter(f *config.File, s *gateway.Settings) error {
	if f.DefaultProfile != config.AutoProfile {
		return nil
	}
	if f.AutoRouter == nil { // a file that was parsed has one
		return errors.New("default_profile: auto needs an auto_router")
	}
	rules := make([]autoroute.Rule, 0, len(f.AutoRouter.Rules))
	for i, r := range f.AutoRouter.Rules {
		when, err := autoroute.Compile(r.When)
		if err != nil {
			return fmt.Errorf("auto_router.rules[%d].when: %w", i, err)
		}
		rules = append(rules, autoroute.Rule{ID: r.ID, When: when, Profile: r.Profile})
	}
	s.DefaultProfile = f.AutoRouter.Default
	s.Auto = gateway.NewAutoRouter(autoroute.New(rules, f.AutoRouter.Default))
	return nil
}
