package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// DefaultBots are parts of the User-Agents of programs that are no visitors, in lower case, as docs/configuration.md lists them.
func DefaultBots() []string {
	return []string{
		// Search engines.
		"applebot", "baiduspider", "bingbot", "duckduckbot", "exabot", "googlebot", "ia_archiver", "petalbot", "seznambot", "slurp", "sogou", "yandexbot",
		// Search optimisation.
		"ahrefsbot", "blexbot", "dataforseobot", "dotbot", "linkdexbot", "mj12bot", "rogerbot", "screaming frog", "semrushbot", "seokicks", "serpstatbot",
		"sistrix",
		// Collectors of texts for AI.
		"amazonbot", "anthropic-ai", "bytespider", "ccbot", "chatgpt-user", "claude-web", "claudebot", "cohere-ai", "gptbot", "oai-searchbot",
		"perplexitybot",
		// Previews of links.
		"discordbot", "facebookexternalhit", "facebot", "linkedinbot", "pinterestbot", "slackbot", "telegrambot", "twitterbot", "whatsapp/",
		// Watchers and measurers.
		"datadog", "gtmetrix", "newrelic", "pagespeed", "pingdom", "site24x7", "statuscake", "uptimerobot",
		// Archives.
		"archive.org_bot", "commoncrawl", "wayback",
		// Scanners.
		"masscan", "nikto", "nmap", "sqlmap", "zgrab",
		// Libraries and command-line programs.
		"axios/", "curl/", "go-http-client", "httpclient", "httpie/", "java/", "libwww-perl", "node-fetch", "okhttp", "python-requests", "python-urllib",
		"wget/",
		// Driven browsers, and what bots call themselves.
		"bot/", "crawler", "headless", "phantomjs", "playwright", "puppeteer", "scraper", "selenium", "spider", "webdriver",
	}
}

// driven are parts of the User-Agents of browsers that a program drives, in lower case.
func driven() []string {
	return []string{"headless", "phantomjs", "slimerjs", "puppeteer", "playwright", "selenium", "webdriver"}
}

// Bots says which visitors are likely programs: by a driven browser, or by an address of a data centre where ranges are known. It may
// be used by several goroutines.
type Bots struct{ ranges ranges }

// maxRanges is how many ranges are taken.
const maxRanges = 200_000

// NewBots reads ranges of addresses, one a line; what stands behind a # is a comment. An error says which line is wrong.
func NewBots(list []byte) (*Bots, error) {
	var all []netip.Prefix
	n := 0
	for line := range bytes.Lines(list) {
		n++
		text, _, _ := strings.Cut(string(line), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(text); err == nil && ip.Zone() == "" {
				p = netip.PrefixFrom(ip, ip.BitLen())
			}
		}
		if err != nil || !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("line %d is no range of addresses; write a line for each, such as 192.0.2.0/24 or 2001:db8::/32", n)
		}
		if all = append(all, p); len(all) > maxRanges {
			return nil, fmt.Errorf("has more than %d ranges", maxRanges)
		}
	}
	return &Bots{rangesOf(all)}, nil
}

// Suspects says whether an event's session is likely a program's. A nil Bots suspects nobody.
func (b *Bots) Suspects(e bridge.Event) bool {
	if b == nil {
		return false
	}
	var in struct {
		Session struct {
			Metadata map[string]any `json:"metadata"` // keys as they are written
		} `json:"session"`
	}
	if json.Unmarshal(e.Body, &in) != nil {
		return false
	}
	m := in.Session.Metadata
	if signals, _ := m["botSignals"].(map[string]any); signals["webdriver"] == true {
		return true
	}
	agent, _ := m["userAgent"].(string)
	agent = strings.ToLower(agent[:min(len(agent), maxAgent)])
	if slices.ContainsFunc(driven(), func(part string) bool { return strings.Contains(agent, part) }) {
		return true
	}
	ip, _ := m["ip"].(string)
	address, ok := addressOf(ip)
	return ok && b.ranges.has(address)
}
