package bridge

import (
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/words"
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

// CommandGroups returns the groups of help, in the order in which it lists them.
func CommandGroups() []string {
	say := words.Get()
	return []string{say.GroupAnswer, say.GroupTalk, say.GroupConversation, say.GroupVisitor, say.GroupYou, say.GroupTeam}
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
	say := words.Get()
	return []CommandInfo{
		{
			Name: "online", Argument: say.ArgDuration, Options: option("duration", say.OptionOnline, false), Group: say.GroupYou,
			Help: say.HelpOnline,
		},
		{
			Name: "away", Argument: say.ArgAway, Options: option("duration", say.OptionAway, false),
			Group: say.GroupYou, Help: say.HelpAway,
		},
		{Name: "offline", Group: say.GroupYou, Help: say.HelpOffline},
		{
			Name: "status", Aliases: []string{"who"}, Group: say.GroupTeam,
			Help: say.HelpStatus,
		},
	}
}

// threadCommands are what operators do in a visitor's thread.
func threadCommands() []CommandInfo {
	say := words.Get()
	return []CommandInfo{
		{Name: "info", Thread: true, Group: say.GroupVisitor, Help: say.HelpInfo},
		{
			Name: "r", Aliases: []string{"reply"}, Argument: say.ArgText, Required: true, Options: option("message", say.OptionReply, true),
			Thread: true, Group: say.GroupAnswer, Help: say.HelpReply,
		},
		{
			Name: "send", Argument: "[" + say.ArgText + "]", Options: option("text", say.OptionReply, false), Thread: true, Group: say.GroupAnswer,
			Help: say.HelpSend,
		},
		{
			Name: "note", Argument: say.ArgText, Required: true, Options: option("text", say.OptionNote, true), Thread: true,
			Group: say.GroupTalk, Help: say.HelpNote,
		},
		{
			Name: "claim", Argument: "[" + say.ArgName + "]", Options: []CommandOption{{Name: "operator", Help: say.OptionClaim, Person: true}},
			Thread: true, Group: say.GroupTalk, Help: say.HelpClaim,
		},
		{Name: "unclaim", Thread: true, Group: say.GroupTalk, Help: say.HelpUnclaim},
		{
			Name: "assign", Argument: say.ArgName, Required: true,
			Options: []CommandOption{{Name: "operator", Help: say.OptionAssign, Required: true, Person: true}},
			Thread:  true, Group: say.GroupTalk, Help: say.HelpAssign,
		},
		{Name: "ok", Thread: true, Group: say.GroupTalk, Help: say.HelpOK},
		{
			Name: "remind", Argument: "2h [" + say.ArgText + "]", Required: true,
			Options: []CommandOption{
				{Name: "when", Help: say.OptionWhen, Required: true}, {Name: "text", Help: say.OptionReminder},
			},
			Thread: true, Group: say.GroupTalk, Help: say.HelpRemind,
		},
		{
			Name: "block", Argument: say.ArgReason, Options: option("reason", say.OptionReason, false), Thread: true, Group: say.GroupVisitor,
			Help: say.HelpBlock,
		},
		{
			Name: "unblock", Argument: say.ArgVisitorID, Options: option("visitor", say.OptionVisitor, false),
			Group: say.GroupVisitor, Help: say.HelpUnblock,
		},
		{Name: "history", Thread: true, Group: say.GroupVisitor, Help: say.HelpHistory},
		{Name: "transcript", Thread: true, Group: say.GroupConversation, Help: say.HelpTranscript},
		{Name: "read", Thread: true, Group: say.GroupConversation, Help: say.HelpRead},
		{Name: "delete", Thread: true, Group: say.GroupConversation, Help: say.HelpDelete},
		{Name: "close", Thread: true, Group: say.GroupConversation, Help: say.HelpClose},
		{Name: "reopen", Thread: true, Group: say.GroupConversation, Help: say.HelpReopen},
		{Name: "csat", Aliases: []string{"rate"}, Thread: true, Group: say.GroupConversation, Help: say.HelpCSAT},
		{
			Name: "ai", Argument: "on|off", Required: true, Choices: []string{"on", "off"}, Options: option("state", say.OptionOnOff, true, "on", "off"),
			Thread: true, Group: say.GroupConversation, Help: say.HelpAI,
		},
	}
}

func otherCommands() []CommandInfo {
	say := words.Get()
	return []CommandInfo{
		{
			Name: "find", Argument: say.ArgText, Required: true, Options: option("text", say.OptionFind, true),
			Group: say.GroupTeam, Help: say.HelpFind,
		},
		{Name: "blocked", Group: say.GroupTeam, Help: say.HelpBlocked},
		{
			Name: "canned", Argument: say.ArgCanned, Group: say.GroupAnswer,
			Options: []CommandOption{
				{Name: "what", Help: say.OptionCanned, Choices: []string{"add", "remove"}},
				{Name: "name", Help: say.OptionCannedName},
				{Name: "text", Help: say.OptionCannedText},
			},
			Help: say.HelpCanned,
		},
		{
			Name: "name", Argument: "[" + say.ArgText + "]", Options: option("text", say.OptionName, false), Group: say.GroupYou,
			Help: say.HelpName,
		},
		{
			Name: "link", Argument: say.ArgCode, Options: option("code", say.OptionCode, false), Group: say.GroupYou,
			Help: say.HelpLink,
		},
		{Name: "unlink", Group: say.GroupYou, Help: say.HelpUnlink},
		{Name: "id", Group: say.GroupTeam, Help: say.HelpID},
		{
			Name: "help", Aliases: []string{"h", "commands", "start"}, Argument: say.ArgCommand, Options: option("command", say.OptionCommand, false),
			Group: say.GroupTeam, Help: say.HelpHelp,
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
