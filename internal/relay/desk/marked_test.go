package desk

import (
	"fmt"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// How the beginning of a text is taken.
func TestReadMark(t *testing.T) {
	for text, want := range map[string]string{
		"/note x": "note|x", "!note x": "note|x", "! note x": "note|x", " /note x": "note|x", "\u00a0!\u00a0note\tx": "note|x", "!NOTE\nx\ny": "note|x\ny",
		"\u200b/note": "note|", "/\u2060close": "close|", "！note x": "note|x", "／note x": "note|x", "!note": "note|", "/note ": "note|",
		"!noet x": "noet|x", "/x-1_a": "x-1_a|", "/été": "été|", "!привет мир": "привет|мир", "! hello": "hello|", "!\nhello": "hello|",

		"!note: x": "note|: x, not exact", "/note, x": "note|, x, not exact", "!close!": "close|!, not exact", "/note/ x": "note|/ x, not exact",
		"/index.html": "index|.html, not exact", "!a/b": "a|/b, not exact", "/docs?q=1": "docs|?q=1, not exact", "!x@y": "x|@y, not exact",
		"/ana@example.com x": "ana|@example.com x, not exact",

		"/x@other": "x|@other, not exact, other", "/x@other_bot do it": "x|@other_bot do it, not exact, other",

		"": "words", " ": "words", "!": "words", "/": "words", "! ": "words", "!!!": "words", "!!note x": "words", "//x": "words", "/!x": "words",
		"!/x": "words", "!?": "words", "!5": "words", "/5": "words", "/-x": "words", "!_x": "words", "/* x */": "words", "/usr/bin": "words",
		"/usr/bin/env is it": "words", "/note/x": "words", "/usr/ is it": "words", "hello": "words", "a /note": "words", "Great! note x": "words",
		"¡hola!": "words", ".!note": "words", "[forwarded] /close": "words", "1/2": "words", "\\/note": "words", "!\"x\"": "words",
	} {
		m := readMark(text)
		got := m.name + "|" + m.args
		switch {
		case m.mark == "":
			got = "words"
		case !m.exact:
			got += ", not exact"
		}
		if m.other {
			got += ", other"
		}
		if got != want {
			t.Errorf("%q is read as %q, not as %q", text, got, want)
		}
	}
}

// A text to the bot is for the visitor unless it comes near a command.
func TestDoubtfulToTheBot(t *testing.T) {
	for text, want := range map[string]bool{
		"can you see this?": false, "noet he is a cheat": true, "Hello there": false, "hi there": false, "": false, "onlin": true, "!xyz": true,
	} {
		u := bridge.Update{Text: text, ToBot: true}
		if got := doubtful(u, marksOf(u)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if u := (bridge.Update{Text: "noet x"}); doubtful(u, marksOf(u)) {
		t.Error("what is not said to the bot is held")
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{"noet": "note", "sned": "send", "helo": "hello", "bye": "", "": "", fmt.Sprintf("%0*d", 5000, 1): ""} {
		if got := nearest(name, []string{"hello"}); got != want {
			t.Errorf("%.20q comes nearest to %q, not to %q", name, got, want)
		}
	}
}
