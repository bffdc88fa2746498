package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
)

// patience only ends a test that hangs.
const patience = 2 * time.Minute

// Fault is something that a platform does to a call.
type Fault string

const (
	// FaultRateLimit refuses the next send for pace.
	FaultRateLimit Fault = "rate limit"
	// FaultServer answers the next send with a 5xx and a page instead of an answer.
	FaultServer Fault = "server fault"
	// FaultCut takes the next send and cuts the connection instead of answering.
	FaultCut Fault = "cut after processing"
	// FaultThreadGone deletes the thread by hand.
	FaultThreadGone Fault = "thread deleted"
	// FaultThreadClosed closes the thread by hand, so that it takes no messages.
	FaultThreadClosed Fault = "thread closed"
	// FaultUnauthorised makes the token one that is not accepted.
	FaultUnauthorised Fault = "unauthorised"
	// FaultMarkup refuses the next send for its markup.
	FaultMarkup Fault = "unparsable markup"
)

// Harness is a platform's adapter on a stand-in of its platform, and hands to act there. The suite takes a new one for each
// of its tests.
type Harness struct {
	Platform bridge.Platform
	Secrets  []bridge.Secret // that no error may carry

	// Shown returns what the platform shows of a thread, oldest first, without the thread's own opening message if that is a
	// step of opening it.
	Shown func(thread bridge.ThreadID) []Shown
	// Card returns what the platform shows of a session in the thread's own opening message; it is set for a
	// bridge.CardEditor, and for no other.
	Card func(thread bridge.ThreadID) string
	// RepeatsShow says that a message whose answer was lost is shown again when it is sent again.
	RepeatsShow bool
	// Tidy returns what the platform itself makes of a text's white space before it shows it; nil for one that leaves it alone.
	Tidy func(text string) string
	// NoReplies says that the platform has no native replies.
	NoReplies bool

	// Faults are the faults that the platform knows, each as the way to bring it about.
	Faults map[Fault]func(thread bridge.ThreadID)
	// RateScope is the scope of FaultRateLimit; the others' is the same everywhere.
	RateScope bridge.Scope

	// Say writes a message in a thread as an operator named Ana and returns its id. replyTo may be empty.
	Say func(thread bridge.ThreadID, text string, replyTo bridge.MessageID) bridge.MessageID
	// AnaID is Ana's user id on the platform.
	AnaID string
	// Cursor is the receiver's position of before anything was said, for a platform that catches up from one.
	Cursor string
	// Edit, Delete, React and Upload are what the operator does to messages; each is nil where the platform does not tell bots.
	Edit   func(thread bridge.ThreadID, id bridge.MessageID, text string)
	Delete func(thread bridge.ThreadID, id bridge.MessageID)
	React  func(thread bridge.ThreadID, id bridge.MessageID)
	Upload func(thread bridge.ThreadID, name, mediaType string, content []byte) bridge.MessageID
	// Signs returns the bot's own reactions on a message of the operator; it is set for a bridge.Reactor.
	Signs func(thread bridge.ThreadID, id bridge.MessageID) []string
	// Waiting returns how many of the operator's messages the platform would deliver again to a new listener, since they are
	// not acknowledged. It is nil for a platform without acknowledgements.
	Waiting func() int
}

