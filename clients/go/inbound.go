package bridgeclient

import (
	"context"
	"encoding/json"
	"reflect"
	"time"
)

// handle does in the SDK what an event of the operators' side asks for. What is not in the storage is ErrUnknownSession.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) handle(ctx context.Context, e Event) error {
	if e.Type == "operator_status" {
		a.setOnline(e.Online)
		return nil
	}
	if e.SessionID == "" {
		return nil
	}
	session, err := a.pp.GetSession(ctx, e.SessionID)
	if err != nil {
		return err
	}
	if session == nil {
		return ErrUnknownSession
	}
	// Without a place in the stream the last hour comes again. Words are found in the storage; what told of a state then is
	// of no use now.
	old := !a.resumes && a.client.config.Callback == nil && !e.at().IsZero() && e.at().Before(a.began)
	switch e.Type {
	case "operator_message":
		return a.operatorMessage(ctx, e, session, old)
	case "operator_message_edited", "operator_message_deleted":
		return a.operatorChange(ctx, e)
	case "csat_request":
		return a.csatRequest(ctx, e, session)
	}
	if old {
		return nil
	}
	switch e.Type {
	case "operator_typing":
		a.toPage(e.SessionID, "typing", ownData{"sessionId": e.SessionID, "sender": "operator", "isTyping": e.IsTyping})
	case "message_delivered":
		return a.receipt(ctx, e, []string{e.MessageID}, "delivered")
	case "message_read":
		return a.receipt(ctx, e, e.MessageIDs, "read")
	case "ai_toggle":
		return a.setAI(ctx, session, e.Enabled)
	}
	return nil
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) operatorMessage(ctx context.Context, e Event, session *S, old bool) error {
	known, err := a.store.GetMessage(ctx, e.MessageID)
	if err != nil || known != nil && old {
		return err
	}
	m := ownData{
		"id": e.MessageID, "sessionId": e.SessionID, "content": e.Content, "sender": "operator", "status": "sent", "timestamp": e.when(),
		"metadata": map[string]any{"operatorName": e.OperatorName, "sourceBridge": e.SourceBridge},
	}
	if e.ReplyToMessageID != "" {
		m["replyTo"] = e.ReplyToMessageID
	}
	if len(e.Attachments) > 0 {
		for i := range e.Attachments {
			if e.Attachments[i].Status == "" {
				e.Attachments[i].Status = "ready"
			}
		}
		m["attachments"] = e.Attachments
	}
	if known != nil { // another process of the app has kept it; our pages have not seen it
		a.toPage(e.SessionID, "message", m)
		return nil
	}
	message := new(M)
	if err := convert(m, message); err != nil {
		return err
	}
	if err := a.store.SaveMessage(ctx, message); err != nil {
		return err
	}
	a.session(e.SessionID).human()
	if active, _ := field(reflect.ValueOf(session), "AIActive").(bool); active {
		if err := a.setAI(ctx, session, false); err != nil {
			return err
		}
	}
	a.toPage(e.SessionID, "message", m)
	return nil
}

// when is the event's own time, or now.
func (e Event) when() string {
	if e.at().IsZero() {
		return time.Now().UTC().Format(time.RFC3339Nano)
	}
	return e.Timestamp
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) operatorChange(ctx context.Context, e Event) error {
	stored, err := a.store.GetMessage(ctx, e.MessageID)
	if err != nil || stored == nil {
		return err // of an hour before the storage begins
	}
	fields, data, kind := ownData{}, ownData{"messageId": e.MessageID}, ""
	if e.Type == "operator_message_edited" {
		at := or(e.EditedAt, e.when())
		kind, fields["content"], fields["editedAt"], data["content"], data["editedAt"] = "message_edited", e.Content, at, e.Content, at
		if e.Attachments != nil {
			fields["attachments"] = e.Attachments
		}
	} else {
		at := or(e.DeletedAt, e.when())
		kind, fields["deletedAt"], data["deletedAt"] = "message_deleted", at, at
	}
	if err := a.change(ctx, stored, fields); err != nil {
		return err
	}
	a.toPage(e.SessionID, kind, data)
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// change writes a copy of the message with other fields.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) change(ctx context.Context, stored *M, fields ownData) error {
	changed := *stored
	if err := convert(fields, &changed); err != nil {
		return err
	}
	if s, ok := any(a.store).(interface {
		UpdateMessage(ctx context.Context, message *M) error
	}); ok {
		return s.UpdateMessage(ctx, &changed)
	}
	return a.store.SaveMessage(ctx, &changed)
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) receipt(ctx context.Context, e Event, ids []string, status string) error {
	var told []string
	at := e.when()
	for _, id := range ids {
		stored, err := a.store.GetMessage(ctx, id)
		if err != nil {
			return err
		}
		if stored == nil {
			continue
		}
		has := stringOf(reflect.ValueOf(stored), "Status")
		if has == "read" || has == status { // it only rises
			continue
		}
		fields := ownData{"status": status, status + "At": at}
		if err := a.change(ctx, stored, fields); err != nil {
			return err
		}
		told = append(told, id)
	}
	if len(told) > 0 {
		a.toPage(e.SessionID, "read", ownData{"sessionId": e.SessionID, "messageIds": told, "status": status, status + "At": at})
	}
	return nil
}

// csatRequest asks for a rating, unless this is a repeat of what was asked before.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) csatRequest(ctx context.Context, e Event, session *S) error {
	if rating, _ := plain(field(reflect.ValueOf(session), "Csat")).(map[string]any); rating != nil {
		if rating["respondedAt"] != nil {
			return nil
		}
		text, _ := rating["requestedAt"].(string)
		if asked, err := time.Parse(time.RFC3339, text); err == nil && !asked.Before(e.at()) {
			return nil
		}
	}
	return a.pp.RequestCsat(ctx, e.SessionID)
}

// setAI changes the field where it stands, as the SDK itself does.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) setAI(ctx context.Context, session *S, active bool) error {
	f := deref(reflect.ValueOf(session)).FieldByName("AIActive")
	if !f.IsValid() || f.Kind() != reflect.Bool || f.Bool() == active {
		return nil
	}
	f.SetBool(active)
	return a.store.UpdateSession(ctx, session)
}

// toPage sends an event to the session's sockets.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) toPage(sessionID, kind string, data ownData) {
	var event E
	v := reflect.ValueOf(&event).Elem()
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("Type"); f.IsValid() && f.Kind() == reflect.String {
			f.SetString(kind)
		}
		if f := v.FieldByName("Data"); f.IsValid() && f.Kind() == reflect.Interface {
			f.Set(reflect.ValueOf(data))
		}
	}
	a.pp.BroadcastToSession(sessionID, event)
}

// convert writes fields into one of the SDK's values, by their JSON names.
func convert(from any, to any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}
