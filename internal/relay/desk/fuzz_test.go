package desk

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// FuzzMark reads what an operator writes. Whatever begins with a mark and a letter goes to the visitor in no case: it is a command, or it
// is held and asked about, or it is a path.
func FuzzMark(f *testing.F) {
	for _, seed := range []string{
		"!noet he is a cheat", "! note x", "/note x", " /note", "！note x", "／note", "\u200b/note", "/\u2060close", "!note:x", "/x@other", "/x@other_bot do it",
		"/usr/bin/env", "!!note", "!привет", "/été", "//x", "[forwarded] /close", "!a/b", "/note/ x", "¡hola!", "!5", "note x", "/n\u0301ote", "!\u0000note",
	} {
		f.Add(seed, "", "", false)
	}
	f.Add("", "Online", "2h", true)
	f.Add("what he said", "close", "", false)
	f.Fuzz(func(t *testing.T, text, name, args string, toBot bool) {
		if !utf8.ValidString(text) || !utf8.ValidString(name) {
			return
		}
		u := bridge.Update{Text: text, ToBot: toBot}
		if name != "" {
			u.Command = &bridge.Command{Name: name, Args: args}
		}
		m := marksOf(u)
		if asked := m.asked(); asked != nil {
			if _, known := bridge.FindCommand(asked.Name); !known || asked.Args != strings.TrimSpace(asked.Args) {
				t.Fatalf("%q asks for %+v", text, asked)
			}
		}
		if u.Command != nil {
			if !doubtful(u, m) {
				t.Fatalf("the command %q is words", name)
			}
			return
		}
		if m.mark == "" && (m.name != "" || m.args != "" || m.exact || m.other) {
			t.Fatalf("%q is words, and %+v", text, m)
		}
		if m.mark != "" && (m.name == "" || m.name != strings.ToLower(m.name) || strings.ContainsFunc(m.name, unicode.IsSpace) || !doubtful(u, m)) {
			t.Fatalf("%q is %+v", text, m)
		}
		// By another way: what a person sees, without blanks and what shows nothing.
		seen := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, text)
		runes := []rune(seen)
		begins := len(runes) > 1 && strings.ContainsRune("!/！／", runes[0]) && unicode.IsLetter(runes[1])
		if begins && m.mark == "" && !strings.Contains(string(runes[2:]), "/") {
			t.Fatalf("%q would be sent to the visitor", text)
		}
		if !begins && m.mark != "" {
			t.Fatalf("%q is held: %+v", text, m)
		}
		// Any text of an operator may be looked for, and may come near a command.
		_ = nearest(m.name, []string{"hello"})
	})
}

// FuzzWords takes the words by which a conversation is found: they are keys in the store.
func FuzzWords(f *testing.F) {
	f.Add("Maria-José <maria@acme.test>", "v_42\n\x01vother", "i\x01i", "https://a.test/x?y=z")
	f.Add("\x00\u200b", "", "\x01v", strings.Repeat("x ", 500))
	f.Fuzz(func(t *testing.T, name, visitor, identity, address string) {
		words := indexWords(&bridge.Session{
			ID: "s", VisitorID: visitor, Identity: &bridge.Identity{ID: identity, Name: name, Email: address}, Metadata: &bridge.Metadata{URL: address},
		})
		if len(words) > wordsMost {
			t.Fatalf("%d words", len(words))
		}
		for i, word := range words {
			own := strings.HasPrefix(word, byVisitor) && i == 0 || strings.HasPrefix(word, byIdentity) && i == 1
			if !own && (strings.ContainsAny(word, "\n\x01") || utf8.RuneCountInString(word) > wordMost || word != strings.ToLower(word)) {
				t.Fatalf("the word %q", word)
			}
		}
		for _, word := range wordsIn(name) {
			if strings.HasPrefix(word, byVisitor) || strings.HasPrefix(word, byIdentity) {
				t.Fatalf("%q asks for %q", name, word)
			}
		}
	})
}
