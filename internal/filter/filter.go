// Package filter keeps visitors out by their User-Agent or address, and says which visitors are likely programs. What it blocks is
// refused before anything of it is stored; what is likely a program is never refused. It judges what the session says of its visitor,
// not who sends the request.
package filter

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/pocketping/bridge/internal/bridge"
)

// Mode says which lists count.
type Mode string

const (
	Blocklist Mode = "blocklist" // who is on the blocklist is blocked
	Allowlist Mode = "allowlist" // who is not on the allowlist is blocked
	Both      Mode = "both"      // who is on the blocklist is blocked, unless they are on the allowlist
)

// Limits of what a configuration may ask for. Go's regular expressions take time in proportion to text and pattern, whatever they are.
const (
	MaxPattern  = 512  // bytes of a pattern
	MaxPatterns = 1000 // of a list
	maxAgent    = 2048 // bytes of a User-Agent that are looked at
)

// UserAgents are a filter's lists of User-Agents. It may be used by several goroutines.
type UserAgents struct {
	mode         Mode
	block, allow []pattern
}

// pattern is a part of a User-Agent in lower case, or a regular expression.
type pattern struct {
	part string
	expr *regexp.Regexp
	name string // as it was written, for the log
}

// NewUserAgents reads lists of patterns: parts of a User-Agent, or regular expressions between slashes, whatever the case. bots
// puts the known bots on the blocklist. An error says which pattern is wrong.
func NewUserAgents(mode Mode, block, allow []string, bots bool) (*UserAgents, error) {
	if bots {
		block = append(block[:len(block):len(block)], DefaultBots()...)
	}
	u := &UserAgents{mode: mode}
	var err error
	if u.block, err = patterns(block); err != nil {
		return nil, err
	}
	u.allow, err = patterns(allow)
	return u, err
}

func patterns(all []string) ([]pattern, error) {
	if len(all) > MaxPatterns {
		return nil, fmt.Errorf("has more than %d patterns", MaxPatterns)
	}
	out := make([]pattern, 0, len(all))
	for _, text := range all {
		if len(text) > MaxPattern {
			return nil, fmt.Errorf("has a pattern of more than %d bytes", MaxPattern)
		}
		p := pattern{part: strings.ToLower(text), name: text}
		if len(text) > 2 && text[0] == '/' && text[len(text)-1] == '/' {
			expr, err := regexp.Compile("(?i)" + text[1:len(text)-1])
			if err != nil {
				return nil, fmt.Errorf("has a regular expression that cannot be read (%w)", err)
			}
			p.expr = expr
		}
		out = append(out, p)
	}
	return out, nil
}

func matching(all []pattern, agent, lower string) (name string, ok bool) {
	for _, p := range all {
		if p.expr != nil && p.expr.MatchString(agent) || p.expr == nil && strings.Contains(lower, p.part) {
			return p.name, true
		}
	}
	return "", false
}

// Blocks says whether a visitor with a User-Agent is kept out, and by which pattern. One of whom none is known is not.
func (u *UserAgents) Blocks(agent string) (rule string, blocked bool) {
	if u == nil || agent == "" {
		return "", false
	}
	agent = agent[:min(len(agent), maxAgent)]
	lower := strings.ToLower(agent)
	if u.mode != Blocklist {
		_, allowed := matching(u.allow, agent, lower)
		if allowed || u.mode == Allowlist {
			return "not on the allowlist", !allowed
		}
	}
	return matching(u.block, agent, lower)
}

// Addresses are a filter's lists of addresses. It may be used by several goroutines.
type Addresses struct {
	mode         Mode
	block, allow ranges
}

// NewAddresses makes lists of ranges.
func NewAddresses(mode Mode, block, allow []netip.Prefix) *Addresses {
	return &Addresses{mode: mode, block: rangesOf(block), allow: rangesOf(allow)}
}

// Blocks says whether a visitor with an address is kept out. One of whom none is known is not.
func (a *Addresses) Blocks(text string) (rule string, blocked bool) {
	if a == nil {
		return "", false
	}
	ip, ok := addressOf(text)
	switch {
	case !ok:
		return "", false
	case a.mode != Blocklist && a.allow.has(ip):
		return "", false
	case a.mode == Allowlist:
		return "not on the allowlist", true
	}
	return "on the blocklist", a.block.has(ip)
}

