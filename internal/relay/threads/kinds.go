package threads

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// kinds is what of an event matters to a platform, as far as that can be said of the event alone.
type kinds struct {
	name   string
	reacts bool // the platform shows signs
	quotes bool // it has no replies
	// platforms are the names of all that are configured.
	platforms []string
}

// Former stands for the sink of a platform that is no longer configured.
type Former struct{ kinds }

// FormerOf returns what stands for the sink of a platform.
func FormerOf(platform string) Former { return Former{kinds{name: platform}} }

// GivenUp implements engine.Former.
func (f Former) GivenUp(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	return f.givenUp(e, cause)
}

// Kind implements engine.Sink.
func (d kinds) Kind(e bridge.Entry) bridge.Kind {
	ev := e.Event
	if ev.Blocked {
		return bridge.KindNone
	}
	switch ev.Type {
	case bridge.TypeVisitorMessage:
		if ev.BySystem() {
			return bridge.KindNotice
		}
		return bridge.KindMessage
	case typeLate:
		if isLateOf(d.name, ev) {
			return bridge.KindMessage
		}
	case bridge.TypeOperatorMessage:
		if ev.Origin == d.name || ev.Origin == bridge.OriginApp && d.cameFromChat(e) {
			return bridge.KindNone
		}
		return bridge.KindMessage
	case bridge.TypeAnswer:
		return d.addressed(e)
	case bridge.TypeSessionClosed, bridge.TypeSessionReopened:
		return bridge.KindNotice
	case bridge.TypeOperatorMessageAcked:
		if d.reacts && ev.Origin == d.name {
			return bridge.KindNotice
		}
	case bridge.TypeMessageRead:
		if d.reacts && ev.Origin == bridge.OriginApp && len(d.ours(e)) > 0 {
			return bridge.KindNotice
		}
	case bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
		if ev.Origin != d.name || d.quotes {
			return bridge.KindNotice
		}
	case bridge.TypeNewSession, bridge.TypeIdentityUpdate, bridge.TypeCustomEvent, bridge.TypeAITakeover,
		bridge.TypeCSATSubmitted, bridge.TypeVisitorDisconnect, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted:
		if ev.Origin == bridge.OriginApp {
			return bridge.KindNotice
		}
	}
	return bridge.KindNone
}

// cameFromChat says whether an operator's message from the app came from one of our platforms in the first place: then the
// others have been shown it already.
func (d kinds) cameFromChat(e bridge.Entry) bool {
	var body struct {
		SourceBridge string `json:"sourceBridge"`
	}
	return json.Unmarshal(e.Event.Body, &body) == nil && slices.Contains(d.platforms, body.SourceBridge)
}

// addressed says of what use an answer is. One that is for a session's threads, with mentions, is for those whom it names here.
func (d kinds) addressed(e bridge.Entry) bridge.Kind {
	var a bridge.Answer
	if json.Unmarshal(e.Event.Body, &a) != nil {
		return bridge.KindNone
	}
	switch {
	case e.Event.Origin != bridge.OriginBridge && e.Event.Origin != d.name:
		return bridge.KindNone
	case a.Session == "" && e.Event.Origin == d.name:
		return bridge.KindMessage
	case a.Session == "":
		return bridge.KindNone
	case len(a.Mention) == 0:
		return bridge.KindNotice
	case len(d.mentioned(a)) > 0:
		return bridge.KindMessage
	case a.All:
		return bridge.KindNotice
	default:
		return bridge.KindNone
	}
}

// mentioned returns the platform's own ids of those whom an answer names.
func (d kinds) mentioned(a bridge.Answer) []string {
	var ids []string
	for _, key := range a.Mention {
		if id, ok := strings.CutPrefix(key, d.name+":"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// ours returns the messages of this platform's operators that an event says to have been delivered or read.
func (d kinds) ours(e bridge.Entry) []string {
	if e.Event.Type == bridge.TypeOperatorMessageAcked {
		return []string{e.Event.Message}
	}
	var body struct {
		MessageIDs []string `json:"messageIds"`
	}
	if json.Unmarshal(e.Event.Body, &body) != nil {
		return nil
	}
	return slices.DeleteFunc(body.MessageIDs, func(id string) bool { return !strings.HasPrefix(id, d.name+":") })
}

func (d kinds) receipt(e bridge.Entry, t bridge.Type, reason string) bridge.Event {
	return bridge.Event{
		Type: t, Origin: d.name, Session: e.Event.Session, Message: e.Event.Message,
		Body: bridge.MustJSON(bridge.Receipt{
			SessionID: e.Event.Session, MessageID: e.Event.Message, SourceBridge: d.name, Reason: reason,
		}),
	}
}

// givenUp returns the events that tell of a dead letter.
func (d kinds) givenUp(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	if w, err := decodeIntent(e); err == nil && w.late != nil {
		return d.lateGivenUp(e, w, cause)
	}
	if e.Event.Type != bridge.TypeVisitorMessage {
		return nil
	}
	return []bridge.Event{
		d.receipt(e, bridge.TypeMessageFailed, string(cause.Reason)+": "+cause.Detail),
		bridge.SessionNotice(e.Event.Session, words.Get().NotShownOn.With(bridge.Title(d.name), cause.Detail)),
	}
}

// lateGivenUp returns the events that tell of late files that were given up.
func (d kinds) lateGivenUp(e bridge.Entry, w intent, cause *bridge.DeliveryError) []bridge.Event {
	if !w.late.Visitor {
		return nil
	}
	out := []bridge.Event{bridge.SessionNotice(e.Event.Session,
		words.Get().FilesNotShownOn.With(namesOf(w.messageFiles(e)), bridge.Title(d.name), cause.Detail))}
	if w.late.Alone {
		out = append(out, d.receipt(e, bridge.TypeMessageFailed, string(cause.Reason)+": "+cause.Detail))
	}
	return out
}
