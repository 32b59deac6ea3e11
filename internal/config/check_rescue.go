package config

// rescue warns of what does nothing: a hold without a rescue, and a rescue that
// nobody could carry out.
func (c *checker) rescue(p *Profile, path string) {
	if p.Rescue == "off" {
		for _, key := range [...]string{".hold_tokens", ".hold"} {
			if c.was(path+key) && c.sound(path+key) {
				c.warn(path+key, "nothing is held back, since this profile does not rescue streams", "write rescue: restart or rescue: continue, or remove it")
			}
		}
		return
	}
	providers := 0
	for _, pool := range p.Chain {
		providers += len(pool)
	}
	if providers == 1 && c.was(path+".rescue") {
		c.warn(path+".rescue", "this chain has one provider, and nobody could take over from it", "add another one to the chain, or remove it")
	}
}
