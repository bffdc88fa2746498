package desk

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// mark is what stands before a command where it works everywhere on the platform. One without replies has no slash commands in threads.
func (in *inbox) mark() string {
	if in.chat.Limits().Quotes {
		return "!"
	}
	return "/"
}

// say is what the bridge says here. It names commands as they work here.
func (in *inbox) say() *words.Table { return words.By(in.mark()) }

// usage is how a command is written here.
func (in *inbox) usage(c bridge.CommandInfo) string {
	return in.mark() + strings.TrimPrefix(c.Usage(), "/")
}

// sayOn is say on another platform.
func (in *inbox) sayOn(platform string) *words.Table {
	for _, other := range in.desk.inboxes {
		if other.platform == platform {
			return other.say()
		}
	}
	return in.say()
}

// help answers with what can be said where it was asked, on one screen of a phone, or with what one command does.
func (in *inbox) help(ctx context.Context, o commandContext) (bridge.Result, error) {
	if o.args != "" {
		return in.replyTo(ctx, o, in.helpOn(o))
	}
	session, err := in.sessionOf(ctx, o.u)
	if err != nil {
		return bridge.Result{}, err
	}
	return in.replyTo(ctx, o, in.helpText(session != ""))
}

// helpOn says what one command does.
func (in *inbox) helpOn(o commandContext) string {
	name := strings.ToLower(strings.TrimLeft(o.args, "/!"))
	c, ok := bridge.FindCommand(name)
	if !ok {
		return in.unknownText(name)
	}
	say := in.say()
	text := in.usage(c) + " – " + words.Marked(c.Help, in.mark()) + "."
	if c.Thread {
		text += " " + say.HelpOnThread
	}
	if len(c.Aliases) > 0 {
		text += " " + say.HelpAliases.With(in.mark()+strings.Join(c.Aliases, ", "+in.mark()))
	}
	return text
}

// shortArgument is how long an argument may be that the list shows, in characters.
const shortArgument = 10

// helpText lists the commands, a line for each group: in a thread all of them, elsewhere those that work there.
func (in *inbox) helpText(inThread bool) string {
	say, mark := in.say(), in.mark()
	form := say.EitherMark
	if mark == "!" {
		form = say.OneMark
	}
	lines := []string{say.HelpElsewhere.With(form)}
	switch {
	case inThread && in.desk.internal:
		lines[0] = say.HelpInternal.With(mark, form)
	case inThread:
		lines[0] = say.HelpInThread.With(form)
	}
	var threads []string
	for _, group := range bridge.CommandGroups() {
		var here []string
		for _, c := range bridge.Commands() {
			switch {
			case c.Group != group:
			case c.Thread && !inThread:
				threads = append(threads, mark+c.Name)
			case len(c.Argument) > 0 && utf8.RuneCountInString(c.Argument) <= shortArgument:
				here = append(here, mark+c.Name+" "+c.Argument)
			default:
				here = append(here, mark+c.Name)
			}
		}
		if len(here) > 0 {
			lines = append(lines, group+say.Colon+strings.Join(here, " · "))
		}
	}
	if len(threads) > 0 {
		lines = append(lines, say.HelpOfThreads.With(strings.Join(threads, " ")))
	}
	return strings.Join(append(lines, say.HelpMore.With(mark)), "\n")
}

// unknownText says in a line that there is no such command.
func (in *inbox) unknownText(name string) string {
	say := in.say()
	text := say.UnknownCommand.With(in.mark() + shortened(name))
	if near := nearest(name, nil); near != "" {
		text += " " + say.DidYouMean.With(in.mark()+near)
	}
	return text + " " + say.HelpListsAll.With(in.mark())
}

// commandNames returns the names and aliases of all commands.
func commandNames() []string {
	var names []string
	for _, c := range bridge.Commands() {
		names = append(append(names, c.Name), c.Aliases...)
	}
	return slices.Clip(names)
}
