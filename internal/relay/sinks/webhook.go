package sinks

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/incident"
)

// Webhook is where every event of both directions is told, for programs that are no app server of ours.
type Webhook interface {
	// PostEvent makes one attempt to tell of an event, within a time of its own. data is a JSON object, id the same on every attempt.
	PostEvent(ctx context.Context, event bridge.Type, id string, data []byte) error
}

// View is what an events webhook is shown of visitors.
type View struct {
	Suspects func(bridge.Event) bool // whether an announced session is likely a program's; nil: none is
	Hide     *bridge.Hidden          // fields that are not shown; nil: none
}

// NewWebhook returns the sink of an events webhook. places is where operators are told what is of no session.
func NewWebhook(to Webhook, s Store, view View, places func() []incident.Place, log *slog.Logger) *WebhookSink {
	return &WebhookSink{programs: newPrograms(WebhookLane, places, log), to: to, store: s, view: view}
}

// WebhookSink is where the events webhook's lane delivers to. It has one target, and what it is told is made of the event alone.
type WebhookSink struct {
	programs
	to    Webhook
	store Store
	view  View
}

func (d *WebhookSink) Limits() bridge.Limits { return bridge.Limits{Concurrency: perProgram} }

// Kind implements engine.Sink: everything but what is for one place alone.
func (d *WebhookSink) Kind(e bridge.Entry) bridge.Kind { return webhookKind(e) }

// FormerWebhook stands for the sink of an events webhook that is no longer configured.
type FormerWebhook struct{}

// GivenUp implements engine.Former: nobody is told.
func (FormerWebhook) GivenUp(bridge.Entry, *bridge.DeliveryError) []bridge.Event { return nil }

// Kind implements engine.Former.
func (FormerWebhook) Kind(e bridge.Entry) bridge.Kind { return webhookKind(e) }

// webhookKind says of what use an event is to an events webhook.
func webhookKind(e bridge.Entry) bridge.Kind {
	if e.Event.FromOperators() && e.Event.Callback == "" {
		return bridge.KindMessage
	}
	if e.Event.Origin == bridge.OriginApp {
		switch e.Event.Type {
		case bridge.TypeNewSession, bridge.TypeVisitorMessage, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted,
			bridge.TypeVisitorDisconnect, bridge.TypeCustomEvent, bridge.TypeIdentityUpdate, bridge.TypeAITakeover,
			bridge.TypeCSATSubmitted, bridge.TypeOperatorMessage, bridge.TypeOperatorStatus, bridge.TypeMessageRead,
			bridge.TypeSessionClosed:
			return bridge.KindMessage
		}
	}
	return bridge.KindNone
}

func (d *WebhookSink) Load(ctx context.Context) error { return d.incidents.Load(ctx, d.store) }

func (d *WebhookSink) Attempt(ctx context.Context, a engine.Delivery, _ engine.Peek) (engine.Result, error) {
	e := a.Entry
	bot := e.Event.Type == bridge.TypeNewSession && d.view.Suspects != nil && d.view.Suspects(e.Event)
	e.Event = d.view.Hide.Event(e.Event)
	data, err := webhookData(e, bot)
	if err != nil {
		return engine.Result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "read", Detail: "the event cannot be read"}
	}
	err = d.to.PostEvent(ctx, e.Event.Type, e.Seq.String(), data)
	d.incidents.Note(ctx, a.Target, e.Event.Type, err)
	if err != nil && !bridge.AsDelivery(err, engine.OpPost, "").UnknownType(e.Event.Type) {
		return engine.Result{Op: engine.OpPost}, err
	}
	return engine.Result{Op: engine.OpPost, Done: true}, nil
}

func (d *WebhookSink) Report(now time.Time, _ engine.Refusals) engine.Notice {
	return d.incidents.Notice(now, func(string) bool { return true })
}

