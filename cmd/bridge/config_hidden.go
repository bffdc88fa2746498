package main

import (
	"regexp"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// hiddenValue stands for what may be a secret in a line about a setting.
const hiddenValue = "…"

var (
	// aWord is what stands between blanks, quotes and the signs of lists.
	aWord = regexp.MustCompile(`[^\s"'(),;]+`)
	// aRun is what keys and tokens are made of; base64 has + / and = too.
	aRun = regexp.MustCompile(`[A-Za-z0-9_+/=~-]{16,}`)
	// aUser is a user or a password before the host of a URL.
	aUser = regexp.MustCompile(`://\S*@`)
)

// hide puts a sign in the place of each word that may be a secret: people put tokens into the wrong variable. A word is hidden if it has a
// run of letters and digits as keys have them, or a user before its host, and if known has it, which may be nil.
func hide(text string, known func(part string) bool) string {
	return aWord.ReplaceAllStringFunc(text, func(word string) string {
		for _, run := range append(aRun.FindAllString(word, -1), aUser.FindAllString(word, -1)...) {
			if (secretLike(run) || strings.HasSuffix(run, "@")) && (known == nil || known(run)) {
				return hiddenValue
			}
		}
		return word
	})
}

// secretLike says whether a run looks as keys do: of several signs, letters and digits among them, or so long without a joint that it is no
// word.
func secretLike(run string) bool {
	letters, digits, piece, longest, signs := 0, 0, 0, 0, map[rune]bool{}
	for _, r := range run {
		signs[r] = true
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z':
			letters++
			piece++
			longest = max(longest, piece)
		default:
			piece = 0
		}
	}
	return len(signs) > 5 && (letters > 1 && digits > 0 || longest > 23)
}

// discreet returns a line about a setting without what may be a secret of all that has been read so far. The secrets themselves are left
// out however they look.
func (e *environment) discreet(line string) string {
	for _, s := range e.secrets {
		if value := s.Reveal(); len(value) > 8 {
			line = strings.ReplaceAll(line, value, hiddenValue)
		}
	}
	return hide(line, func(part string) bool { return strings.Contains(e.read.String(), part) })
}

// note keeps a value that has been read.
func (e *environment) note(value string) string {
	e.read.WriteString(value)
	e.read.WriteByte('\n')
	return value
}

func (e *environment) sawSecret(value string) bridge.Secret {
	e.secrets = append(e.secrets, bridge.Secret(value))
	return bridge.Secret(e.note(value))
}
