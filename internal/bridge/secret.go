package bridge

import "strings"

const redacted = "[redacted]"

// Secret is a value that must never be printed: a token, a key, a URL that carries one. It prints as [redacted] in every
// format, in logs and in JSON; Reveal is the only way to the value.
type Secret string

// Reveal returns the value itself, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String returns [redacted], or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for JSON and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Redact returns text with every occurrence of the secrets replaced. It is for texts that others wrote, a library's error
// above all; our own never contain a secret in the first place.
func Redact(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, string(s), redacted)
		}
	}
	return text
}
