package bridgeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
)

const (
	maxPageBody = 64 << 10
	maxHistory  = 200 // messages of one answer
	historyPage = 100
	// clockSlack is how much more than asked for is answered: repeats are recognised by their id, a loss is for good.
	clockSlack = 5 * time.Second
)

// Routes serves what the chat widget calls, the SDK's own routes and those that it has no code for. The paths are those of the
// widget, relative to prefix, such as /pocketping. There is no socket, so the widget uses server-sent events; its custom
// events, which need a socket, do not come. Files are not stored: the SDK's UploadBaseURL says where the app takes them.
//
// With Config.Callback the callback's path is served too, so mount Routes where it is below prefix, or mount Callbacks.
// Origins are the sites whose pages may call; none means the server's own alone.
func (a *Attached) Routes(prefix string, origins ...string) http.Handler {
	r := &routes{a: a, prefix: strings.TrimRight(prefix, "/"), origins: origins, callbacks: a.Callbacks()}
	return http.HandlerFunc(r.serve)
}

// Callbacks takes the bridge's callbacks. Mount it at Config.Callback's path.
func (a *Attached) Callbacks() http.Handler { return a.CallbackHandler(a.sdk.handle) }

// Close sends what is still to be sent, until ctx ends at the latest, and ends the connection.
func (a *Attached) Close(ctx context.Context) error {
	settled := time.NewTimer(2 * settleFor) // hooks of the SDK's may still be on their way
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ctx.Done():
	}
	return a.Client.Close(ctx)
}

type routes struct {
	a         *Attached
	prefix    string
	origins   []string
	callbacks http.Handler
}

// errNotFound is answered with 404.
var errNotFound = errors.New("not found")

func (r *routes) serve(w http.ResponseWriter, req *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			r.a.tell(fmt.Errorf("bridgeclient: %s %s panics: %v", req.Method, req.URL.Path, p))
			answerError(w, http.StatusInternalServerError, "Internal server error")
		}
	}()
	if cb := r.a.config.Callback; cb != nil && req.URL.Path == cb.path() {
		r.callbacks.ServeHTTP(w, req)
		return
	}
	if !r.allow(w, req) {
		return
	}
	path := strings.Trim(strings.TrimPrefix(req.URL.Path, r.prefix), "/")
	if path == "stream" && req.Method == http.MethodGet {
		r.stream(w, req)
		return
	}
	answer, err := r.answer(req, path)
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(answer)
	case errors.Is(err, errNotFound):
		answerError(w, http.StatusNotFound, "Not found")
	case strings.Contains(err.Error(), "session not found"):
		answerError(w, http.StatusNotFound, "Session not found")
	default:
		answerError(w, http.StatusBadRequest, err.Error())
	}
}

// allow answers preflights, and refuses other sites' pages. Beacons come with credentials, so the origin is named and
// credentials are allowed; no cookie is set or read here, which makes them harmless.
func (r *routes) allow(w http.ResponseWriter, req *http.Request) bool {
	origin := req.Header.Get("Origin")
	h := w.Header()
	h.Add("Vary", "Origin")
	if origin == "" || strings.TrimPrefix(strings.TrimPrefix(origin, "https://"), "http://") == req.Host {
		return req.Method != http.MethodOptions || r.preflight(w)
	}
	for _, allowed := range r.origins {
		if allowed == origin {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
			h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE, PUT")
			h.Set("Access-Control-Allow-Headers", "Content-Type, X-PocketPing-Version")
			h.Set("Access-Control-Expose-Headers", "X-PocketPing-Version-Status, X-PocketPing-Min-Version, X-PocketPing-Latest-Version, X-PocketPing-Version-Message")
			h.Set("Access-Control-Max-Age", "600")
			return req.Method != http.MethodOptions || r.preflight(w)
		}
	}
	answerError(w, http.StatusForbidden, "this origin is not allowed")
	return false
}

func (r *routes) preflight(w http.ResponseWriter) bool {
	w.WriteHeader(http.StatusNoContent)
	return false
}

