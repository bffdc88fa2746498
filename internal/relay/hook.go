package relay

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Webhook is where every event of both directions is told, for programs that are no app server of ours.
type Webhook interface {
	// PostEvent makes one attempt to tell of an event, within a time of its own. data is a JSON object, id the same on every attempt.
	PostEvent(ctx context.Context, event bridge.Type, id string, data []byte) error
}

// hook is where the events webhook's lane delivers to. It has one target, and what it is told is made of the event alone.
type hook struct {
	to       Webhook
	store    Store
	troubles *troubles
}

func (d *hook) limits() bridge.Limits { return bridge.Limits{Concurrency: perInstance} }

func (d *hook) atOnce(target string) int {
	if d.troubles.has(target) {
		return perFailingInstance
	}
	return perInstance
}

func (d *hook) heard(bridge.Entry) bool { return false }

// kind implements destination: everything but what is for one place alone.
func (d *hook) kind(e bridge.Entry) bridge.Kind {
	switch {
	case e.Event.Origin == bridge.OriginApp:
		switch e.Event.Type {
		case bridge.TypeNewSession, bridge.TypeVisitorMessage, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted,
			bridge.TypeVisitorDisconnect, bridge.TypeCustomEvent, bridge.TypeIdentityUpdate, bridge.TypeAITakeover,
			bridge.TypeCSATSubmitted, bridge.TypeOperatorMessage, bridge.TypeOperatorStatus, bridge.TypeMessageRead,
			bridge.TypeSessionClosed:
			return bridge.KindWord
		}
		return bridge.KindNone
	case e.Event.FromOperators() && e.Event.Callback == "":
		return bridge.KindWord
	default:
		return bridge.KindNone
	}
}

func (d *hook) load(ctx context.Context) error { return d.troubles.load(ctx, d.store) }

func (d *hook) targets(*item) []string    { return onlyTarget }
func (d *hook) waits(*item) bool          { return true }
func (d *hook) lastOnly(bridge.Type) bool { return false }
func (d *hook) unwritten() []bridge.Row   { return nil }
func (d *hook) written([]bridge.Row)      {}
func (d *hook) changed() <-chan struct{}  { return nil }
func (d *hook) served() bool              { return true }
func (d *hook) tidy(time.Time)            {}

func (d *hook) attempt(ctx context.Context, _ *item, target string, e bridge.Entry) (result, error) {
	data, err := told(e)
	if err != nil {
		return result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "read", Detail: "the event cannot be read"}
	}
	err = d.to.PostEvent(ctx, e.Event.Type, e.Seq.String(), data)
	d.troubles.note(ctx, target, e.Event.Type, err)
	if err != nil && !bridge.AsDelivery(err, opPost, "").UnknownType(e.Event.Type) {
		return result{op: opPost}, err
	}
	return result{op: opPost, done: true}, nil
}

func (d *hook) circumstance(context.Context, *item, *circumstance) {}

// aged implements destination: it has a day, too, when it only ever asks for time.
func (d *hook) aged() bool { return true }

// knowsRepeats implements destination: by their webhook-id.
func (d *hook) knowsRepeats() bool { return true }

// react is never asked: the webhook has no threads, no chats and no markup.
func (d *hook) react(context.Context, outcome, *bridge.DeliveryError, *item, bridge.Entry) (bridge.Batch, bool, error) {
	return bridge.Batch{}, true, nil
}

func (d *hook) takes(target string, since time.Time) bool { return d.troubles.takes(target, since) }

func (d *hook) buried(bridge.Entry, *bridge.DeliveryError) []bridge.Event { return nil }

func (d *hook) news(now time.Time) news {
	return d.troubles.news(now, func(string) bool { return true })
}

// visit is what the webhook is told of an app server's event: fields as they came, unknown ones within them too.
type visit struct {
	SessionID   string          `json:"sessionId,omitempty"`
	VisitorID   string          `json:"visitorId,omitempty"`
	MessageID   string          `json:"messageId,omitempty"`
	MessageIDs  json.RawMessage `json:"messageIds,omitempty"`
	Status      string          `json:"status,omitempty"`
	Content     string          `json:"content,omitempty"`
	Message     json.RawMessage `json:"message,omitempty"`
	Event       json.RawMessage `json:"event,omitempty"`
	Session     json.RawMessage `json:"session,omitempty"`
	Online      *bool           `json:"online,omitempty"`
	Duration    json.RawMessage `json:"duration,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	Score       json.RawMessage `json:"score,omitempty"`
	Comment     string          `json:"comment,omitempty"`
	RespondedAt string          `json:"respondedAt,omitempty"`
}

// told is what the webhook is told of an event.
func told(e bridge.Entry) ([]byte, error) {
	var v visit
	if err := json.Unmarshal(e.Event.Body, &v); err != nil {
		return nil, err
	}
	session := e.Event.Session
	var out visit
	switch e.Event.Type {
	case bridge.TypeNewSession, bridge.TypeIdentityUpdate:
		out = visit{Session: v.Session}
	case bridge.TypeVisitorMessage:
		var who bridge.Session
		if err := json.Unmarshal(v.Session, &who); err != nil {
			return nil, err
		}
		out = visit{SessionID: session, VisitorID: who.VisitorID, Message: v.Message, Session: v.Session}
	case bridge.TypeAITakeover:
		out = visit{Session: v.Session, Reason: v.Reason}
	case bridge.TypeOperatorStatus:
		out = visit{Online: v.Online}
	case bridge.TypeMessageRead:
		out = visit{SessionID: session, MessageIDs: v.MessageIDs, Status: v.Status}
	case bridge.TypeCustomEvent:
		out = visit{Event: v.Event, Session: v.Session}
	case bridge.TypeVisitorEdited:
		out = visit{SessionID: session, MessageID: v.MessageID, Content: v.Content}
	case bridge.TypeVisitorDeleted:
		out = visit{SessionID: session, MessageID: v.MessageID}
	case bridge.TypeVisitorDisconnect:
		out = visit{Session: v.Session, Duration: v.Duration, Reason: v.Reason}
	case bridge.TypeCSATSubmitted:
		out = visit{SessionID: session, Score: v.Score, Comment: v.Comment, RespondedAt: v.RespondedAt}
	case bridge.TypeOperatorMessage:
		if e.Event.Origin == bridge.OriginApp {
			e.Event.Body = ofChat(e)
		}
		out = visit{Event: e.Wire()}
	default:
		if e.Event.Origin == bridge.OriginApp {
			e.Event.Body = ownFields(e.Event.Body)
		}
		out = visit{Event: e.Wire()}
	}
	return json.Marshal(out)
}

// ownFields is an app server's body without the fields that every event has.
func ownFields(body []byte) []byte {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return body
	}
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool {
		return strings.EqualFold(name, "type") || name == "id" || name == "timestamp"
	})
	return mustJSON(fields)
}

// ofChat is the body of an app server's operator_message in the form of those that come from chat.
func ofChat(e bridge.Entry) []byte {
	var a bridge.AppEvent
	if err := json.Unmarshal(e.Event.Body, &a); err != nil || a.Message == nil {
		return e.Event.Body
	}
	return mustJSON(bridge.OperatorMessage{
		SessionID: e.Event.Session, MessageID: a.Message.ID, Content: a.Message.Content, SourceBridge: a.SourceBridge,
		OperatorName: a.OperatorName, Attachments: a.Message.Attachments, ReplyToMessageID: a.Message.ReplyTo,
	})
}
