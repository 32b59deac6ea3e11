package config

// Quote writes a text as YAML that Parse reads back as the same text: plain
// where that is safe, else in double quotes, on one line.
func Quote(text string) string { return quoteYAML(text) }

// LooksSecret reports whether a text has the form of a credential. Where one
// may stand, Parse refuses such a text.
func LooksSecret(text string) bool { return looksSecret(text) }