// Run holds an adapter to what the relay relies on.
func Run(t *testing.T, begin func(t *testing.T) *Harness) {
	t.Run("threads", func(t *testing.T) { testThreads(t, begin(t)) })
	t.Run("text", func(t *testing.T) { testText(t, begin(t)) })
	t.Run("card", func(t *testing.T) { testCard(t, begin(t)) })
	t.Run("author", func(t *testing.T) { testAuthor(t, begin(t)) })
	t.Run("files", func(t *testing.T) { testFiles(t, begin(t)) })
	t.Run("silence", func(t *testing.T) { testSilence(t, begin(t)) })
	t.Run("replies", func(t *testing.T) { testReplies(t, begin(t)) })
	t.Run("faults", func(t *testing.T) { testFaults(t, begin) })
	t.Run("rename", func(t *testing.T) { testRename(t, begin(t)) })
	t.Run("close", func(t *testing.T) { testClose(t, begin(t)) })
	t.Run("edit", func(t *testing.T) { testEdit(t, begin(t)) })
	t.Run("delete", func(t *testing.T) { testDelete(t, begin(t)) })
	t.Run("upload", func(t *testing.T) { testUpload(t, begin(t)) })
	t.Run("signs", func(t *testing.T) { testSigns(t, begin(t)) })
	t.Run("mention", func(t *testing.T) { testMention(t, begin(t)) })
	t.Run("typing", func(t *testing.T) { testTyping(t, begin(t)) })
	t.Run("lost answer", func(t *testing.T) { testLostAnswer(t, begin(t)) })
	if _, ok := begin(t).Platform.(bridge.Listener); ok {
		t.Run("listen", func(t *testing.T) { testListen(t, begin(t)) })
		t.Run("listen refused", func(t *testing.T) { testListenRefused(t, begin(t)) })
		t.Run("listen to changes", func(t *testing.T) { testListenChanges(t, begin(t)) })
		t.Run("listen to files", func(t *testing.T) { testListenFiles(t, begin(t)) })
		t.Run("listen stops", func(t *testing.T) { testListenStops(t, begin(t)) })
	}
}

func session(id, name string) *bridge.Session {
	return &bridge.Session{ID: id, VisitorID: "visitor-" + id, Identity: &bridge.Identity{ID: "i-" + id, Name: name}}
}

// Open opens a session's thread, all steps of it.
func Open(t *testing.T, p bridge.Platform, s *bridge.Session) bridge.ThreadID {
	t.Helper()
	return openAs(t, p, s, s.ID)
}

// openAs opens a session's thread under a key.
func openAs(t *testing.T, p bridge.Platform, s *bridge.Session, key string) bridge.ThreadID {
	t.Helper()
	var done []string
	for range 10 {
		thread, step, err := p.OpenThread(t.Context(), s, bridge.Opening{Done: done, Key: key})
		if err != nil {
			t.Fatalf("OpenThread: %v", err)
		}
		if thread != "" {
			return thread
		}
		if step == "" {
			t.Fatal("OpenThread returned neither a thread nor a step")
		}
		done = append(done, step)
	}
	t.Fatal("OpenThread takes more than ten steps")
	return ""
}

// Deliver renders a message and sends all its parts.
func Deliver(t *testing.T, p bridge.Platform, thread bridge.ThreadID, m bridge.Outgoing) []bridge.MessageID {
	t.Helper()
	m.Thread = thread
	var ids []bridge.MessageID
	for i, part := range p.Render(m) {
		got, err := p.Send(t.Context(), thread, part)
		if err != nil {
			t.Fatalf("Send of part %d: %v", i, err)
		}
		if len(got) == 0 || slices.Contains(got, "") {
			t.Fatalf("Send of part %d returned the ids %q", i, got)
		}
		ids = append(ids, got...)
	}
	return ids
}

func joinedShown(shown []Shown) string {
	var b strings.Builder
	for _, s := range shown {
		b.WriteString(s.Text)
	}
	return b.String()
}

// withoutInvisible returns what a person sees of a text.
func withoutInvisible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Cc) {
			return -1
		}
		return r
	}, withoutSpace(s))
}

func withoutSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func testThreads(t *testing.T, h *Harness) {
	if h.Platform.Name() == "" {
		t.Error("the platform has no name")
	}
	one, two := Open(t, h.Platform, session("s1", "Maria")), Open(t, h.Platform, session("s2", "Maria"))
	if one == two {
		t.Fatalf("two sessions share the thread %q", one)
	}
	first := Deliver(t, h.Platform, one, bridge.Outgoing{Text: "for one", Kind: bridge.KindMessage})
	second := Deliver(t, h.Platform, two, bridge.Outgoing{Text: "for two", Kind: bridge.KindMessage})
	if first[0] == second[0] {
		t.Errorf("two messages have the id %q", first[0])
	}
	if got := joinedShown(h.Shown(one)); got != "for one" {
		t.Errorf("the first thread shows %q", got)
	}
	if got := joinedShown(h.Shown(two)); got != "for two" {
		t.Errorf("the second thread shows %q", got)
	}
}

