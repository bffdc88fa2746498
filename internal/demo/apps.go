package demo

import (
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// app is a chat app with its operator, on a stand-in for its platform. All methods may be called from several goroutines. An
// error is a *refusal: what the operator wanted is not possible.
type app interface {
	name() string  // telegram, discord or slack
	env() []string // NAME=value, what has the bridge use it
	look() appView
	say(thread, text, replyTo string, f *file) error
	edit(id, text string) error
	remove(id string) error
	react(id, emoji string) error
	press(id, key string) (told string, err error) // told is what the app itself shows whoever presses; most answers are messages
	typing(thread string) error
	file(id string) (file, bool)
	limit(on bool)
	faults() []string
	changed() <-chan struct{}
	close()
}

// appView is what an operator sees.
type appView struct {
	Name     string      `json:"name"`
	Label    string      `json:"label"`
	Place    string      `json:"place"`    // of the group or channel
	Operator string      `json:"operator"` // who looks and writes
	Thread   string      `json:"thread"`   // what a thread is called here
	Emoji    []string    `json:"emoji"`    // what one reacts with here
	Main     appThread   `json:"main"`     // outside the threads
	Threads  []appThread `json:"threads"`  // the oldest first
	Down     bool        `json:"down"`
}

// appThread is a thread and what was written there.
type appThread struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Closed   bool         `json:"closed,omitempty"`
	Typing   bool         `json:"typing,omitempty"` // the bridge shows that the visitor is typing
	Messages []appMessage `json:"messages"`
}

// typingShown is how long an app shows that somebody types: "5 seconds or less" of Telegram's sendChatAction, for all.
const typingShown = 5 * time.Second

// showTyping shows the bridge typing as of a time, unless what was typed has come.
func (t *appThread) showTyping(since time.Time) {
	t.Typing = time.Since(since) < typingShown && !slices.ContainsFunc(t.Messages, func(m appMessage) bool { return m.Bot && m.At.After(since) })
}

// appMessage is a message as the app shows it.
type appMessage struct {
	ID        string     `json:"id"`
	Author    string     `json:"author"`
	Bot       bool       `json:"bot,omitempty"`     // the bridge wrote it
	Mine      bool       `json:"mine,omitempty"`    // the operator wrote it
	Service   string     `json:"service,omitempty"` // what the app itself says; then there is no more
	Text      []span     `json:"text,omitempty"`
	Raw       string     `json:"raw,omitempty"` // the text as the operator typed it, to be edited
	Card      *card      `json:"card,omitempty"`
	ReplyTo   string     `json:"replyTo,omitempty"`
	Files     []fileView `json:"files,omitempty"`
	Reactions []reaction `json:"reactions,omitempty"`
	Buttons   [][]button `json:"buttons,omitempty"` // row by row
	Rings     bool       `json:"rings,omitempty"`   // the operator's phone rings for it
	Edited    bool       `json:"edited,omitempty"`
	Silent    bool       `json:"silent,omitempty"`
	Private   bool       `json:"private,omitempty"` // only the operator sees it
	At        time.Time  `json:"at"`
}

// card is a framed part of a message.
type card struct {
	Title  string `json:"title"`
	Text   []span `json:"text"`
	Footer string `json:"footer,omitempty"`
}

type reaction struct {
	Emoji string `json:"emoji"`
	Count int    `json:"count"`
	Mine  bool   `json:"mine,omitempty"`
}

// button is a button under a message.
type button struct {
	Label string `json:"label"`
	Key   string `json:"key"` // what the app tells of a press of it
}

// pressable says whether a message has a button with a key.
func (m *appMessage) pressable(key string) bool {
	return slices.ContainsFunc(slices.Concat(m.Buttons...), func(b button) bool { return b.Key == key })
}

// file is a file with its content.
type file struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Data []byte `json:"data"` // base64 on the wire
}

// fileView is a file as a list shows it.
type fileView struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	Image bool   `json:"image,omitempty"`
	URL   string `json:"url,omitempty"` // on the page's own server
}

// The bounds of what one sees: more would be a page that nobody reads.
const (
	maxThreads  = 40
	maxMessages = 120
)

// tail returns the last n of a list.
func tail[T any](list []T, n int) []T {
	if len(list) > n {
		return list[len(list)-n:]
	}
	return list
}

// mediaType is a file's type: the given one, else what its name or its content tells.
func (f *file) mediaType() string {
	if kind, _, err := mime.ParseMediaType(f.Type); err == nil {
		return kind
	}
	if kind, _, err := mime.ParseMediaType(mime.TypeByExtension(path.Ext(f.Name))); err == nil {
		return kind
	}
	kind, _, _ := strings.Cut(http.DetectContentType(f.Data), ";")
	return kind
}

// picture says whether browsers may show a file of the type where it stands. An SVG is none: it can hold scripts.
func picture(mediaType string) bool {
	switch mediaType {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}
