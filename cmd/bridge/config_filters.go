package main

import (
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/filter"
)

// filterConfig is which visitors are kept out, and how programs among them are known.
type filterConfig struct {
	UserAgents *filter.UserAgents // nil: are not looked at
	Addresses  *filter.Addresses  // nil: are not looked at
	LogBlocked bool
	Bots       *filter.Bots // nil: bots are not looked for
}

// maxRangesFile is how large BOT_RANGES_FILE may be, in bytes.
const maxRangesFile = 16 << 20

// filters reads the filters.
func (e *environment) filters(c *Config) {
	f := &c.Filter
	mode := func(name string) filter.Mode {
		return filter.Mode(e.choice(name, string(filter.Blocklist), string(filter.Allowlist), string(filter.Both)))
	}
	agents, addresses := e.boolean("UA_FILTER_ENABLED", false), e.boolean("IP_FILTER_ENABLED", false)
	agentMode, addressMode := mode("UA_FILTER_MODE"), mode("IP_FILTER_MODE")
	bots := e.boolean("UA_FILTER_USE_DEFAULT_BOTS", true)
	f.LogBlocked = e.boolean("UA_FILTER_LOG_BLOCKED", true)
	block, allow := e.patterns("UA_FILTER_BLOCKLIST"), e.patterns("UA_FILTER_ALLOWLIST")
	const how = "addresses or ranges, such as 192.0.2.0/24,2001:db8::1"
	blockRanges, allowRanges := e.prefixes("IP_FILTER_BLOCKLIST", how), e.prefixes("IP_FILTER_ALLOWLIST", how)

	if agents {
		var err error
		if f.UserAgents, err = filter.NewUserAgents(agentMode, block, allow, bots); err != nil { // each list has been read by itself
			e.fault("UA_FILTER_BLOCKLIST", "%v", err)
		}
		e.allowsSome("UA_FILTER", agentMode, len(allow))
	}
	if addresses {
		f.Addresses = filter.NewAddresses(addressMode, blockRanges, allowRanges)
		e.allowsSome("IP_FILTER", addressMode, len(allowRanges))
	}
	for name, set := range map[string]bool{"UA_FILTER": !agents && len(block)+len(allow) > 0, "IP_FILTER": !addresses && len(blockRanges)+len(allowRanges) > 0} {
		if set {
			c.Warnings = append(c.Warnings, name+"_ENABLED is not true: nobody is kept out by the lists of "+name)
		}
	}
	e.bots(c)
}

// allowsSome finds fault with an allowlist that counts and is empty: it would keep everybody out.
func (e *environment) allowsSome(name string, mode filter.Mode, entries int) {
	if mode == filter.Allowlist && entries == 0 && !e.failed(name+"_ALLOWLIST") {
		e.fault(name+"_ALLOWLIST", "is empty, but %s_MODE is allowlist: every visitor would be kept out; name who may come, or take another mode", name)
	}
}

// patterns returns a list of parts of User-Agents and of regular expressions between slashes, which may have commas in them.
func (e *environment) patterns(name string) []string {
	var out []string
	rest := e.text(name)
	for rest != "" {
		if rest = strings.TrimLeft(rest, " \t,"); strings.HasPrefix(rest, "/") {
			if close := closingSlash(rest); close > 0 {
				out = append(out, rest[:close+1])
				rest = rest[close+1:]
				continue
			}
		}
		var item string
		if item, rest, _ = strings.Cut(rest, ","); strings.TrimSpace(item) != "" {
			out = append(out, strings.TrimSpace(item))
		}
	}
	if _, err := filter.NewUserAgents(filter.Blocklist, out, nil, false); err != nil {
		e.fault(name, "%v; write parts of User-Agents, or regular expressions as Go knows them between slashes, such as googlebot,/^curl/", err)
	}
	return out
}

// closingSlash returns where a regular expression ends: at a slash behind which the list goes on or ends.
func closingSlash(text string) int {
	for i := 1; i < len(text); i++ {
		if rest := strings.TrimLeft(text[i+1:], " \t"); text[i] == '/' && (rest == "" || rest[0] == ',') {
			return i
		}
	}
	return -1
}

// privacy reads what operators are not shown of visitors.
func (e *environment) privacy(c *Config) {
	var err error
	if c.Hide, err = bridge.NewHidden(e.list("HIDE_FIELDS")); err != nil {
		e.fault("HIDE_FIELDS", "%v; write ip, email, phone, url, url.query or keys of metadata, comma-separated", err)
	}
	c.MaskCards = e.boolean("MASK_CARDS", false)
	if c.SecretsKey = e.secret("SECRETS_KEY"); c.SecretsKey != "" && len(c.SecretsKey.Reveal()) < 2*minKey {
		e.fault("SECRETS_KEY", "is shorter than %d characters and can be guessed; make one with: openssl rand -hex 32", 2*minKey)
	}
}

// bots reads how programs are known among visitors.
func (e *environment) bots(c *Config) {
	const name = "BOT_RANGES_FILE"
	on, file := e.boolean("BOT_HEURISTICS_ENABLED", true), e.text(name)
	var list []byte
	if file != "" {
		var err error
		if list, err = e.readFile(file); err != nil {
			e.fault(name, "%s cannot be read (%v); name a file with a range of addresses on each line, or leave it out", quote(file), cause(err))
			return
		}
		if len(list) > maxRangesFile {
			e.fault(name, "%s has more than %d MiB; name a file with a range of addresses on each line", quote(file), maxRangesFile>>20)
			return
		}
	}
	e.note(string(list))
	bots, err := filter.NewBots(list)
	if err != nil {
		e.fault(name, "%s: %v", quote(file), err)
		return
	}
	if on {
		c.Filter.Bots = bots
	}
}