// addressOf reads an address as apps write it: with a port or a zone, or the first of several.
func addressOf(text string) (netip.Addr, bool) {
	text, _, _ = strings.Cut(text, ",")
	text = strings.TrimSpace(text)
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		var port netip.AddrPort
		if port, err = netip.ParseAddrPort(text); err == nil {
			ip = port.Addr()
		}
	}
	return ip.WithZone("").Unmap(), err == nil
}

// ranges are ranges of addresses, by their length.
type ranges map[int]map[netip.Prefix]struct{}

func rangesOf(all []netip.Prefix) ranges {
	out := ranges{}
	for _, p := range all {
		if out[p.Bits()] == nil {
			out[p.Bits()] = map[netip.Prefix]struct{}{}
		}
		out[p.Bits()][p.Masked()] = struct{}{}
	}
	return out
}

func (r ranges) has(ip netip.Addr) bool {
	for bits, some := range r {
		if p, err := ip.Prefix(bits); err == nil {
			if _, ok := some[p]; ok {
				return true
			}
		}
	}
	return false
}

// What visitors are kept out by, for the meter and the log.
const (
	byAgent   = "user_agent"
	byAddress = "address"
)

// Options is what a Filter is made of. Without lists it lets everything pass.
type Options struct {
	UserAgents *UserAgents // nil: are not looked at
	Addresses  *Addresses  // nil: are not looked at
	// Sessions returns a session as it was last told, for events that carry none; ok is false for one that is not known.
	Sessions func(ctx context.Context, id string) (s *bridge.Session, ok bool, err error)
	Count    func(filter string) // is told of each event that is refused; nil: nobody is
	Log      *slog.Logger        // is told of each; nil: nobody is
}

// Filter refuses events of visitors who are kept out. It may be used by several goroutines.
type Filter struct {
	o       Options
	blocked atomic.Int64
}

// New returns a filter.
func New(o Options) *Filter { return &Filter{o: o} }

// Blocked is how many events have been refused since the start.
func (f *Filter) Blocked() int64 { return f.blocked.Load() }

// On says whether there is anything to look at.
func (f *Filter) On() bool { return f.o.UserAgents != nil || f.o.Addresses != nil }

// Address refuses an address, with bridge.ErrFiltered.
func (f *Filter) Address(ip string) error {
	if rule, blocked := f.o.Addresses.Blocks(ip); blocked {
		return f.refuse("", "", byAddress, rule)
	}
	return nil
}

// Around returns an ingester that refuses, with bridge.ErrFiltered, and hands on what it does not refuse.
func (f *Filter) Around(next bridge.Ingester) bridge.Ingester {
	if !f.On() {
		return next
	}
	return ingester{f, next}
}

type ingester struct {
	*Filter
	next bridge.Ingester
}

// Ingest implements bridge.Ingester. What operators say, and whether they are there, is not of the visitor.
func (f ingester) Ingest(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error) {
	if t := in.Event.Type; t != bridge.TypeOperatorMessage && t != bridge.TypeOperatorStatus {
		if err := f.examine(ctx, in.Event); err != nil {
			return bridge.Accepted{}, err
		}
	}
	return f.next.Ingest(ctx, in)
}

func (f *Filter) examine(ctx context.Context, e *bridge.AppEvent) error {
	s, id := e.Session, e.SessionOf()
	if s == nil && f.o.Sessions != nil {
		known, ok, err := f.o.Sessions(ctx, id)
		if err != nil {
			return err
		}
		if ok {
			s = known
		}
	}
	if s == nil || s.Metadata == nil {
		return nil
	}
	if rule, blocked := f.o.Addresses.Blocks(s.Metadata.IP); blocked {
		return f.refuse(e.Type, id, byAddress, rule)
	}
	if rule, blocked := f.o.UserAgents.Blocks(s.Metadata.UserAgent); blocked {
		return f.refuse(e.Type, id, byAgent, rule)
	}
	return nil
}

// refuse counts and says that something was refused. Neither the User-Agent nor the address is said.
func (f *Filter) refuse(t bridge.Type, session, by, rule string) error {
	f.blocked.Add(1)
	if f.o.Count != nil {
		f.o.Count(by)
	}
	if f.o.Log != nil {
		f.o.Log.Info("a visitor is kept out by a filter", "filter", by, "rule", rule, "type", string(t), "session", session)
	}
	return bridge.ErrFiltered
}
