package desk

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
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
	say := words.Get()
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	switch {
	case name == "" || odd || len([]rune(name)) > maxCannedName:
		return say.Of(say.CannedNameForm, maxCannedName)
	default:
		if _, taken := bridge.FindCommand(name); taken {
			return say.CannedIsCommand.With(name)
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
	say, fault := in.say(), cannedFault(name)
	row := bridge.Row{Table: tableCanned, Key: name, Value: []byte(text)}
	answer := ""
	switch verb = strings.ToLower(verb); {
	case verb == "":
		return in.replyTo(ctx, o, listed(in.say(), rows))
	case verb == "add" && fault != "":
		return in.replyTo(ctx, o, fault+" "+say.NothingDone)
	case verb == "add" && text == "":
		return in.replyTo(ctx, o, say.CannedNoText.With(name))
	case verb == "add" && len([]rune(text)) > bridge.MaxShown:
		return in.replyTo(ctx, o, say.Of(say.TextTooLong, bridge.MaxShown))
	case verb == "add" && old == "" && len(rows) >= maxCanned:
		return in.replyTo(ctx, o, say.Of(say.CannedFull, len(rows)))
	case verb == "add" && old != "":
		answer = say.CannedReplaced.With(name, old)
	case verb == "add":
		answer = say.CannedKept.With(name)
	case verb == "remove" && (name == "" || old != "" && text != ""):
		return in.replyTo(ctx, o, say.CannedOneName)
	case verb == "remove" && old == "":
		return in.replyTo(ctx, o, say.CannedUnknown.With(shortened(name)))
	case verb == "remove":
		row.Value, answer = nil, say.CannedRemoved.With(name, old)
	default:
		return in.replyTo(ctx, o, say.CannedTakes.With(in.usage(o.info)))
	}
	b := in.answered(o, answer)
	b.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], row)
	return in.commitWithPresence(ctx, o.u, b)
}

// listedText is how much of a canned reply the list shows, in characters.
const listedText = 60

func listed(say *words.Table, rows []bridge.Row) string {
	if len(rows) == 0 {
		return say.CannedNone
	}
	var b strings.Builder
	b.WriteString(say.CannedList)
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