func testText(t *testing.T, h *Harness) {
	for i, text := range []string{
		"hello",
		"<b>bold?</b> &amp; &lt; a < b > c & d",
		"*stars* _under_ ~wave~ `tick` |bar| ||spoiler|| > quote # head [a](b) \\* \\",
		"@everyone @here <@123> <!channel> <#C1|x> :smile: #tag",
		"emoji 😀 👨‍👩‍👧‍👦 🏳️‍🌈 🇪🇸 👍🏽 é",
		"שלום עולם, مرحبا بالعالم",
		"a code block:\n```go\nfunc main() {\n\tx := a<b && c>d\n}\n```\nend",
		"> quoted line\n> second\n- list\n1. number",
		"https://example.test/?a=1&b=2#c and mailto:a@b.test",
		"line one\nline two\n\nparagraph",
		strings.Repeat("x", 4000),
		strings.Repeat("😀", 4000),
		strings.Repeat("<&>", 1333),
		strings.Repeat("word and more\n", 290),
		strings.Repeat("👨‍👩‍👧‍👦", 570),
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			thread := Open(t, h.Platform, session("text-"+strconv.Itoa(i), "Maria"))
			parts := h.Platform.Render(bridge.Outgoing{Thread: thread, Text: text, Kind: bridge.KindMessage})
			var plain strings.Builder
			for _, p := range parts {
				if p.Plain == "" {
					p.Plain = p.Text
				}
				plain.WriteString(p.Plain)
			}
			if plain.String() != text {
				t.Errorf("the parts' plain texts are %d characters, not the text's %d: %.80q", plain.Len(), len(text), plain.String())
			}
			Deliver(t, h.Platform, thread, bridge.Outgoing{Text: text, Kind: bridge.KindMessage})
			shown := h.Shown(thread)
			got, want := joinedShown(shown), text
			switch {
			case h.Tidy != nil && len(shown) > 1:
				got, want = withoutSpace(got), withoutSpace(want)
			case h.Tidy != nil:
				want = h.Tidy(want)
			}
			if got != want {
				t.Errorf("shown %.200q\nnot   %.200q", got, want)
			}
		})
	}
	for _, text := range []string{" ", "\n \t\n", "\u200b\u200d", "\u00a0\u2003"} {
		thread := Open(t, h.Platform, session("blank", "Maria"))
		before := len(h.Shown(thread))
		Deliver(t, h.Platform, thread, bridge.Outgoing{Text: text, Kind: bridge.KindMessage})
		shown := h.Shown(thread)
		if len(shown) == before || withoutInvisible(shown[len(shown)-1].Text) == "" {
			t.Errorf("the text %q shows nothing", text)
		}
	}
}

