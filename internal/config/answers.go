package config

import "fmt"

// Repairs reports whether tool calls that the provider prints as text are made
// calls: as the file says, else on the openai wire, whose servers leave it to
// chat templates what a call looks like.
func (p *Provider) Repairs() bool {
	if p.Repair != nil {
		return *p.Repair
	}
	return p.Wire == WireOpenAI
}

// answers checks what is done to a provider's answers.
func (c *checker) answers(p *Provider, path string) {
	first := map[string]int{}
	for i, name := range p.Filters {
		at := fmt.Sprintf("%s.filters[%d]", path, i)
		if before, twice := first[name]; twice && c.sound(at) {
			c.faulty(at, fmt.Sprintf("this filter is in the list already, as filters[%d]", before), "remove it: once is enough")
			continue
		}
		first[name] = i
	}
}