// webhookFields is what the webhook is told of an app server's event: fields as they came, unknown ones within them too.
type webhookFields struct {
	SessionID   string          `json:"sessionId,omitempty"`
	VisitorID   string          `json:"visitorId,omitempty"`
	MessageID   string          `json:"messageId,omitempty"`
	MessageIDs  json.RawMessage `json:"messageIds,omitempty"`
	Status      string          `json:"status,omitempty"`
	Content     string          `json:"content,omitempty"`
	Message     json.RawMessage `json:"message,omitempty"`
	Event       json.RawMessage `json:"event,omitempty"`
	Session     json.RawMessage `json:"session,omitempty"`
	IsBot       bool            `json:"isBot,omitempty"`
	Online      *bool           `json:"online,omitempty"`
	Duration    json.RawMessage `json:"duration,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	Score       json.RawMessage `json:"score,omitempty"`
	Comment     string          `json:"comment,omitempty"`
	RespondedAt string          `json:"respondedAt,omitempty"`
}

// webhookData is what the webhook is told of an event. bot says that its session is likely a program's.
func webhookData(e bridge.Entry, bot bool) ([]byte, error) {
	var v webhookFields
	if err := json.Unmarshal(e.Event.Body, &v); err != nil {
		return nil, err
	}
	session := e.Event.Session
	var out webhookFields
	switch e.Event.Type {
	case bridge.TypeNewSession:
		out = webhookFields{Session: v.Session, IsBot: bot}
	case bridge.TypeIdentityUpdate:
		out = webhookFields{Session: v.Session}
	case bridge.TypeVisitorMessage:
		var who bridge.Session
		if err := json.Unmarshal(v.Session, &who); err != nil {
			return nil, err
		}
		out = webhookFields{SessionID: session, VisitorID: who.VisitorID, Message: v.Message, Session: v.Session}
	case bridge.TypeAITakeover:
		out = webhookFields{Session: v.Session, Reason: v.Reason}
	case bridge.TypeOperatorStatus:
		out = webhookFields{Online: v.Online}
	case bridge.TypeMessageRead:
		out = webhookFields{SessionID: session, MessageIDs: v.MessageIDs, Status: v.Status}
	case bridge.TypeCustomEvent:
		out = webhookFields{Event: v.Event, Session: v.Session}
	case bridge.TypeVisitorEdited:
		out = webhookFields{SessionID: session, MessageID: v.MessageID, Content: v.Content}
	case bridge.TypeVisitorDeleted:
		out = webhookFields{SessionID: session, MessageID: v.MessageID}
	case bridge.TypeVisitorDisconnect:
		out = webhookFields{Session: v.Session, Duration: v.Duration, Reason: v.Reason}
	case bridge.TypeCSATSubmitted:
		out = webhookFields{SessionID: session, Score: v.Score, Comment: v.Comment, RespondedAt: v.RespondedAt}
	case bridge.TypeOperatorMessage:
		if e.Event.Origin == bridge.OriginApp {
			e.Event.Body = ofChat(e)
		}
		out = webhookFields{Event: e.Wire()}
	default:
		if e.Event.Origin == bridge.OriginApp {
			e.Event.Body = ownFields(e.Event.Body)
		}
		out = webhookFields{Event: e.Wire()}
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
	return bridge.MustJSON(fields)
}

// ofChat is the body of an app server's operator_message in the form of those that come from chat.
func ofChat(e bridge.Entry) []byte {
	var a bridge.AppEvent
	if err := json.Unmarshal(e.Event.Body, &a); err != nil || a.Message == nil {
		return e.Event.Body
	}
	return bridge.MustJSON(bridge.OperatorMessage{
		SessionID: e.Event.Session, MessageID: a.Message.ID, Content: a.Message.Content, SourceBridge: a.SourceBridge,
		OperatorName: a.OperatorName, Attachments: a.Message.Attachments, ReplyToMessageID: a.Message.ReplyTo,
	})
}