func testCard(t *testing.T, h *Harness) {
	s := session("card", "Maria <López> & Co")
	s.Identity.Email = "maria@example.test"
	s.Metadata = &bridge.Metadata{URL: "https://example.test/pricing?a=1&b=2", PageTitle: "Pricing <b>", City: "Madrid", Country: "Spain",
		DeviceType: "mobile", Browser: "Firefox", OS: "Android"}
	s.UserPhone = "+34600000000"
	editor, opens := h.Platform.(bridge.CardEditor)
	if opens != (h.Card != nil) {
		t.Fatalf("the platform shows its card while it opens a thread: %t; the harness says %t", opens, h.Card != nil)
	}
	show := func(s *bridge.Session, m bridge.Outgoing) string {
		thread := Open(t, h.Platform, s)
		if !opens {
			m.Card = s
		}
		if !opens || m.Text != "" {
			Deliver(t, h.Platform, thread, m)
		}
		if opens {
			return h.Card(thread) + joinedShown(h.Shown(thread))
		}
		return joinedShown(h.Shown(thread))
	}
	all := show(s, bridge.Outgoing{Text: "the first question", Kind: bridge.KindMessage})
	for _, want := range []string{s.Identity.Name, s.Identity.Email, s.Metadata.URL, s.Metadata.PageTitle, "Madrid", "Spain", "mobile",
		"Firefox", "Android", s.UserPhone, "the first question"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not shown in %q", want, all)
		}
	}
	if strings.Index(all, s.Identity.Name) > strings.Index(all, "the first question") {
		t.Error("the card stands behind the message")
	}

	long := strings.Repeat("long word ", 400)
	if all := withoutSpace(show(s, bridge.Outgoing{Text: long, Kind: bridge.KindMessage})); !strings.Contains(all, withoutSpace(long)) {
		t.Error("a long text behind a card is not shown whole")
	}
	bare := &bridge.Session{ID: "bare", VisitorID: "v1"}
	if all := show(bare, bridge.Outgoing{Kind: bridge.KindNotice}); !strings.Contains(all, "v1") {
		t.Errorf("the card of an unknown visitor shows %q", all)
	}
	if !opens {
		return
	}
	thread := Open(t, h.Platform, bare)
	for range 2 { // the second changes nothing
		if err := editor.EditCard(t.Context(), thread, bridge.Card{Session: s, Words: "where is *my* <order>?", Answers: "Ana & Co"}, nil); err != nil {
			t.Fatalf("EditCard: %v", err)
		}
	}
	for _, want := range []string{s.Identity.Email, "where is *my* <order>?", "Ana & Co"} {
		if card := h.Card(thread); !strings.Contains(card, want) {
			t.Errorf("the card shows %q after its edit, without %q", card, want)
		}
	}
	if err := editor.EditCard(t.Context(), thread, bridge.Card{Session: s}, nil); err != nil || strings.Contains(h.Card(thread), "order") {
		t.Errorf("the words stay: %q, %v", h.Card(thread), err)
	}
}

func testAuthor(t *testing.T, h *Harness) {
	thread := Open(t, h.Platform, session("author", "Maria"))
	Deliver(t, h.Platform, thread, bridge.Outgoing{Author: "Ana <Lead> (Elsewhere)", Text: "I look into it", Kind: bridge.KindMessage})
	all := joinedShown(h.Shown(thread))
	if i, j := strings.Index(all, "Ana <Lead> (Elsewhere)"), strings.Index(all, "I look into it"); i < 0 || j < i {
		t.Errorf("shown %q", all)
	}
}

func testFiles(t *testing.T, h *Harness) {
	thread := Open(t, h.Platform, session("files", "Maria"))
	Deliver(t, h.Platform, thread, bridge.Outgoing{Kind: bridge.KindMessage, Links: []bridge.Attachment{
		{Filename: "a<b>&.pdf", Size: 1234, URL: "https://files.example.test/x?a=1&b=2"}, {Filename: "two.png"}}})
	all := joinedShown(h.Shown(thread))
	for _, want := range []string{"a<b>&.pdf", "two.png"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not shown in %q", want, all)
		}
	}
}

func testSilence(t *testing.T, h *Harness) {
	thread := Open(t, h.Platform, session("silence", "Maria"))
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "a word", Kind: bridge.KindMessage})
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "a notice", Kind: bridge.KindNotice})
	for _, s := range h.Shown(thread) {
		if notice := strings.Contains(s.Text, "notice"); s.Silent != notice {
			t.Errorf("%q: silent %t", s.Text, s.Silent)
		}
	}
}

