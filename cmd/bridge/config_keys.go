package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
)

// keyed says whether the API asks for a key.
func (c *Config) keyed() bool { return len(c.APIKeys)+len(c.NarrowKeys) > 0 }

// scoped is a key with a word before it, which is to be a scope. What a base64 text ends with is none.
var scoped = regexp.MustCompile(`^([A-Za-z]{1,10})=([^=].*)$`)

// apiKeys reads the keys, the narrow ones too. None is quoted, nor what stands before a = in it: that may be a part of the key.
func (e *environment) apiKeys(c *Config) {
	const name = "API_KEY"
	all := e.secret(name)
	taken := map[string]bool{}
	for text := range strings.SplitSeq(all.Reveal(), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		scope := api.Scope("")
		if parts := scoped.FindStringSubmatch(text); parts != nil {
			if scope, text = api.Scope(strings.ToLower(parts[1])), parts[2]; !slices.Contains(api.Scopes(), scope) {
				e.fault(name, "one of its keys has a word and = before it that is no scope; write events=, read=, draft= or reply= before a narrow "+
					"key, and nothing before one that may do everything")
				continue
			}
		}
		switch {
		case len(text) < minKey:
			e.fault(name, "one of its keys is shorter than %d characters and can be guessed; make one with: openssl rand -hex 32", minKey)
		case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
			e.fault(name, "one of its keys has a character that a header cannot carry; use letters and digits: openssl rand -hex 32")
		case scope == "" && slices.Contains(c.APIKeys, bridge.Secret(text)): // said twice
		case taken[text]:
			e.fault(name, "one of its keys stands there more than once, narrow and not, or twice; make a key of its own for each: openssl rand -hex 32")
		case scope == "":
			c.APIKeys = append(c.APIKeys, bridge.Secret(text))
		default:
			c.NarrowKeys = append(c.NarrowKeys, api.NarrowKey{Secret: bridge.Secret(text), Scope: scope})
		}
		if taken[text] = true; c.FirstKey == "" {
			c.FirstKey = bridge.Secret(text)
		}
	}
	if all != "" && !c.keyed() && !e.failed(name) {
		e.fault(name, "holds no key; make one with: openssl rand -hex 32")
	}
}
