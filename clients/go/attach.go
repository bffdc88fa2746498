package bridgeclient

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// SDK is what Attach needs of the SDK's PocketPing. Its type parameters are the SDK's own types, found by the compiler.
type SDK[Bridge, Session, Message, Event, Conn, Storage any] interface { //nolint:interfacebloat // the SDK's methods
	AddBridge(ctx context.Context, bridge Bridge) error
	GetSession(ctx context.Context, sessionID string) (*Session, error)
	GetStorage() Storage
	SendOperatorMessage(ctx context.Context, sessionID, content, sourceBridge, operatorName string) (*Message, error)
	BroadcastToSession(sessionID string, event Event)
	RegisterWebSocket(sessionID string, conn Conn)
	UnregisterWebSocket(sessionID string, conn Conn)
	SetOperatorOnline(online bool)
	IsOperatorOnline() bool
	RequestCsat(ctx context.Context, sessionID string) error
}

// Hooks is the SDK's Bridge.
type Hooks[PP, Session, Message, Custom, Status any] interface { //nolint:interfacebloat // the SDK's interface
	Name() string
	Init(ctx context.Context, pp PP) error
	OnNewSession(ctx context.Context, session *Session) error
	OnVisitorMessage(ctx context.Context, message *Message, session *Session) error
	OnOperatorMessage(ctx context.Context, message *Message, session *Session, sourceBridge, operatorName string) error
	OnTyping(ctx context.Context, sessionID string, isTyping bool) error
	OnMessageRead(ctx context.Context, sessionID string, messageIDs []string, status Status) error
	OnCustomEvent(ctx context.Context, event Custom, session *Session) error
	OnIdentityUpdate(ctx context.Context, session *Session) error
	Destroy(ctx context.Context) error
}

// Storage is what Attach needs of the SDK's storage.
type Storage[Session, Message any] interface {
	UpdateSession(ctx context.Context, session *Session) error
	SaveMessage(ctx context.Context, message *Message) error
	GetMessage(ctx context.Context, messageID string) (*Message, error)
}

// Attached is an SDK instance that is connected to a bridge.
type Attached struct {
	// Client is the connection, for events of the app's own.
	*Client
	sdk attachedSDK
}

// attachedSDK is the SDK without its types.
type attachedSDK interface {
	handle(ctx context.Context, e Event) error
	watch(sessionID string)
	lastState(sessionID string) map[string]any
	emit(e SiteEvent)
	instance() reflect.Value
	onlineLock() *sync.RWMutex
	listen(sessionID string, conn any) (stop func())
}

// Attach connects an instance of the SDK to the bridge, until Close: what visitors do goes to the bridge, in order, and what
// operators do is stored, shown to the visitor's page and told to Config.OnEvent. Call it once, before the instance serves.
//
// The SDK calls its bridges in goroutines of their own, with the request's context, and hands out the objects that it goes on
// changing. So what can be seen in the handler's own goroutine is taken there, from what the SDK sends to the session's
// sockets: messages, edits, deletions and typing come in the order in which they were handled, and the objects are copied
// before the handler returns. A session's first message can come before it is watched; then what comes within a tenth of a
// second is put in the order of the messages' times. Nothing depends on the request's context.
//
// Nothing that came from the bridge goes back to it.
func Attach[
	PP SDK[Bridge, Session, Message, Event, Conn, Store],
	Bridge Hooks[PP, Session, Message, Custom, Status],
	Store Storage[Session, Message],
	Session, Message, Event, Conn, Custom, Status any,
](pp PP, config Config) (*Attached, error) {
	client, err := New(config)
	if err != nil {
		return nil, err
	}
	a := &attachment[PP, Bridge, Store, Session, Message, Event, Conn, Custom, Status]{
		pp: pp, store: pp.GetStorage(), client: client, sessions: make(map[string]*watched), began: time.Now(),
	}
	bridge, ok := any(a).(Bridge)
	if !ok {
		client.end()
		return nil, fmt.Errorf("bridgeclient: this SDK's Bridge (%T) has methods that are not known here", *new(Bridge))
	}
	a.resumes = client.spool != nil
	if a.resumes {
		last, err := client.spool.lastEvent()
		a.resumes = err == nil && last != ""
	}
	if err := pp.AddBridge(client.life, bridge); err != nil {
		client.end()
		return nil, err
	}
	client.work.Add(2)
	go func() {
		defer client.work.Done()
		if !a.askPresence() { // the bridge is away: the stream must not wait for it
			client.work.Add(1)
			go a.learnPresence()
		}
		_ = client.Listen(client.life, a.handle)
	}()
	go func() {
		defer client.work.Done()
		a.forgetIdle()
	}()
	return &Attached{Client: client, sdk: a}, nil
}