func testReplies(t *testing.T, h *Harness) {
	thread := Open(t, h.Platform, session("replies", "Maria"))
	ids := Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "the question", Kind: bridge.KindMessage})
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "the answer", ReplyTo: ids[0], Kind: bridge.KindMessage})
	shown := h.Shown(thread)
	if len(shown) != 2 {
		t.Fatalf("shown %+v", shown)
	}
	if !h.NoReplies && shown[1].ReplyTo != ids[0] {
		t.Errorf("a reply to %q is shown as one to %q", ids[0], shown[1].ReplyTo)
	}
	// What it replies to may be gone; the message is shown all the same.
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "late", ReplyTo: "987654321", Kind: bridge.KindMessage})
	if got := h.Shown(thread); len(got) != 3 || !strings.Contains(got[2].Text, "late") {
		t.Errorf("a reply to a message that is gone: %+v", got)
	}
}

func testFaults(t *testing.T, begin func(t *testing.T) *Harness) {
	const secretText = "the visitor's own words 4711"
	for _, c := range []struct {
		fault  Fault
		reason bridge.Reason
		scope  bridge.Scope
		shown  int // afterwards
	}{
		{FaultRateLimit, bridge.ReasonRateLimited, 0, 0},
		{FaultServer, bridge.ReasonTransient, bridge.ScopeUnclear, 0},
		{FaultCut, bridge.ReasonUnconfirmed, bridge.ScopeSession, 1},
		{FaultThreadGone, bridge.ReasonThreadGone, bridge.ScopeSession, 0},
		{FaultThreadClosed, bridge.ReasonClosed, bridge.ScopeSession, 0},
		{FaultUnauthorised, bridge.ReasonAuth, bridge.ScopeDestination, 0},
		{FaultMarkup, bridge.ReasonRejected, bridge.ScopeSession, 0},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			h := begin(t)
			bring, known := h.Faults[c.fault]
			if !known {
				return
			}
			thread := Open(t, h.Platform, session("fault", "Maria"))
			bring(thread)
			parts := h.Platform.Render(bridge.Outgoing{Thread: thread, Text: secretText, Kind: bridge.KindMessage})
			ids, err := h.Platform.Send(t.Context(), thread, parts[0])
			if err == nil {
				t.Fatalf("the send worked: %q", ids)
			}
			d := checkError(t, h, err, secretText)
			scope := c.scope
			if c.fault == FaultRateLimit {
				if scope = h.RateScope; d.RetryAfter <= 0 {
					t.Errorf("RetryAfter is %v", d.RetryAfter)
				}
			}
			if d.Reason != c.reason || d.Scope != scope {
				t.Errorf("reason %s scope %d, not %s %d: %v", d.Reason, d.Scope, c.reason, scope, d)
			}
			if got := len(h.Shown(thread)); c.fault != FaultThreadGone && got != c.shown {
				t.Errorf("%d messages are shown, not %d", got, c.shown)
			}

			switch c.fault {
			case FaultThreadClosed:
				if r, ok := h.Platform.(bridge.ThreadReopener); ok {
					if err := r.ReopenThread(t.Context(), thread); err != nil {
						t.Fatalf("ReopenThread: %v", err)
					}
					if err := r.ReopenThread(t.Context(), thread); err != nil {
						t.Errorf("ReopenThread of an open thread: %v", err)
					}
					Deliver(t, h.Platform, thread, bridge.Outgoing{Text: secretText, Kind: bridge.KindMessage})
				}
			case FaultMarkup:
				if parts[0].Plain == "" {
					t.Fatal("there is no plain form")
				}
				if _, err := h.Platform.Send(t.Context(), thread, bridge.Part{Text: parts[0].Plain}); err != nil {
					t.Fatalf("the plain form: %v", err)
				}
				if got := joinedShown(h.Shown(thread)); got != secretText {
					t.Errorf("the plain form shows %q", got)
				}
			case FaultThreadGone:
				if got := openAs(t, h.Platform, session("fault", "Maria"), "the one that replaces it"); got == thread {
					t.Errorf("the new thread is the old one")
				}
			case FaultRateLimit, FaultServer, FaultCut:
				if _, err := h.Platform.Send(t.Context(), thread, parts[0]); err != nil {
					t.Errorf("the next send: %v", err)
				}
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		h := begin(t)
		thread := Open(t, h.Platform, session("fault", "Maria"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := h.Platform.Send(ctx, thread, bridge.Part{Text: secretText})
		if err == nil {
			t.Fatal("a cancelled send worked")
		}
		_ = checkError(t, h, err, secretText)
	})
}

// checkError checks that err is one that the relay can work with and that may be logged.
func checkError(t *testing.T, h *Harness, err error, sent string) *bridge.DeliveryError {
	t.Helper()
	var d *bridge.DeliveryError
	if !errors.As(err, &d) {
		t.Fatalf("the error is a %T, not a DeliveryError: %v", err, err)
	}
	if d.Op == "" || d.Detail == "" {
		t.Errorf("the error lacks its call or its detail: %+v", *d)
	}
	printed := fmt.Sprintf("%v %+v %#v", err, *d, *d)
	for _, s := range append([]bridge.Secret{bridge.Secret(sent)}, h.Secrets...) {
		if s != "" && strings.Contains(printed, s.Reveal()) {
			t.Errorf("the error carries what it must not: %q", printed)
		}
	}
	return d
}

func testRename(t *testing.T, h *Harness) {
	r, ok := h.Platform.(bridge.ThreadRenamer)
	if !ok {
		return
	}
	s := session("rename", "Maria")
	thread := Open(t, h.Platform, s)
	if name := r.ThreadName(s); !strings.Contains(name, "Maria") {
		t.Errorf("the thread's name is %q", name)
	}
	for range 2 { // the second changes nothing
		if err := r.RenameThread(t.Context(), thread, "María José"); err != nil {
			t.Errorf("RenameThread: %v", err)
		}
	}
	s.Identity.Name = strings.Repeat("👩‍💻", 300)
	if err := r.RenameThread(t.Context(), thread, r.ThreadName(s)); err != nil {
		t.Errorf("RenameThread to a long name: %v", err)
	}
	Open(t, h.Platform, s)
	s.Identity.Name = "\u200b\n"
	if name := r.ThreadName(s); withoutInvisible(name) == "" {
		t.Errorf("the name %q shows nothing", name)
	}
	Open(t, h.Platform, s)
	gone, known := h.Faults[FaultThreadGone]
	if !known {
		return
	}
	gone(thread)
	if err := r.RenameThread(t.Context(), thread, "too late"); err == nil {
		t.Error("a thread that is gone was renamed")
	} else if d := checkError(t, h, err, "too late"); d.Reason != bridge.ReasonThreadGone {
		t.Errorf("renaming a thread that is gone: %v", d)
	}
}

// listen runs Listen until stop is called, which returns its error.
func listen(t *testing.T, h *Harness, inbox *Inbox) (stop func() error, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Platform.(bridge.Listener).Listen(ctx, inbox) }()
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("Listen does not stop when its context ends")
			return nil
		}
	}
	t.Cleanup(cancel)
	return stop, done
}

