package threads

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// intent is what an event wants a thread to show.
type intent struct {
	session   *bridge.Session // that the event carries
	tells     bool            // it is there to tell of the session: the thread's name follows it
	announces bool            // it says no more than that the session is there
	author    string          // of a message that is not the visitor's
	text      string
	foreign   bool // the text is not the bridge's own
	files     []bridge.Attachment
	replyTo   []msgmap.Ref // what it may reply to; the first that is shown counts
	mention   []string     // who is called by name
	message   msgmap.Ref   // that it is
	edited    time.Time    // when the text came to be what it is, where it was edited
	edit      bridge.Seq   // the edit that brought the text; 0: it is the message's own
	changes   msgmap.Ref   // that it edits or deletes
	deletes   bool
	all       *bridge.Attachment // what a message was edited to, where that is too long to be shown whole
	hasWhole  bool               // the first of the files has all of a text that is too long to be shown whole
	refiles   bool               // it changes the files of the message, too: files are all that it has now
	signs     bool               // it tells what became of operators' messages
	sign      bridge.Sign
	closes    bool   // the conversation is closed, and its thread is to be
	reopens   bool   // the conversation goes on, and its thread is to be open
	refers    string // the session's claim without which it makes no sense
	answer    *bridge.Answer
	late      *lateFiles // it is no more than files of an earlier message
}

// decodeIntent turns an event of the log into what its threads show.
func decodeIntent(e bridge.Entry) (intent, error) {
	ev := e.Event
	switch {
	case ev.Type == bridge.TypeAnswer:
		a := &bridge.Answer{}
		err := json.Unmarshal(ev.Body, a)
		w := intent{answer: a, text: a.Text, foreign: a.Foreign}
		switch {
		case a.Draft != "" && a.Changes:
			w.changes, w.edit, w.edited = msgmap.Draft(a.Draft), e.Seq, e.Seq.Time()
		case a.Draft != "":
			w.message = msgmap.Draft(a.Draft)
		}
		return w, err
	case ev.Type == typeLate:
		return decodeLate(e)
	case ev.Type == bridge.TypeOperatorMessage && ev.Origin != bridge.OriginApp:
		var m bridge.OperatorMessage
		err := json.Unmarshal(ev.Body, &m)
		w := intent{
			author: cmp.Or(ev.By, m.OperatorName) + " (" + bridge.Title(m.SourceBridge) + ")",
			files:  m.Attachments, replyTo: msgmap.Replied(msgmap.Operators, m.ReplyToMessageID), message: msgmap.RefOf(ev), foreign: true,
		}
		text, whole := msgmap.Shorten(m.Content)
		w.text = text
		w.whole(whole)
		return w, err
	case ev.Type == bridge.TypeOperatorEdited:
		var m bridge.OperatorEdited
		err := json.Unmarshal(ev.Body, &m)
		text, whole := msgmap.Shorten(m.Content)
		return intent{
			changes: msgmap.RefOf(ev), edit: e.Seq, text: text, all: whole, edited: e.Seq.Time(), files: m.Attachments, refiles: m.Attachments != nil,
		}, err
	case ev.Type == bridge.TypeOperatorDeleted:
		return intent{changes: msgmap.RefOf(ev), deletes: true}, nil
	case ev.Type == bridge.TypeSessionClosed && ev.Origin != bridge.OriginApp:
		return intent{closes: true, text: closingText(ev)}, nil
	case ev.Type == bridge.TypeSessionReopened:
		return intent{reopens: true, text: closingText(ev)}, nil
	case ev.Type == bridge.TypeOperatorMessageAcked:
		return intent{signs: true, sign: bridge.SignDelivered}, nil
	}
	return decodeApp(e)
}

