package config

import (
	"fmt"

	"github.com/dreyhq/drey"
)

// Drift watches over the quality of a provider's answers to a profile.
type Drift struct {
	Action      string        `yaml:"action" default:"off" enum:"off|warn|demote" later:"^reload$" doc:"what is done when they get worse; demote = last in the chain for the cool-down, if it is severe"`
	Window      int           `yaml:"window" default:"20" range:"4..200" doc:"answers looked at"`
	Cooldown    drey.Duration `yaml:"cooldown" default:"5m" range:"10s..1h" doc:"how long a demotion lasts"`
	Sensitivity string        `yaml:"sensitivity" default:"normal" enum:"low|normal|high" doc:"how soon answers count as worse"`
}

// leastAnswers is how many answers a verdict takes, by sensitivity. Source:
// contract §13; internal/guard judges by the same.
var leastAnswers = map[string]int{"low": 10, "normal": 6, "high": 4}

// drift warns of a window that never holds enough answers for a verdict.
func (c *checker) drift(d Drift, path string) {
	if least := leastAnswers[d.Sensitivity]; d.Action != "off" && d.Window < least && c.sound(path+".window") {
		c.warn(path+".window", fmt.Sprintf("with sensitivity %s fewer than %d answers are never judged, so nothing is watched", d.Sensitivity, least),
			fmt.Sprintf("write %d or more, or sensitivity: high", least))
	}
}