func checkStopped(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Listen ended with %v", err)
	}
}

func testListen(t *testing.T, h *Harness) {
	const n = 25
	one, two := Open(t, h.Platform, session("l1", "Maria")), Open(t, h.Platform, session("l2", "Eva"))
	asked := Deliver(t, h.Platform, one, bridge.Outgoing{Text: "question", Kind: bridge.KindMessage})
	inbox := NewInbox(h.Cursor)
	accepted := 0
	var early int
	inbox.Before = func(_ context.Context, u bridge.Update) error {
		if u.Kind != bridge.UpdateMessage {
			return nil
		}
		if h.Waiting != nil && accepted < n && h.Waiting() < n-accepted {
			early++
		}
		accepted++
		return nil
	}
	type said struct {
		thread bridge.ThreadID
		text   string
		id     bridge.MessageID
	}
	var all []said
	say := func(text string, replyTo bridge.MessageID) {
		thread := one
		if len(all)%3 == 2 {
			thread = two
		}
		all = append(all, said{thread, text, h.Say(thread, text, replyTo)})
	}
	say("exactly <b>as</b> typed  &amp; *so* 😀 @everyone\n\nend", asked[0])
	for i := 1; i < n; i++ {
		say("message "+strconv.Itoa(i), "")
	}
	stop, _ := listen(t, h, inbox)
	got := inbox.Wait(t, n)
	say("written while listening", "")
	got = append(got[:n:n], inbox.Wait(t, n+1)[n:]...)

	seen := map[string]bool{}
	for i, u := range got {
		if u.Thread != all[i].thread || u.Text != all[i].text || u.Message != all[i].id {
			t.Errorf("update %d is %q of %q in %q, not %q of %q in %q", i, u.Text, u.Message, u.Thread, all[i].text, all[i].id, all[i].thread)
		}
		if u.ID == "" || seen[u.ID] || u.Cursor == "" || u.Command != nil {
			t.Errorf("update %d: id %q cursor %q command %v", i, u.ID, u.Cursor, u.Command)
		}
		if u.Author.Name != "Ana" || u.Author.ID == "" {
			t.Errorf("update %d is by %+v", i, u.Author)
		}
		seen[u.ID] = true
	}
	if !h.NoReplies && got[0].ReplyTo != asked[0] {
		t.Errorf("the reply is to %q, not %q", got[0].ReplyTo, asked[0])
	}
	if got[1].ReplyTo != "" {
		t.Errorf("a message that is no reply is one to %q", got[1].ReplyTo)
	}
	if early > 0 {
		t.Errorf("%d updates were acknowledged before they were accepted", early)
	}
	if h.Waiting != nil {
		for end := time.Now().Add(patience); h.Waiting() > 0; {
			if time.Now().After(end) {
				t.Fatalf("%d updates are never acknowledged", h.Waiting())
			}
			tick := time.NewTimer(5 * time.Millisecond)
			<-tick.C
		}
	}
	checkStopped(t, stop())
	if got := len(inbox.Messages()); got != n+1 {
		t.Errorf("%d messages were accepted, not %d", got, n+1)
	}
}