// simple are the routes that are one method of the SDK's.
var simple = map[string]string{
	"POST message": "HandleMessage", "POST typing": "HandleTyping", "POST read": "HandleRead", "POST identify": "HandleIdentify",
	"POST csat": "HandleCsat", "POST edit": "HandleEditMessage", "POST delete": "HandleDeleteMessage", "POST upload": "HandleUploadRequest",
}

func (r *routes) answer(req *http.Request, path string) (any, error) {
	text, err := io.ReadAll(io.LimitReader(req.Body, maxPageBody))
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	if len(text) > 0 && json.Unmarshal(text, &body) != nil {
		return nil, errors.New("the body is not JSON")
	}
	session, _ := body["sessionId"].(string)
	query := req.URL.Query()
	if id, found := strings.CutPrefix(path, "message/"); found {
		switch req.Method {
		case http.MethodPatch:
			body["messageId"] = id
			return r.call(req.Context(), "HandleEditMessage", session, body)
		case http.MethodDelete:
			session = query.Get("sessionId")
			return r.call(req.Context(), "HandleDeleteMessage", session, map[string]any{"messageId": id, "sessionId": session})
		}
	}
	route := req.Method + " " + path
	if method, there := simple[route]; there {
		if path == "message" {
			body["sender"] = "visitor" // whoever calls here is one
		}
		return r.call(req.Context(), method, session, body)
	}
	switch route {
	case "POST connect":
		return r.connect(req, body)
	case "GET messages":
		return r.messages(req.Context(), query.Get("sessionId"), query.Get("after"))
	case "GET presence":
		r.a.sdk.onlineLock().RLock()
		defer r.a.sdk.onlineLock().RUnlock()
		return r.call(req.Context(), "HandlePresence", "", nil)
	case "POST upload/complete":
		id, _ := body["attachmentId"].(string)
		return r.call(req.Context(), "HandleUploadComplete", session, id)
	case "POST disconnect":
		return r.leave(req.Context(), session, body)
	case "POST prechat":
		return r.prechat(req.Context(), session, body)
	case "POST visibility":
		return map[string]bool{"ok": true}, nil
	case "GET screenshot/requests":
		return map[string]any{"requests": []any{}}, nil
	}
	return nil, errNotFound
}

// call calls a method of the SDK's with a request made of JSON, or with text. The session is watched before, so that what the
// method does is seen in this goroutine.
func (r *routes) call(ctx context.Context, method, session string, arg any) (any, error) {
	m := r.a.sdk.instance().MethodByName(method)
	if !m.IsValid() {
		return nil, errNotFound
	}
	in := []reflect.Value{reflect.ValueOf(ctx)}
	if m.Type().NumIn() > 1 {
		request := reflect.New(m.Type().In(1))
		if text, ok := arg.(string); ok && request.Elem().Kind() == reflect.String {
			request.Elem().SetString(text)
		} else if err := convert(arg, request.Interface()); err != nil {
			return nil, fmt.Errorf("a field has a wrong type: %w", err)
		}
		in = append(in, request.Elem())
	}
	if session != "" {
		if known, err := r.known(ctx, session); err != nil || known == nil {
			return nil, or404(err)
		}
		r.a.sdk.watch(session)
	}
	var answer any = map[string]bool{"ok": true}
	for _, out := range m.Call(in) {
		switch v := out.Interface().(type) {
		case error:
			return nil, v
		case nil:
		default:
			answer = v
		}
	}
	return answer, nil
}

func or404(err error) error {
	if err != nil {
		return err
	}
	return errNotFound
}

func (r *routes) known(ctx context.Context, session string) (any, error) {
	out := r.a.sdk.instance().MethodByName("GetSession").Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(session)})
	if err, _ := out[1].Interface().(error); err != nil || out[0].IsNil() {
		return nil, err
	}
	return out[0].Interface(), nil
}

func (r *routes) connect(req *http.Request, body map[string]any) (any, error) {
	r.a.sdk.onlineLock().RLock()
	answer, err := r.call(req.Context(), "HandleConnect", "", body)
	r.a.sdk.onlineLock().RUnlock()
	if err != nil {
		return nil, err
	}
	out, _ := plain(answer).(map[string]any)
	session, _ := out["sessionId"].(string)
	r.a.sdk.watch(session)
	if out["messages"], err = r.history(req.Context(), session); err != nil {
		return nil, err
	}
	return out, nil
}

