package discord

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// finder finds mentions in texts (https://docs.discord.com/developers/reference#message-formatting).
type finder struct {
	user, role *regexp.Regexp
}

func newFinder() finder {
	return finder{user: regexp.MustCompile(`<@!?(\d+)>`), role: regexp.MustCompile(`<@&(\d+)>`)}
}

// allowedMentions is what a message may ping
// (https://docs.discord.com/developers/resources/message#allowed-mentions-object).
type allowedMentions struct {
	Parse       []string `json:"parse"`
	Users       []string `json:"users"`
	Roles       []string `json:"roles"`
	RepliedUser bool     `json:"replied_user"`
}

// check refuses what contradicts itself: "parse: ["users"]" beside a list of users.
func (a *allowedMentions) check() *refusal {
	if a == nil {
		return nil
	}
	for name, list := range map[string][]string{"users": a.Users, "roles": a.Roles} {
		if len(list) > 0 && slices.Contains(a.Parse, name) {
			return invalidForm(problem{
				[]string{"allowed_mentions"}, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
				`parse:["` + name + `"] and ` + name + `: [ids...] are mutually exclusive.`,
			})
		}
	}
	return nil
}

// pings returns whom a message pings: those whom its text mentions and the author of what it replies to, as far as allowed lets
// it. Without allowed a message pings all it can. Roles that are not mentionable, everyone and here need a permission; people
// have it here, the bot by its MentionEveryone, webhooks do without.
func (s *Server) pings(m *message, c *channel, allowed *allowedMentions, bot bool) []string {
	everyone := !bot || c.may(MentionEveryone)
	lets := func(kind string) bool { return allowed == nil || slices.Contains(allowed.Parse, kind) }
	var out []string
	add := func(id string) {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for _, found := range s.finder.user.FindAllStringSubmatch(m.text, -1) {
		id := found[1]
		if s.users[flake(id)] != nil && (lets("users") || slices.Contains(allowed.Users, id)) {
			add(id)
		}
	}
	for _, found := range s.finder.role.FindAllStringSubmatch(m.text, -1) {
		id := found[1]
		r, known := c.guild.roles[flake(id)]
		if known && (r.mentionable || everyone) && (lets("roles") || slices.Contains(allowed.Roles, id)) {
			add(id)
		}
	}
	for _, word := range []string{"everyone", "here"} {
		if strings.Contains(m.text, "@"+word) && everyone && lets("everyone") {
			add(word)
		}
	}
	if m.kind == ReplyMessage && (allowed == nil || allowed.RepliedUser) {
		to := s.channels[m.reference.channel].find(m.reference.message)
		if to != nil && to.webhook == nil {
			add(to.author.ID)
		}
	}
	return out
}

// isCommandName says whether a command can be called so.
func isCommandName(name string) bool {
	return name != "" && name == strings.ToLower(name) && !strings.ContainsFunc(name, func(c rune) bool {
		return c != '-' && c != '_' && c != '\'' && !unicode.IsLetter(c) && !unicode.IsNumber(c)
	})
}
