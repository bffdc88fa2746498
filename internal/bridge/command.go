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
	// Options are the parts of the argument, for a platform that asks for each in a field of its own: put together with blanks they are
	// the argument. There are some where there is an argument; those that are required stand first.
	Options []CommandOption
	Thread  bool   // it is of a visitor's session and works in its thread only, else anywhere
	Group   string // of help, under whose word it is listed
	Help    string // what it does: one line of at most 100 characters, the most that any menu shows
}

// CommandOption is a part of a command's argument.
type CommandOption struct {
	Name     string // lower-case letters only
	Help     string // at most 100 characters
	Required bool
	Choices  []string // nil: any text
	Person   bool     // it names an operator
}

// Usage returns how the command is written.
func (c CommandInfo) Usage() string {
	if c.Argument == "" {
		return "/" + c.Name
	}
	return "/" + c.Name + " " + c.Argument
}

// The groups of help, in the order in which it lists them.
const (
	groupAnswer       = "Answer"
	groupTalk         = "Among you"
	groupConversation = "Conversation"
	groupVisitor      = "Visitor"
	groupYou          = "You"
	groupTeam         = "Team"
)

// CommandGroups returns the groups of help, in their order.
func CommandGroups() []string {
	return []string{groupAnswer, groupTalk, groupConversation, groupVisitor, groupYou, groupTeam}
}

// option is a command's only option.
func option(name, help string, required bool, choices ...string) []CommandOption {
	return []CommandOption{{Name: name, Help: help, Required: required, Choices: choices}}
}

// Commands returns all commands, in the order in which menus list them. The caller may keep and change them.
func Commands() []CommandInfo {
	return slices.Concat(presenceCommands(), threadCommands(), otherCommands())
}

// presenceCommands are what operators say of themselves and ask about all.
func presenceCommands() []CommandInfo {
	return []CommandInfo{
		{
			Name: "online", Argument: "[duration]", Options: option("duration", "for how long: 2h, 30m, until 18:00", false), Group: groupYou,
			Help: "you are here: visitors see the team online (2h, 30m, until 18:00)",
		},
		{
			Name: "away", Argument: "[duration|until time]", Options: option("duration", "for how long: 2h, 30m, until 14:00", false),
			Group: groupYou, Help: "you are away for a while (2h, 30m, until 14:00)",
		},
		{Name: "offline", Group: groupYou, Help: "you are gone"},
		{
			Name: "status", Aliases: []string{"who"}, Group: groupTeam,
			Help: "who is online and why, who waits for an answer, how the platforms do",
		},
	}
}

// threadCommands are what operators do in a visitor's thread.
func threadCommands() []CommandInfo {
	return []CommandInfo{
		{Name: "info", Thread: true, Group: groupVisitor, Help: "what is known of the visitor"},
		{
			Name: "r", Aliases: []string{"reply"}, Argument: "text", Required: true, Options: option("message", "what the visitor is told", true),
			Thread: true, Group: groupAnswer, Help: "sends the text to the visitor",
		},
		{
			Name: "send", Argument: "[text]", Options: option("text", "what the visitor is told", false), Thread: true, Group: groupAnswer,
			Help: "sends the text as it is, or your last message here that was held",
		},
		{
			Name: "note", Argument: "text", Required: true, Options: option("text", "what your colleagues see", true), Thread: true,
			Group: groupTalk, Help: "stays in the thread; the visitor never sees it",
		},
		{
			Name: "claim", Argument: "[@name]", Options: []CommandOption{{Name: "operator", Help: "whom you ask to take over; else you do", Person: true}},
			Thread: true, Group: groupTalk, Help: "you take care of this visitor, or ask a colleague to, and the others see it",
		},
		{Name: "unclaim", Thread: true, Group: groupTalk, Help: "somebody else may take care of this visitor"},
		{
			Name: "assign", Argument: "@name", Required: true,
			Options: []CommandOption{{Name: "operator", Help: "whom you ask to take over", Required: true, Person: true}},
			Thread:  true, Group: groupTalk, Help: "asks a colleague to take care of this visitor",
		},
		{Name: "ok", Thread: true, Group: groupTalk, Help: "you take care of this visitor, as a colleague asked you to"},
		{
			Name: "remind", Argument: "2h [text]", Required: true,
			Options: []CommandOption{
				{Name: "when", Help: "after 2h, 30m, or until 14:00", Required: true}, {Name: "text", Help: "of what you are reminded"},
			},
			Thread: true, Group: groupTalk, Help: "calls you here after that time",
		},
		{
			Name: "block", Argument: "[reason]", Options: option("reason", "why, for your colleagues", false), Thread: true, Group: groupVisitor,
			Help: "what this visitor does is not shown here any more, and the app is told",
		},
		{
			Name: "unblock", Argument: "[visitor id]", Options: option("visitor", "outside threads: the id that /blocked tells", false),
			Group: groupVisitor, Help: "shows again what the visitor does; outside threads by the id that /blocked tells",
		},
		{Name: "history", Thread: true, Group: groupVisitor, Help: "the visitor's earlier conversations, with links"},
		{Name: "read", Thread: true, Group: groupConversation, Help: "marks the visitor's messages as read"},
		{Name: "delete", Thread: true, Group: groupConversation, Help: "in reply to a message of yours: deletes it at the visitor"},
		{Name: "close", Thread: true, Group: groupConversation, Help: "closes the conversation"},
		{Name: "reopen", Thread: true, Group: groupConversation, Help: "opens a closed conversation again"},
		{Name: "csat", Aliases: []string{"rate"}, Thread: true, Group: groupConversation, Help: "asks the visitor for a rating"},
		{
			Name: "ai", Argument: "on|off", Required: true, Choices: []string{"on", "off"}, Options: option("state", "on or off", true, "on", "off"),
			Thread: true, Group: groupConversation, Help: "lets the AI answer, or stops it",
		},
	}
}

func otherCommands() []CommandInfo {
	return []CommandInfo{
		{
			Name: "find", Argument: "text", Required: true, Options: option("text", "how words of name, e-mail, id or card begin", true),
			Group: groupTeam, Help: "conversations by their visitor's name, e-mail, id or card, with links",
		},
		{Name: "blocked", Group: groupTeam, Help: "who is blocked, since when and why"},
		{
			Name: "canned", Argument: "[add name text|remove name]", Group: groupAnswer,
			Options: []CommandOption{
				{Name: "what", Help: "keeps one, or removes one; without it they are listed", Choices: []string{"add", "remove"}},
				{Name: "name", Help: "the reply's name: !name in a thread sends it"},
				{Name: "text", Help: "what it says"},
			},
			Help: "the kept replies; !name in a thread sends one",
		},
		{
			Name: "name", Argument: "[text]", Options: option("text", "your name", false), Group: groupYou,
			Help: "the name that visitors see of you",
		},
		{
			Name: "link", Argument: "[code|yes]", Options: option("code", "the code, or yes to confirm", false), Group: groupYou,
			Help: "joins your accounts on several platforms: get a code, type it there, confirm here",
		},
		{Name: "unlink", Group: groupYou, Help: "takes this account out of those that you joined"},
		{Name: "id", Group: groupTeam, Help: "the ids of this chat, thread and person, as the configuration takes them"},
		{
			Name: "help", Aliases: []string{"h", "commands", "start"}, Argument: "[command]", Options: option("command", "about which", false),
			Group: groupTeam, Help: "what can be said here, or what one command does",
		},
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