// attachment is the SDK's bridge of ours.
type attachment[
	PP SDK[Bridge, Session, Message, Event, Conn, Store],
	Bridge Hooks[PP, Session, Message, Custom, Status],
	Store Storage[Session, Message],
	Session, Message, Event, Conn, Custom, Status any,
] struct {
	pp      PP
	store   Store
	client  *Client
	began   time.Time
	resumes bool         // the stream goes on where it was
	online  sync.RWMutex // the SDK reads and writes operatorOnline without a lock

	mu       sync.Mutex // guards sessions
	sessions map[string]*watched
}

// idleAfter is how long a session of which nothing is heard is watched.
const idleAfter = 2 * time.Hour

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) instance() reflect.Value {
	return reflect.ValueOf(a.pp)
}
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) onlineLock() *sync.RWMutex { return &a.online }

// watch makes sure that the session is watched from now on.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) watch(sessionID string) { a.session(sessionID) }

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) session(id string) *watched {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.sessions[id]
	if w == nil {
		w = &watched{id: id, send: a.send}
		w.broadcast = func(v any) { a.broadcast(w, v) }
		if conn, ok := any(w).(C); ok {
			a.pp.RegisterWebSocket(id, conn)
		}
		w.since = time.Now()
		w.settle()
		a.sessions[id] = w
	}
	w.heard.Store(time.Now().UnixNano())
	return w
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) forgetIdle() {
	tick := time.NewTicker(idleAfter / 8)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.client.life.Done():
			return
		}
		a.mu.Lock()
		for id, w := range a.sessions {
			if time.Since(time.Unix(0, w.heard.Load())) > idleAfter {
				if conn, ok := any(w).(C); ok {
					a.pp.UnregisterWebSocket(id, conn)
				}
				delete(a.sessions, id)
			}
		}
		a.mu.Unlock()
	}
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) send(e SiteEvent) {
	if err := a.client.Send(e); err != nil && !errors.Is(err, ErrQueueFull) { // a full queue has been told
		a.client.tell(err)
	}
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) learnPresence() {
	defer a.client.work.Done()
	for wait := newBackoff(); wait.pause(a.client.life, 0); {
		if a.askPresence() {
			return
		}
	}
}

// askPresence takes over whether somebody is online, and says whether it could.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) askPresence() bool {
	online, err := a.client.Presence(a.client.life)
	if err != nil {
		return false
	}
	a.setOnline(online)
	return true
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) setOnline(online bool) {
	a.online.Lock()
	defer a.online.Unlock()
	if a.pp.IsOperatorOnline() != online {
		a.pp.SetOperatorOnline(online)
	}
}

// The SDK's hooks. Each runs in a goroutine of its own and may read only what nobody changes later.

// Name is the bridge's name.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) Name() string { return "bridge" }

// Init does nothing: the SDK calls it twice.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) Init(context.Context, PP) error { return nil }

// Destroy is called when the SDK stops.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) Destroy(ctx context.Context) error {
	return a.client.Close(ctx)
}

// OnTyping is never called.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnTyping(context.Context, string, bool) error {
	return nil
}

// OnNewSession announces a session, and watches it.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnNewSession(_ context.Context, session *S) error {
	state := sessionState(reflect.ValueOf(session))
	id, _ := state["id"].(string)
	w := a.session(id)
	w.remember(state)
	w.seen("", time.Time{}, rawEvent{"new_session", id, map[string]any{"session": state}}) // before all that is held
	return nil
}

// OnVisitorMessage is for messages that came before their session was watched.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnVisitorMessage(_ context.Context, message *M, session *S) error {
	m := reflect.ValueOf(message)
	id, at := stringOf(m, "ID"), timeOf(m, "Timestamp")
	w := a.session(stringOf(m, "SessionID"))
	if at.After(w.since) {
		return nil // it was seen in its handler's goroutine, or is about to be
	}
	w.remember(sessionState(reflect.ValueOf(session)))
	w.seen(id, at, a.visitorMessage(w, messageFields(m)))
	return nil
}

// OnOperatorMessage is for what the app itself says as an operator. The AI's messages are seen in their handler's goroutine.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnOperatorMessage(_ context.Context, message *M, session *S, source, name string) error {
	m := reflect.ValueOf(message)
	w := a.session(stringOf(m, "SessionID"))
	switch source {
	case "ai":
		if timeOf(m, "Timestamp").After(w.since) {
			return nil
		}
		w.seen(stringOf(m, "ID"), timeOf(m, "Timestamp"), a.aiMessage(w, messageFields(m))...)
		return nil
	case "telegram", "discord", "slack":
		return nil // another bridge of the SDK's, whose thread it is from
	}
	w.human()
	w.remember(sessionState(reflect.ValueOf(session)))
	fields := map[string]any{"message": messageFields(m), "session": w.state(), "sourceBridge": source, "operatorName": name}
	w.seen("", time.Now(), rawEvent{"operator_message", w.id, fields})
	return nil
}