func testListenRefused(t *testing.T, h *Harness) {
	inbox := NewInbox(h.Cursor) // begun before anything is said, as where threads are opened
	thread := Open(t, h.Platform, session("refused", "Maria"))
	for i := range 5 {
		h.Say(thread, "message "+strconv.Itoa(i), "")
	}
	refusal := errors.New("the store is full")
	inbox.Before = func(_ context.Context, u bridge.Update) error {
		if u.Text == "message 2" {
			return refusal
		}
		return nil
	}
	_, ended := listen(t, h, inbox)
	select {
	case err := <-ended:
		if !errors.Is(err, refusal) {
			t.Errorf("Listen ended with %v, not with what Accept returned", err)
		}
	case <-time.After(patience):
		t.Fatal("Listen goes on after Accept has refused an update")
	}
	if got := inbox.Messages(); len(got) != 2 {
		t.Fatalf("%d messages were accepted", len(got))
	}
	if h.Waiting != nil && h.Waiting() < 3 {
		t.Errorf("a refused update was acknowledged: %d wait", h.Waiting())
	}

	inbox.Before = nil
	stop, _ := listen(t, h, inbox)
	got := inbox.Wait(t, 5)
	checkStopped(t, stop())
	for i, u := range got {
		if want := "message " + strconv.Itoa(i); u.Text != want {
			t.Errorf("update %d is %q", i, u.Text)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d messages were accepted, not 5", len(got))
	}
}

func testListenStops(t *testing.T, h *Harness) {
	thread := Open(t, h.Platform, session("stops", "Maria"))
	inbox := NewInbox(h.Cursor)
	stop, _ := listen(t, h, inbox)
	h.Say(thread, "hello", "")
	inbox.Wait(t, 1)
	checkStopped(t, stop())
}
