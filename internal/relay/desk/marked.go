package desk

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// marked is how an operator's text begins, where it begins like a command: with / or ! and a letter. A text that does not is
// words, and so is a path such as /usr/bin.
type marked struct {
	mark string // / or !; empty: the text is words
	name string // what stands behind the mark, in lower case
	args string
	// exact says that blanks or nothing stand behind the name. Only then it can be a command or a canned reply: of "!note:x" it
	// is not known what it was to be.
	exact bool
	other bool // it is a command to another bot, /name@bot
}

// readMark reads the beginning of a text. A blank before or after the mark does not count, and neither does what cannot be seen.
func readMark(text string) marked {
	text = trimUnseen(text)
	first, size := utf8.DecodeRuneInString(text)
	var m marked
	switch first {
	case '/', '\uff0f': // the full-width forms are what keyboards for Chinese and Japanese write
		m.mark = "/"
	case '!', '\uff01':
		m.mark = "!"
	default:
		return marked{}
	}
	text = trimUnseen(text[size:])
	if letter, _ := utf8.DecodeRuneInString(text); !unicode.IsLetter(letter) {
		return marked{} // a mark alone, doubled, or before a number is text
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !inName(r) })
	if end < 0 {
		end = len(text)
	}
	m.name, m.args = strings.ToLower(text[:end]), text[end:]
	next, _ := utf8.DecodeRuneInString(m.args)
	m.exact = m.args == "" || unicode.IsSpace(next)
	switch word, _ := firstWord(m.args); {
	case m.exact:
	case m.mark == "/" && next == '@':
		m.other = isBotName(word[1:])
	case m.mark == "/" && next == '/' && (len(word) > 1 || !isCommand(m.name)):
		return marked{} // a path; "/note/ text" is a slip
	}
	m.args = strings.TrimSpace(m.args)
	return m
}

// inName says whether a character may stand in the name of a command or a canned reply.
func inName(r rune) bool {
	return r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// trimUnseen takes blanks, and characters that show nothing, off the beginning of a text.
func trimUnseen(text string) string {
	return strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) })
}

// isBotName says whether a text can be a bot's name, as Telegram's are.
func isBotName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})
}

func isCommand(name string) bool {
	_, known := bridge.FindCommand(name)
	return known
}

// marksOf is readMark for an update: what its adapter has read as a command counts.
func marksOf(u bridge.Update) marked {
	m := readMark(u.Text)
	if u.Command == nil {
		return m
	}
	if m.mark == "" {
		m.mark = "/"
	}
	m.name, m.args, m.exact, m.other = strings.ToLower(u.Command.Name), strings.TrimSpace(u.Command.Args), true, false
	return m
}

// asked returns the command that an update is: in the platform's own form, or as !name or /name where name is a command.
func (m marked) asked() *bridge.Command {
	if !m.exact || !isCommand(m.name) {
		return nil
	}
	return &bridge.Command{Name: m.name, Args: m.args}
}

// isMistyped says whether a text names a command, or a canned reply, that there is not. It may be one to another bot all the same.
func isMistyped(m marked) bool { return m.mark != "" && m.exact && !m.other && !isCommand(m.name) }

// doubtful says whether an update is neither words nor a command: it is not known for whom it is.
func doubtful(u bridge.Update, m marked) bool {
	if m.mark != "" {
		return true
	}
	// A text to the bot that is no command is for the visitor all the same, unless one letter makes a command of it.
	word, _ := firstWord(strings.ToLower(u.Text))
	if !u.ToBot || len([]rune(word)) < 3 {
		return false
	}
	near := nearest(word, nil)
	return near != "" && measure.Distance(word, near) == 1
}