// OnMessageRead tells what the visitor has seen.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnMessageRead(_ context.Context, sessionID string, ids []string, status Status) error {
	now := time.Now()
	a.session(sessionID).seen("", now, MessageRead{
		SessionID: sessionID, MessageIDs: append([]string(nil), ids...), Status: fmt.Sprint(status), ReadAt: now.UTC().Format(time.RFC3339Nano),
	})
	return nil
}

// OnCustomEvent tells of an event of the page's.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnCustomEvent(_ context.Context, event Cu, session *S) error {
	w := a.session(stringOf(reflect.ValueOf(session), "ID"))
	w.remember(sessionState(reflect.ValueOf(session)))
	w.seen("", time.Now(), rawEvent{"custom_event", w.id, map[string]any{"event": plain(event), "session": w.state()}})
	return nil
}

// OnIdentityUpdate tells who the visitor is.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) OnIdentityUpdate(_ context.Context, session *S) error {
	state := sessionState(reflect.ValueOf(session))
	id, _ := state["id"].(string)
	w := a.session(id)
	w.remember(state)
	w.seen("", time.Now(), rawEvent{"identity_update", id, map[string]any{"session": w.state()}})
	return nil
}

// Notify is how the SDK tells of a rating, in the handler's goroutine.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) Notify(_ context.Context, session *S, _ string) error {
	s := reflect.ValueOf(session)
	w := a.session(stringOf(s, "ID"))
	w.remember(sessionState(s))
	rating, _ := plain(field(s, "Csat")).(map[string]any)
	if rating == nil || rating["score"] == nil {
		return nil
	}
	fields := map[string]any{"session": w.state(), "score": rating["score"]}
	for _, name := range []string{"comment", "respondedAt"} {
		if rating[name] != nil {
			fields[name] = rating[name]
		}
	}
	w.seen("", time.Now(), rawEvent{"csat_submitted", w.id, fields})
	return nil
}

// broadcast sees what the SDK sends to the session's sockets, in the goroutine of the handler that sends it.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) broadcast(w *watched, v any) {
	event := reflect.ValueOf(v)
	data := field(event, "Data")
	if _, ours := data.(ownData); ours {
		return
	}
	switch stringOf(event, "Type") {
	case "message":
		a.sawMessage(w, data)
	case "message_edited", "message_deleted":
		a.sawChange(w, stringOf(event, "Type"), data)
	case "typing":
		if d, _ := plain(data).(map[string]any); d["sender"] == "visitor" {
			typing, _ := d["isTyping"].(bool)
			a.send(VisitorTyping{SessionID: w.id, IsTyping: typing})
		}
	}
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) sawMessage(w *watched, data any) {
	m := reflect.ValueOf(data)
	fields := messageFields(m)
	switch stringOf(m, "Sender") {
	case "visitor":
		a.look(w)
		w.seen(stringOf(m, "ID"), timeOf(m, "Timestamp"), a.visitorMessage(w, fields))
	case "ai":
		w.seen(stringOf(m, "ID"), timeOf(m, "Timestamp"), a.aiMessage(w, fields)...)
	}
}

// look reads the session as the handler has it. The SDK's own handlers write it in this goroutine.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) look(w *watched) {
	if session, err := a.pp.GetSession(a.client.life, w.id); err == nil && session != nil {
		w.remember(sessionState(reflect.ValueOf(session)))
	}
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) sawChange(w *watched, kind string, data any) {
	d, _ := plain(data).(map[string]any)
	id, _ := d["messageId"].(string)
	// The times of what is broadcast have whole seconds; two edits of one second would look the same.
	now := time.Now()
	fields := map[string]any{"sessionId": w.id, "messageId": id}
	if kind == "message_edited" {
		fields["content"], fields["editedAt"] = d["content"], now.UTC().Format(time.RFC3339Nano)
		w.seen("", now, rawEvent{"visitor_message_edited", w.id, fields})
		return
	}
	fields["deletedAt"] = now.UTC().Format(time.RFC3339Nano)
	w.seen("", now, rawEvent{"visitor_message_deleted", w.id, fields})
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) visitorMessage(w *watched, fields map[string]any) SiteEvent {
	return rawEvent{"visitor_message", w.id, map[string]any{"message": fields, "session": w.state()}}
}

// aiMessage is what the AI said, behind the take-over if it is the first since a person's.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) aiMessage(w *watched, fields map[string]any) []SiteEvent {
	said := rawEvent{"operator_message", w.id, map[string]any{
		"message": fields, "session": w.state(), "sourceBridge": "ai", "operatorName": "AI",
	}}
	if !w.takesOver() {
		return []SiteEvent{said}
	}
	return []SiteEvent{rawEvent{"ai_takeover", w.id, map[string]any{"session": w.state(), "reason": "nobody of the team is online"}}, said}
}

// emit sends an event of the routes' behind what came before it.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) emit(e SiteEvent) {
	_, session := e.about()
	a.session(session).seen("", time.Now(), e)
}

func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) lastState(sessionID string) map[string]any {
	w := a.session(sessionID)
	if !w.known() {
		a.look(w)
	}
	return w.state()
}