// history returns a session's last messages. The storage counts from the oldest.
func (r *routes) history(ctx context.Context, session string) ([]any, error) {
	store := r.a.sdk.instance().MethodByName("GetStorage").Call(nil)[0]
	get := store.MethodByName("GetMessages")
	if !get.IsValid() {
		return nil, errNotFound
	}
	all := []any{}
	for after := ""; ; {
		out := get.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(session), reflect.ValueOf(after), reflect.ValueOf(historyPage)})
		if err, _ := out[1].Interface().(error); err != nil {
			return nil, err
		}
		page, _ := plain(out[0].Interface()).([]any)
		for _, m := range page {
			if m, ok := m.(map[string]any); ok {
				after, _ = m["id"].(string)
				if m["deletedAt"] != nil {
					m["content"] = "" // a deleted word is not put in the answer either
				}
			}
		}
		if all = append(all, page...); len(all) > maxHistory {
			all = all[len(all)-maxHistory:]
		}
		if len(page) < historyPage || after == "" {
			return all, nil
		}
	}
}

// messages answers a page that polls: what was made or changed after a time of the page's, or what stands behind an id.
func (r *routes) messages(ctx context.Context, session, after string) (any, error) {
	if known, err := r.known(ctx, session); err != nil || known == nil {
		return nil, or404(err)
	}
	all, err := r.history(ctx, session)
	if err != nil {
		return nil, err
	}
	since, err := time.Parse(time.RFC3339, after)
	if latest := time.Now().Add(-clockSlack); err == nil && since.After(latest) {
		since = latest // the visitor's clock, which may be ahead
	}
	out := []any{}
	for i, m := range all {
		m, _ := m.(map[string]any)
		if err != nil && m["id"] == after { // widgets before 1.2
			return map[string]any{"messages": all[i+1:], "hasMore": false}, nil
		}
		if err != nil || changed(m).After(since) {
			out = append(out, m)
		}
	}
	return map[string]any{"messages": out, "hasMore": false}, nil
}

func changed(m map[string]any) time.Time {
	var last time.Time
	for _, name := range []string{"timestamp", "editedAt", "deletedAt", "deliveredAt", "readAt"} {
		text, _ := m[name].(string)
		if t, err := time.Parse(time.RFC3339, text); err == nil && t.After(last) {
			last = t
		}
	}
	return last
}

// leave tells that the visitor left. The SDK has no code for it.
func (r *routes) leave(ctx context.Context, session string, body map[string]any) (any, error) {
	if known, err := r.known(ctx, session); err != nil || known == nil {
		return nil, or404(err)
	}
	fields := map[string]any{"session": r.a.sdk.lastState(session)}
	for _, name := range []string{"duration", "reason"} {
		if body[name] != nil {
			fields[name] = body[name]
		}
	}
	r.a.sdk.emit(rawEvent{"visitor_disconnect", session, fields})
	return map[string]bool{"ok": true}, nil
}

// prechat keeps what the form asked for in the session, and tells it.
func (r *routes) prechat(ctx context.Context, session string, body map[string]any) (any, error) {
	known, err := r.known(ctx, session)
	if err != nil || known == nil {
		return nil, or404(err)
	}
	state := map[string]any{}
	for name, value := range r.a.sdk.lastState(session) {
		state[name] = value
	}
	identity := map[string]any{"id": state["visitorId"]}
	if has, ok := state["identity"].(map[string]any); ok {
		for name, value := range has {
			identity[name] = value
		}
	}
	if email, _ := body["email"].(string); email != "" {
		identity["email"], state["identity"] = email, identity
	}
	for from, to := range map[string]string{"phone": "userPhone", "phoneCountry": "userPhoneCountry"} {
		if value, _ := body[from].(string); value != "" {
			state[to] = value
		}
	}
	if state["identity"] != nil {
		if _, err := r.call(ctx, "HandleIdentify", session, map[string]any{"sessionId": session, "identity": state["identity"]}); err != nil {
			return nil, err
		}
	}
	if state["userPhone"] != nil {
		r.a.sdk.emit(rawEvent{"identity_update", session, map[string]any{"session": state}})
	}
	return map[string]bool{"ok": true}, nil
}
