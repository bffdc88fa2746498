package desk

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableCanned holds the canned replies: key name, value text.
const tableCanned = "canned"

// What the canned replies may be at most.
const (
	maxCanned     = 200
	maxCannedName = 32
)

// cannedReply returns the canned reply that a message stands for: !name or /name and nothing else.
func (in *inbox) cannedReply(ctx context.Context, u bridge.Update, m marked) (text string, ok bool, err error) {
	name := m.name
	if m.mark == "" { // a name that begins with a digit is none for a command
		text := trimUnseen(u.Text)
		if name, ok = strings.CutPrefix(text, "!"); !ok {
			name, ok = strings.CutPrefix(text, "/")
		}
		name = strings.ToLower(strings.TrimSpace(name))
	} else {
		ok = m.exact && m.args == ""
	}
	if !ok || cannedFault(name) != "" {
		return "", false, nil
	}
	value, err := in.desk.store.Get(ctx, tableCanned, name)
	return string(value), value != nil, err
}

// cannedFault says why a canned reply cannot have a name; nothing for one that it can.
func cannedFault(name string) string {
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	switch {
	case name == "" || odd || len([]rune(name)) > maxCannedName:
		return fmt.Sprintf("A canned reply's name has up to %d letters, digits, - and _.", maxCannedName)
	default:
		if _, taken := bridge.FindCommand(name); taken {
			return "!" + name + " is a command; take another name."
		}
		return ""
	}
}

// canned lists the canned replies, shows, keeps or removes one.
func (in *inbox) canned(ctx context.Context, o commandContext) (bridge.Result, error) {
	verb, rest := firstWord(o.args)
	name, text := firstWord(rest)
	name = strings.ToLower(name)
	rows, err := in.desk.store.List(ctx, tableCanned, "", rowsMost)
	if err != nil {
		return bridge.Result{}, err
	}
	old := ""
	for _, row := range rows {
		if row.Key == name {
			old = string(row.Value)
		}
	}
	fault := cannedFault(name)
	row := bridge.Row{Table: tableCanned, Key: name, Value: []byte(text)}
	answer := ""
	switch verb = strings.ToLower(verb); {
	case verb == "":
		return in.replyTo(ctx, o, listed(rows))
	case verb == "add" && fault != "":
		return in.replyTo(ctx, o, fault+" Nothing was done.")
	case verb == "add" && text == "":
		return in.replyTo(ctx, o, fmt.Sprintf("What is it to say? /canned add %s text. Nothing was done.", name))
	case verb == "add" && len([]rune(text)) > bridge.MaxShown:
		return in.replyTo(ctx, o, fmt.Sprintf("A message has at most %d characters. Nothing was done.", bridge.MaxShown))
	case verb == "add" && old == "" && len(rows) >= maxCanned:
		return in.replyTo(ctx, o, fmt.Sprintf("There are %d canned replies already; /canned remove name makes room. Nothing was done.",
			len(rows)))
	case verb == "add" && old != "":
		answer = fmt.Sprintf("!%s in a visitor's thread sends that from now on, and no longer: %s", name, old)
	case verb == "add":
		answer = fmt.Sprintf("!%s in a visitor's thread sends that.", name)
	case verb == "remove" && old == "":
		return in.replyTo(ctx, o, fmt.Sprintf("There is no canned reply %q. /canned lists them.", shortened(name)))
	case verb == "remove" && text != "":
		return in.replyTo(ctx, o, "/canned remove takes one name. Nothing was done.")
	case verb == "remove":
		row.Value, answer = nil, fmt.Sprintf("!%s is no canned reply any more. It was: %s", name, old)
	default:
		return in.replyTo(ctx, o, fmt.Sprintf("/canned does not take that: %s. Nothing was done.", o.info.Usage()))
	}
	b := in.answered(o, answer)
	b.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], row)
	return in.commitWithPresence(ctx, o.u, b)
}

// listedText is how much of a canned reply the list shows, in characters.
const listedText = 60

func listed(rows []bridge.Row) string {
	if len(rows) == 0 {
		return "There are no canned replies. /canned add hello Hello, how can I help you? keeps one, and !hello in a visitor's " +
			"thread sends it."
	}
	var b strings.Builder
	b.WriteString("In a visitor's thread, these send what stands behind them:")
	for _, row := range rows {
		text := []rune(strings.Join(strings.Fields(string(row.Value)), " "))
		if len(text) > listedText {
			text = append(text[:listedText], '…')
		}
		fmt.Fprintf(&b, "\n!%s – %s", row.Key, string(text))
	}
	return b.String()
}

// firstWord cuts the first word off a text, whose other lines stay as they are.
func firstWord(text string) (first, rest string) {
	text = strings.TrimSpace(text)
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		return text[:i], strings.TrimSpace(text[i:])
	}
	return text, ""
}
