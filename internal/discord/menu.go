package discord

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// maxDescription is how long the description of a command or an option may be, in characters ("Application Command Structure" of the
// documentation).
const maxDescription = 100

// menu is what Discord offers when an operator types a slash: all commands, /r under the name that tells more. What stands behind one
// has fields of its own, in which Discord offers the choices and the people that there are.
func menu() []*discordgo.ApplicationCommand {
	var out []*discordgo.ApplicationCommand
	for _, c := range bridge.Commands() {
		s := &discordgo.ApplicationCommand{Name: c.Name, Description: measure.OneLine(c.Help, maxDescription)}
		if c.Name == "r" {
			s.Name = "reply"
		}
		for _, o := range c.Options {
			field := &discordgo.ApplicationCommandOption{
				Type: discordgo.ApplicationCommandOptionString, Name: o.Name, Description: measure.OneLine(o.Help, maxDescription), Required: o.Required,
			}
			if o.Person {
				field.Type = discordgo.ApplicationCommandOptionUser
			}
			for _, choice := range o.Choices {
				field.Choices = append(field.Choices, &discordgo.ApplicationCommandOptionChoice{Name: choice, Value: choice})
			}
			s.Options = append(s.Options, field)
		}
		out = append(out, s)
	}
	return out
}

// menuText tells of commands what an operator sees of them, in an order of its own.
func menuText(all []*discordgo.ApplicationCommand) string {
	var lines []string
	for _, c := range all {
		line := fmt.Sprintf("%q %q", c.Name, c.Description)
		for _, o := range c.Options {
			line += fmt.Sprintf(" (%d %q %q %t", o.Type, o.Name, o.Description, o.Required)
			for _, choice := range o.Choices {
				line += fmt.Sprintf(" %q=%q", choice.Name, choice.Value)
			}
			line += ")"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var (
	_ bridge.Home         = (*Discord)(nil)
	_ bridge.ThreadLinker = (*Discord)(nil)
)

// HomeSetting implements bridge.Home.
func (d *Discord) HomeSetting() (name, value string) { return "DISCORD_CHANNEL_ID", d.channel }

// ThreadLink implements bridge.ThreadLinker: a mention of the thread, which the apps show by its name.
func (d *Discord) ThreadLink(thread bridge.ThreadID) string {
	_, id, _ := strings.Cut(string(thread), "/")
	if f, ok := parseSnowflake(id); ok {
		return "<#" + f.String() + ">"
	}
	return ""
}

// threadLink matches a thread's link where the bridge itself puts it: at the end of a line, behind a point.
var threadLink = regexp.MustCompile(`(?m) · <#[0-9]+>$`)

// ownRuns returns a text of the bridge's own: the links of threads in it are markup.
func ownRuns(text string, is style) []run {
	var out []run
	from := 0
	for _, at := range threadLink.FindAllStringIndex(text, -1) {
		link := at[0] + len(" · ")
		out = append(out, run{text[from:link], is}, run{text[link:at[1]], raw})
		from = at[1]
	}
	return append(out, run{text[from:], is})
}
