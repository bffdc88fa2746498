package bridge

import (
	"slices"
	"strings"
)

// CommandInfo describes one thing that operators can ask of the bridge in chat. The relay does what it says; the platforms
// offer it in their menus. A command's argument is one text, everything behind its name.
type CommandInfo struct {
	Name    string   // lower-case letters only, as every platform's menu allows
	Aliases []string // other names of it, of the same form
	// Argument is how the argument is written, for people: [x] may be left out, x|y is a choice. Empty: it takes none.
	Argument string
	Required bool     // nothing happens without the argument
	Choices  []string // the only arguments that it takes; nil: any text
	Thread   bool     // it is of a visitor's session and works in its thread only, else anywhere
	Help     string   // what it does: one line of at most 100 characters, the most that any menu shows
}

// Usage returns how the command is written.
func (c CommandInfo) Usage() string {
	if c.Argument == "" {
		return "/" + c.Name
	}
	return "/" + c.Name + " " + c.Argument
}

// Commands returns all commands, in the order in which help lists them. The caller may keep and change them.
func Commands() []CommandInfo {
	return []CommandInfo{
		{Name: "online", Argument: "[duration]", Help: "you are here: visitors see the team online (2h, 30m, until 18:00)"},
		{Name: "away", Argument: "[duration|until time]", Help: "you are away for a while (2h, 30m, until 14:00)"},
		{Name: "offline", Help: "you are gone"},
		{Name: "status", Aliases: []string{"who"}, Help: "who is online and why, who waits for an answer, how the platforms do"},
		{Name: "info", Thread: true, Help: "what is known of the visitor"},
		{Name: "r", Aliases: []string{"reply"}, Argument: "text", Required: true, Thread: true, Help: "sends the text to the visitor"},
		{Name: "send", Argument: "[text]", Thread: true, Help: "sends the text as it is, or your last message here that was held"},
		{Name: "note", Argument: "text", Required: true, Thread: true, Help: "stays in the thread; the visitor never sees it"},
		{Name: "claim", Thread: true, Help: "you take care of this visitor, and the others see it"},
		{Name: "unclaim", Thread: true, Help: "somebody else may take care of this visitor"},
		{Name: "block", Argument: "[reason]", Thread: true, Help: "what this visitor does is not shown here any more, and the app is told"},
		{Name: "unblock", Argument: "[visitor id]", Help: "shows again what the visitor does; outside threads by the id that /blocked tells"},
		{Name: "blocked", Help: "who is blocked, since when and why"},
		{Name: "canned", Argument: "[add name text|remove name]", Help: "the kept replies; !name in a thread sends one"},
		{Name: "read", Thread: true, Help: "marks the visitor's messages as read"},
		{Name: "delete", Thread: true, Help: "in reply to a message of yours: deletes it at the visitor"},
		{Name: "close", Thread: true, Help: "closes the conversation"},
		{Name: "reopen", Thread: true, Help: "opens a closed conversation again"},
		{Name: "csat", Aliases: []string{"rate"}, Thread: true, Help: "asks the visitor for a rating"},
		{
			Name: "ai", Argument: "on|off", Required: true, Choices: []string{"on", "off"}, Thread: true,
			Help: "lets the AI answer, or stops it",
		},
		{Name: "name", Argument: "[text]", Help: "the name that visitors see of you"},
		{Name: "link", Argument: "[code|yes]", Help: "joins your accounts on several platforms: get a code, type it there, confirm here"},
		{Name: "unlink", Help: "takes this account out of those that you joined"},
		{Name: "id", Help: "the ids of this chat, thread and person"},
		{Name: "help", Aliases: []string{"h", "commands", "start"}, Help: "this list"},
	}
}

// FindCommand returns the command of that name or alias, in whatever case.
func FindCommand(name string) (CommandInfo, bool) {
	name = strings.ToLower(name)
	for _, c := range Commands() {
		if c.Name == name || slices.Contains(c.Aliases, name) {
			return c, true
		}
	}
	return CommandInfo{}, false
}