// decodeApp is decodeIntent for an app server's event.
func decodeApp(e bridge.Entry) (intent, error) {
	ev := e.Event
	a, err := bridge.ReadAppEvent(ev.Body)
	if err != nil {
		return intent{}, err
	}
	if !isWhole(ev.Type, a) { // it was, when it was accepted
		return intent{}, errors.New("the entry of the log is damaged")
	}
	w := intent{session: a.Session.Shortened(), foreign: true}
	switch ev.Type {
	case bridge.TypeNewSession:
		w.tells, w.announces = true, true
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage:
		text, whole := msgmap.Shorten(a.Message.Content)
		w.text, w.files, w.message = text, a.Message.Attachments, msgmap.RefOf(ev)
		w.whole(whole)
		w.replyTo = msgmap.Replied(w.message.Side, a.Message.ReplyTo)
		if w.author = authorOf(ev.Type, a); a.Message.Sender == bridge.SenderSystem {
			w.author, w.text = "", "ℹ️ "+w.text
		}
	case bridge.TypeVisitorEdited:
		w.refers, w.changes = bridge.VisitorMessageKey(a.MessageID), msgmap.RefOf(ev)
		w.text, w.all = msgmap.Shorten(a.Content)
		w.edit = e.Seq
		w.edited = e.Seq.Time()
		if at, ok := bridge.Time(a.EditedAt); ok {
			w.edited = at
		}
	case bridge.TypeVisitorDeleted:
		w.refers, w.changes, w.deletes = bridge.VisitorMessageKey(a.MessageID), msgmap.RefOf(ev), true
	case bridge.TypeMessageRead:
		if w.signs, w.sign = true, bridge.SignRead; a.Status != "read" {
			w.sign = bridge.SignDelivered
		}
	case bridge.TypeIdentityUpdate:
		w.tells = true
	case bridge.TypeCustomEvent:
		w.text = "⚡ " + customText(a.Event)
	case bridge.TypeAITakeover:
		w.text = words.Get().AITakesOver + because(a.Reason)
	case bridge.TypeCSATSubmitted:
		w.text = words.Get().VisitorRates.With(strconv.Itoa(*a.Score)) + because(a.Comment)
	case bridge.TypeVisitorDisconnect:
		w.text = leftText(a.Duration)
	case bridge.TypeSessionClosed:
		w.refers, w.closes, w.text = bridge.SessionKey, true, words.Get().ClosedInApp
	default:
		return intent{}, fmt.Errorf("type %s is not for threads", ev.Type)
	}
	return w, nil
}

// isWhole says whether an app server's event has what is read of its type.
func isWhole(t bridge.Type, a *bridge.AppEvent) bool {
	switch t {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage:
		return a.Message != nil
	case bridge.TypeCustomEvent:
		return a.Event != nil
	case bridge.TypeCSATSubmitted:
		return a.Score != nil
	}
	return true
}

// authorOf names who wrote a message, unless it is the visitor. One whose message came from the app has that behind their name, as others
// have a platform's.
func authorOf(t bridge.Type, a *bridge.AppEvent) string {
	switch {
	case a.Message.Sender == bridge.SenderAI:
		return authorAI
	case t == bridge.TypeVisitorMessage && a.Message.Sender != bridge.SenderOperator:
		return ""
	case measure.OneLine(a.OperatorName, bridge.ShownName) != "":
		return words.Get().OnSite.With(measure.OneLine(a.OperatorName, bridge.ShownName))
	default:
		return words.Get().OnSite.With(words.Get().Operator)
	}
}

// identityOf is who the visitor says to be, in a line; empty when nothing is known.
func identityOf(s *bridge.Session) string {
	if s == nil || s.Identity == nil {
		return ""
	}
	var parts []string
	for _, part := range []string{s.Identity.Name, s.Identity.Email, s.Identity.ID} {
		if part = measure.OneLine(part, bridge.ShownField); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " · ")
}

func because(reason string) string {
	if reason = measure.OneLine(reason, bridge.ShownReason); reason == "" {
		return "."
	}
	return words.Get().Colon + reason
}

// leftText says that the visitor left, and after how long.
func leftText(seconds *float64) string {
	if seconds == nil || *seconds <= 0 {
		return words.Get().VisitorLeft
	}
	return words.Get().VisitorLeftAfter.With(words.Get().Lasting(time.Duration(*seconds * float64(time.Second))))
}
