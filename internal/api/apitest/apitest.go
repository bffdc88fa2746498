// Package apitest holds the requests that the API must refuse, for the tests of the API and of the whole program. It knows the
// wire's words and nothing of how they are read.
package apitest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf16"
)

// Request is a request that is the client's own fault, and the answer that it deserves.
type Request struct {
	Name   string
	Method string
	Path   string
	Header []string // names and values in turn
	Body   string
	Stream bool   // the body's length is not announced
	Raw    string // instead of all these: what goes over the connection, whose writing side is closed then

	Status int
	Code   string // of the error; empty: the answer is not the API's but net/http's
	Field  string // that is named as wrong, or empty
}

// Answer is what the server said.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// patience only ends a test that hangs.
const patience = time.Minute

// Send sends the request with additional header fields, names and values in turn, on a connection of its own.
func (r Request) Send(ctx context.Context, base string, header ...string) (Answer, error) {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	if r.Raw != "" {
		return r.sendRaw(ctx, base, header)
	}
	var body io.Reader = strings.NewReader(r.Body)
	if r.Stream {
		body = struct{ io.Reader }{body}
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, base+r.Path, body)
	if err != nil {
		return Answer{}, err
	}
	header = append(append([]string{}, r.Header...), header...)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) //nolint:bodyclose // read closes it
	if err != nil {
		return Answer{}, err
	}
	return read(resp)
}

func (r Request) sendRaw(ctx context.Context, base string, header []string) (Answer, error) {
	u, err := url.Parse(base)
	if err != nil {
		return Answer{}, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = conn.Close() }()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return Answer{}, err
		}
	}
	text, rest, _ := strings.Cut(r.Raw, "\r\n")
	for i := 0; i < len(header); i += 2 {
		text += "\r\n" + header[i] + ": " + header[i+1]
	}
	if _, err := io.WriteString(conn, text+"\r\n"+rest); err != nil {
		return Answer{}, err
	}
	if half, ok := conn.(*net.TCPConn); ok {
		_ = half.CloseWrite() // an error means that the answer is there already
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // read closes it
	if err != nil {
		return Answer{}, err
	}
	return read(resp)
}

func read(resp *http.Response) (Answer, error) {
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, string(text)}, err
}

// Check returns what is wrong with the answer, nil for nothing.
func (r Request) Check(a Answer) error {
	if a.Status != r.Status {
		return fmt.Errorf("status %d, not %d: %.200s", a.Status, r.Status, a.Body)
	}
	if r.Code == "" {
		return nil
	}
	var p struct{ Error, Code, Field string }
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil || p.Error == "" {
		return fmt.Errorf("not an error's body: %.200q", a.Body)
	}
	if p.Code != r.Code || p.Field != r.Field {
		return fmt.Errorf("code %q and field %q, not %q and %q: %.200s", p.Code, p.Field, r.Code, r.Field, a.Body)
	}
	for _, ours := range []string{"bridge.", "json:", "AppEvent", "Go ", "api."} {
		if strings.Contains(a.Body, ours) {
			return fmt.Errorf("it tells a name of ours: %.200s", a.Body)
		}
	}
	return nil
}

const (
	someSession = `{"id":"s1","visitorId":"v1","plan":"gold"}`
	someMessage = `{"id":"m1","sessionId":"s1","content":"hello","sender":"visitor","timestamp":"2026-01-02T03:04:05Z"}`
	online      = `{"type":"operator_status","online":true}`
	longID      = 10_000
	overLimit   = 2 << 20 // bytes; the default limit is half
)

// Malformed returns requests that break the contract, none of which may change anything or be answered with a 500.
func Malformed() []Request {
	var all []Request
	for _, some := range [][]Request{bodies(), fields(), encodings(), sizes(), headers(), routes(), callbacks(), deliveries(), streams(), raw()} {
		all = append(all, some...)
	}
	for i := range all {
		if all[i].Name == "" {
			all[i].Name = fmt.Sprintf("%s %s", all[i].Path, all[i].Field)
		}
	}
	return all
}

// post is a body that is refused: for the field, or, without one, as a whole.
func post(path, body, field string) Request {
	return refused(Request{Method: http.MethodPost, Path: path, Body: body}, field)
}

func put(path, body, field string) Request {
	return refused(Request{Method: http.MethodPut, Path: "/api/callbacks" + path, Body: body}, field)
}

func refused(r Request, field string) Request {
	r.Status, r.Code, r.Field = http.StatusBadRequest, "invalid_field", field
	if field == "" {
		r.Code = "bad_json"
	}
	return r
}

func named(name string, r Request) Request {
	r.Name = name
	return r
}

// bodies are wrong as a whole: no field is named.
func bodies() []Request {
	return []Request{
		post("/api/events", ``, ""),
		post("/api/events", ` `, ""),
		post("/api/events", `null`, ""),
		post("/api/events", `[]`, ""),
		post("/api/events", `"x"`, ""),
		post("/api/events", `1`, ""),
		post("/api/events", `{`, ""),
		post("/api/events", `{"type":"operator_status","online":true`, ""),
		post("/api/events", `{"type":"operator_status","online":true}}`, ""),
		post("/api/events", `{"type":"operator_status","online":true}{}`, ""),
		post("/api/events", `{"type":"operator_status","online":true,}`, ""),
		post("/api/events", `{'type':'operator_status'}`, ""),
		post("/api/events", `{"type":"operator_status","online":tru}`, ""),
		post("/api/events", `type=operator_status&online=true`, ""),
		post("/api/events", "{\"type\":\"operator_status\",\"online\":true,\"x\":\"\xff\"}", ""),
		post("/api/events", "{\"type\":\"operator_status\",\"online\":true,\"x\":\"\n\"}", ""),
		post("/api/events", "\ufeff\ufeff{\"type\":\"operator_status\",\"online\":true}", ""),
		post("/api/events", `{"online":`+strings.Repeat("[", 20000), ""),
		post("/api/sessions", `{"id":"s1","visitorId":"v1"},"type":"operator_status"`, ""),
		post("/api/sessions", `[]`, ""),
		post("/api/operator/status", `true`, ""),
		post("/api/messages", `null`, ""),
		post("/api/custom-events", `{"event":{"name":"n"},"session":`+someSession+`} trailing`, ""),
		post("/api/disconnect", `{"session":`+someSession+`}]`, ""),
		post("/api/events", online+"\n"+online, ""),
		post("/api/events", online+"\x00", ""),
		post("/api/events", "\x00"+online, ""),
		post("/api/events", "{\"type\":\"operator_status\",\"online\":true,\"x\":\"a\x00b\"}", ""),
		post("/api/events", `{"type":"operator_status","online":true,"x":"\u12"}`, ""),
		post("/api/events", `{"type":"operator_status","online":true,"x":"\x41"}`, ""),
		post("/api/events", `{"type":"operator_status","online":true,"x":01}`, ""),
		post("/api/events", `{"type":"operator_status","online":true,"x":NaN}`, ""),
		post("/api/events", `{"type":"operator_status","online":true,"x":}`, ""),
		post("/api/events", `{type:"operator_status",online:true}`, ""),
		post("/api/events", `<event type="operator_status"/>`, ""),
		post("/api/events", `/* hello */`+online, ""),
		named("lists just too deep", post("/api/operator/status", `{"online":true,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, "")),
		named("lists as deep as JSON is read", post("/api/sessions", `{"id":"s1","visitorId":"v1","x":`+strings.Repeat("[", 9999)+strings.Repeat("]", 9999)+`}`, "")),
		named("deep lists", post("/api/events", `{"type":"operator_status","online":true,"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`}`, "")),
		named("deep objects", post("/api/sessions", `{"id":"s1","visitorId":"v1","metadata":`+
			strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)+`}`, "")),
		named("deep data", post("/api/custom-events", `{"session":`+someSession+`,"event":{"name":"n","data":`+
			strings.Repeat(`{"a":[`, 50_000)+strings.Repeat("]}", 50_000)+`}}`, "")),
	}
}

// fields are of a wrong type or form, or missing.
func fields() []Request {
	msg := func(fields string) string {
		return `{"session":{"id":"s1","visitorId":"v1"},"message":{"id":"m1","sessionId":"s1","content":"x",` + fields + `}}`
	}
	ses := func(fields string) string { return `{"id":"s1","visitorId":"v1",` + fields + `}` }
	long := strings.Repeat("a", longID)
	return []Request{
		// The type.
		post("/api/events", `{}`, "type"),
		post("/api/events", `{"type":null,"online":true}`, "type"),
		post("/api/events", `{"type":"","online":true}`, "type"),
		post("/api/events", `{"type":"nothing"}`, "type"),
		post("/api/events", `{"type":5}`, "type"),
		post("/api/events", `{"type":"message_failed","sessionId":"s","messageId":"m"}`, "type"),
		post("/api/events", `{"type":"answer"}`, "type"),
		post("/api/events", `{"type":"Operator_Status","online":true}`, "type"),
		// Sessions.
		post("/api/sessions", `{}`, "id"),
		post("/api/sessions", `{"visitorId":"v"}`, "id"),
		post("/api/sessions", `{"id":"s"}`, "visitorId"),
		post("/api/sessions", `{"id":"","visitorId":"v"}`, "id"),
		post("/api/sessions", `{"id":5,"visitorId":"v"}`, "id"),
		post("/api/sessions", `{"id":"a\u0000","visitorId":"v"}`, "id"),
		post("/api/sessions", `{"id":"`+strings.Repeat("a", 129)+`","visitorId":"v"}`, "id"),
		post("/api/sessions", `{"id":"s","visitorId":"a\nb"}`, "visitorId"),
		post("/api/sessions", ses(`"createdAt":"today"`), "createdAt"),
		post("/api/sessions", ses(`"createdAt":1700000000`), "createdAt"),
		post("/api/sessions", ses(`"lastActivity":"2026-13-01T00:00:00Z"`), "lastActivity"),
		post("/api/sessions", ses(`"metadata":"x"`), "metadata"),
		post("/api/sessions", ses(`"metadata":{"url":1}`), "metadata.url"),
		post("/api/sessions", ses(`"identity":{"email":"a@b"}`), "identity.id"),
		post("/api/sessions", ses(`"csat":{"score":6}`), "csat.score"),
		post("/api/sessions", ses(`"csat":{"requestedAt":"x"}`), "csat.requestedAt"),
		post("/api/sessions", ses(`"aiActive":"no"`), "aiActive"),
		post("/api/events", `{"type":"new_session"}`, "session"),
		post("/api/events", `{"type":"new_session","session":null}`, "session"),
		post("/api/events", `{"type":"identity_update","session":{"id":"s"}}`, "session.visitorId"),
		post("/api/events", `{"type":"ai_takeover","reason":"x"}`, "session"),
		// Messages.
		post("/api/messages", `{}`, "message"),
		post("/api/messages", `{"message":`+someMessage+`}`, "session"),
		post("/api/messages", `{"session":`+someSession+`}`, "message"),
		post("/api/messages", `{"session":`+someSession+`,"message":[]}`, "message"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"sessionId":"s1","content":"x"}}`, "message.id"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m","content":"x"}}`, "message.sessionId"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m","sessionId":"s2","content":"x"}}`, "message.sessionId"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m","sessionId":"s1"}}`, "message.content"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m","sessionId":"s1","content":"","attachments":[]}}`, "message.content"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m","sessionId":"s1","content":7}}`, "message.content"),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m","sessionId":"s1","content":"`+strings.Repeat("ü", 64_001)+`"}}`, "message.content"),
		post("/api/messages", msg(`"sender":"bot"`), "message.sender"),
		post("/api/messages", msg(`"timestamp":"2026-01-02 03:04:05"`), "message.timestamp"),
		post("/api/messages", msg(`"editedAt":"x"`), "message.editedAt"),
		post("/api/messages", msg(`"deletedAt":"x"`), "message.deletedAt"),
		post("/api/messages", msg(`"readAt":"x"`), "message.readAt"),
		post("/api/messages", msg(`"deliveredAt":"x"`), "message.deliveredAt"),
		post("/api/messages", msg(`"replyTo":"\u0007"`), "message.replyTo"),
		post("/api/messages", msg(`"attachments":{}`), "message.attachments"),
		post("/api/messages", msg(`"attachments":[null]`), "message.attachments[0]"),
		post("/api/messages", msg(`"attachments":[{"size":"big"}]`), "message.attachments.size"),
		post("/api/events", `{"type":"operator_message","session":`+someSession+`}`, "message"),
		// The others.
		post("/api/events", `{"type":"visitor_message_edited","messageId":"m","content":"x"}`, "sessionId"),
		post("/api/events", `{"type":"visitor_message_edited","sessionId":"s","content":"x"}`, "messageId"),
		post("/api/events", `{"type":"visitor_message_edited","sessionId":"s","messageId":"m"}`, "content"),
		post("/api/events", `{"type":"visitor_message_edited","sessionId":"s","messageId":"m","content":"x","editedAt":"now"}`, "editedAt"),
		post("/api/events", `{"type":"visitor_message_deleted","sessionId":"s"}`, "messageId"),
		post("/api/events", `{"type":"visitor_message_deleted","sessionId":"s","messageId":"m","deletedAt":"now"}`, "deletedAt"),
		post("/api/events", `{"type":"message_read","sessionId":"s"}`, "messageIds"),
		post("/api/events", `{"type":"message_read","sessionId":"s","messageIds":[]}`, "messageIds"),
		post("/api/events", `{"type":"message_read","sessionId":"s","messageIds":["a",""]}`, "messageIds[1]"),
		post("/api/events", `{"type":"message_read","sessionId":"s","messageIds":"a"}`, "messageIds"),
		post("/api/events", `{"type":"message_read","messageIds":["a"]}`, "sessionId"),
		post("/api/operator/status", `{}`, "online"),
		post("/api/operator/status", `{"online":null}`, "online"),
		post("/api/operator/status", `{"online":"true"}`, "online"),
		post("/api/operator/status", `{"type":5}`, "online"),
		post("/api/custom-events", `{"session":`+someSession+`}`, "event"),
		post("/api/custom-events", `{"session":`+someSession+`,"event":{}}`, "event.name"),
		post("/api/custom-events", `{"event":{"name":"n"}}`, "session"),
		post("/api/custom-events", `{"session":`+someSession+`,"event":{"name":"n","data":"x"}}`, "event.data"),
		post("/api/disconnect", `{"reason":"manual"}`, "session"),
		post("/api/disconnect", `{"session":`+someSession+`,"duration":-1}`, "duration"),
		post("/api/disconnect", `{"session":`+someSession+`,"duration":"1"}`, "duration"),
		post("/api/events", `{"type":"csat_submitted","session":`+someSession+`}`, "score"),
		post("/api/events", `{"type":"csat_submitted","session":`+someSession+`,"score":0}`, "score"),
		post("/api/events", `{"type":"csat_submitted","session":`+someSession+`,"score":4.5}`, "score"),
		post("/api/events", `{"type":"visitor_typing","sessionId":"s"}`, "isTyping"),
		post("/api/events", `{"type":"visitor_typing","isTyping":true}`, "sessionId"),
		post("/api/events", `{"type":"session_closed"}`, "sessionId"),
		named("long event name", post("/api/custom-events", `{"session":`+someSession+`,"event":{"name":"`+strings.Repeat("ü", 201)+`"}}`, "event.name")),
		named("long comment", post("/api/events", `{"type":"csat_submitted","session":`+someSession+`,"score":1,"comment":"`+strings.Repeat("ü", 2001)+`"}`, "comment")),
		named("long reason of an AI", post("/api/events", `{"type":"ai_takeover","session":`+someSession+`,"reason":"`+strings.Repeat("ü", 2001)+`"}`, "reason")),
		named("many receipts", post("/api/events", `{"type":"message_read","sessionId":"s","messageIds":["m"`+strings.Repeat(`,"m"`, 1000)+`]}`, "messageIds")),
		post("/api/sessions", ses(`"identity":[{}]`), "identity"),
		post("/api/events", `{"type":"session_closed","sessionId":{"$ne":1}}`, "sessionId"),
		// Ids that are far too long, or hold what cannot be printed.
		named("long id", post("/api/sessions", `{"id":"`+long+`","visitorId":"v"}`, "id")),
		named("long visitorId", post("/api/sessions", `{"id":"s","visitorId":"`+long+`"}`, "visitorId")),
		named("long message.id", post("/api/messages", `{"session":`+someSession+`,"message":{"id":"`+long+`","sessionId":"s1","content":"x"}}`, "message.id")),
		named("long replyTo", post("/api/messages", msg(`"replyTo":"`+long+`"`), "message.replyTo")),
		named("long attachment id", post("/api/messages", msg(`"attachments":[{"id":"`+long+`"}]`), "message.attachments[0].id")),
		named("long sessionId", post("/api/events", `{"type":"session_closed","sessionId":"`+long+`"}`, "sessionId")),
		named("long messageId", post("/api/events", `{"type":"visitor_message_deleted","sessionId":"s","messageId":"`+long+`"}`, "messageId")),
		named("long messageIds", post("/api/events", `{"type":"message_read","sessionId":"s","messageIds":["m","`+long+`"]}`, "messageIds[1]")),
		named("long event.sessionId", post("/api/custom-events", `{"session":`+someSession+`,"event":{"name":"n","sessionId":"`+long+`"}}`, "event.sessionId")),
		post("/api/messages", `{"session":`+someSession+`,"message":{"id":"m\u0000","sessionId":"s1","content":"x"}}`, "message.id"),
		post("/api/events", `{"type":"session_closed","sessionId":"s\u0000"}`, "sessionId"),
		post("/api/events", `{"type":"session_closed","sessionId":"\ud800"}`, "sessionId"),
		post("/api/events", `{"type":"session_closed","sessionId":"a\u202eb"}`, "sessionId"),
		post("/api/events", `{"type":"operator_status","online":true,"messageId":"\u0000"}`, "messageId"),
		post("/api/events", `{"type":"operator_status","online":1e999}`, "online"),
	}
}

// encodings are valid requests, written in what is not UTF-8.
func encodings() []Request {
	utf16In := func(order func(unit uint16) [2]byte, bom bool) string {
		text := online
		if bom {
			text = "\ufeff" + text
		}
		var out []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			pair := order(unit)
			out = append(out, pair[:]...)
		}
		return string(out)
	}
	little := func(unit uint16) [2]byte { return [2]byte{byte(unit), byte(unit >> 8)} }
	big := func(unit uint16) [2]byte { return [2]byte{byte(unit >> 8), byte(unit)} }
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `[1]`) // a buffer takes everything
	_ = z.Close()
	packed := post("/api/events", zipped.String(), "")
	packed.Header = []string{"Content-Encoding", "gzip"}
	unpacked := post("/api/events", online, "")
	unpacked.Header, unpacked.Code = []string{"Content-Encoding", "gzip"}, "bad_body"
	brotli := post("/api/events", online, "")
	brotli.Header, brotli.Status, brotli.Code = []string{"Content-Encoding", "br"}, http.StatusUnsupportedMediaType, "unsupported_encoding"
	message := func(content string) string {
		return `{"session":` + someSession + `,"message":{"id":"m1","sessionId":"s1","content":"` + content + `"}}`
	}
	return []Request{
		named("UTF-16, little-endian", post("/api/events", utf16In(little, false), "")),
		named("UTF-16, little-endian, marked", post("/api/events", utf16In(little, true), "")),
		named("UTF-16, big-endian", post("/api/events", utf16In(big, false), "")),
		named("UTF-16, big-endian, marked", post("/api/events", utf16In(big, true), "")),
		named("Latin-1", post("/api/messages", message("caf\xe9"), "")),
		named("Windows-1252", post("/api/messages", message("\x93quoted\x94"), "")),
		named("Shift JIS", post("/api/messages", message("\x93\xfa\x96\x7b"), "")),
		named("UTF-8 cut in the middle", post("/api/messages", message("caf\xc3"), "")),
		named("UTF-8, too long a form", post("/api/messages", message("\xc0\xaf"), "")),
		named("UTF-8 of a surrogate", post("/api/messages", message("\xed\xa0\x80"), "")),
		named("UTF-8 beyond Unicode", post("/api/messages", message("\xf4\x90\x80\x80"), "")),
		named("Latin-1 in a name", post("/api/sessions", "{\"id\":\"s1\",\"visitorId\":\"v1\",\"pr\xe9nom\":1}", "")),
		named("gzip of something else", packed),
		named("gzip that is none", unpacked),
		named("Brotli", brotli),
	}
}

// sizes are beyond the limit of a body.
func sizes() []Request {
	var out []Request
	for path, body := range map[string]string{
		"/api/events":          `{"type":"operator_status","online":true,"x":"` + strings.Repeat("x", overLimit) + `"}`,
		"/api/messages":        `{"session":` + someSession + `,"message":{"id":"m1","sessionId":"s1","content":"` + strings.Repeat("x", overLimit) + `"}}`,
		"/api/operator/status": strings.Repeat(" ", overLimit) + `{"online":true}`,
		"/api/callbacks":       `{"url":"https://a.example","x":"` + strings.Repeat("x", overLimit) + `"}`,
	} {
		r := post(path, body, "")
		r.Name, r.Status, r.Code = "2 MiB "+path, http.StatusRequestEntityTooLarge, "too_large"
		out = append(out, r)
		r.Name, r.Stream = r.Name+", not announced", true
		out = append(out, r)
	}
	return out
}

// headers are wrong with a body that is right.
func headers() []Request {
	var out []Request
	for _, header := range [][]string{
		{"X-PocketPing-Callback", ""},
		{"X-PocketPing-Callback", strings.Repeat("a", 129)},
		{"X-PocketPing-Callback", strings.Repeat("a", longID)},
		{"X-PocketPing-Callback", "\xff"},
		{"X-PocketPing-Callback", "caf\xe9"},
		{"X-PocketPing-Callback", "a\tb"},
		{"X-PocketPing-Callback", "a", "X-PocketPing-Callback", "b"},
		{"Idempotency-Key", ""},
		{"Idempotency-Key", strings.Repeat("k", 256)},
		{"Idempotency-Key", strings.Repeat("k", longID)},
		{"Idempotency-Key", "k\tk"},
		{"Idempotency-Key", "\xff"},
		{"Idempotency-Key", "a", "Idempotency-Key", "b"},
	} {
		for path, body := range map[string]string{
			"/api/operator/status": `{"online":true}`,
			"/api/messages":        `{"session":` + someSession + `,"message":` + someMessage + `}`,
		} {
			r := post(path, body, header[0])
			r.Header = header
			out = append(out, r)
		}
	}
	return out
}

// routes are paths and methods that are not there.
func routes() []Request {
	var out []Request
	for _, r := range []Request{
		{Method: "GET", Path: "/api/events", Status: 405},
		{Method: "PUT", Path: "/api/events", Status: 405},
		{Method: "DELETE", Path: "/api/events", Status: 405},
		{Method: "PATCH", Path: "/api/sessions", Status: 405},
		{Method: "GET", Path: "/api/messages", Status: 405},
		{Method: "PUT", Path: "/api/operator/status", Status: 405},
		{Method: "GET", Path: "/api/custom-events", Status: 405},
		{Method: "GET", Path: "/api/disconnect", Status: 405},
		{Method: "POST", Path: "/api/presence", Status: 405},
		{Method: "POST", Path: "/api/events/stream", Status: 405},
		{Method: "PATCH", Path: "/api/callbacks/x", Status: 405},
		{Method: "TRACE", Path: "/api/events", Status: 405},
		{Method: "BREW", Path: "/api/events", Status: 405},
		{Method: "POST", Path: "/health", Status: 405},
		{Method: "POST", Path: "/api/../api/events", Status: 404},
		{Method: "POST", Path: "/API/events", Status: 404},
		{Method: "POST", Path: "/api/event", Status: 404},
		{Method: "POST", Path: "/api/", Status: 404},
		{Method: "POST", Path: "/", Status: 404},
		{Method: "POST", Path: "/webhooks/unknown", Status: 404},
		{Method: "GET", Path: "/api/callbacks/unknown", Status: 404},
		{Method: "DELETE", Path: "/api/callbacks/unknown", Status: 404},
		{Method: "POST", Path: "/api/callbacks/unknown/rotate", Status: 404},
		{Method: "POST", Path: "/api/callbacks/unknown/test", Status: 404},
		{Method: "PUT", Path: "/api/deliveries", Status: 405},
		{Method: "GET", Path: "/api/deliveries/x", Status: 405},
		{Method: "GET", Path: "/api/deliveries/x/retry", Status: 405},
		{Method: "POST", Path: "/openapi.yaml", Status: 405},
	} {
		r.Name, r.Code = r.Method+" "+r.Path, "not_found"
		if r.Status == http.StatusMethodNotAllowed {
			r.Code = "method_not_allowed"
		}
		r.Body = online
		out = append(out, r)
	}
	return out
}

// callbacks are registrations that are refused before anyone looks at where they lead.
func callbacks() []Request {
	out := []Request{
		put("/x", ``, ""),
		put("/x", `[]`, ""),
		put("/x", `{}`, "url"),
		put("/x", `{"url":1}`, "url"),
		put("/x", `{"url":"https://a.example","secret":[]}`, "secret"),
		put("/x", `{"url":"https://a.example","events":[]}`, "events"),
		put("/x", `{"url":"https://a.example","events":"operator_message"}`, "events"),
		put("/x", `{"url":"https://a.example","events":[1]}`, "events"),
		put("/x", `{"url":"https://a.example","ttl":0}`, "ttl"),
		put("/x", `{"url":"https://a.example","ttl":-5}`, "ttl"),
		put("/x", `{"url":"https://a.example","ttl":1e300}`, "ttl"),
		put("/x", `{"url":"https://a.example","ttl":9223372036854775807}`, "ttl"),
		put("/x", `{"url":"https://a.example","ttl":"1h"}`, "ttl"),
		put("/%00", `{"url":"https://a.example"}`, "id"),
		put("/"+strings.Repeat("a", 129), `{"url":"https://a.example"}`, "id"),
		named("long id in the path", put("/"+strings.Repeat("a", longID), `{"url":"https://a.example"}`, "id")),
		put("/%ff", `{"url":"https://a.example"}`, "id"),
		put("/a%0Ab", `{"url":"https://a.example"}`, "id"),
		put("/x", `{"url":"https://a.example"} {}`, ""),
		put("/x", "{\"url\":\"https://a.example/\xe9\"}", ""),
		put("/x", `{"url":["https://a.example"]}`, "url"),
		put("/x", `{"url":"https://a.example","ttl":1.5}`, "ttl"),
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		out = append(out, refused(Request{Method: method, Path: "/api/callbacks/%00"}, "id"),
			named(method+" of a long id", refused(Request{Method: method, Path: "/api/callbacks/" + strings.Repeat("a", longID)}, "id")))
	}
	return append(out, post("/api/callbacks", `{}`, "url"), post("/api/callbacks", `null`, ""))
}

// deliveries are asked for in a wrong way.
func deliveries() []Request {
	var out []Request
	for _, test := range []struct{ method, path, field string }{
		{http.MethodGet, "?state=lost", "state"},
		{http.MethodGet, "?state=WAITING", "state"},
		{http.MethodGet, "?state=failed&state=failed", "state"},
		{http.MethodGet, "?limit=0", "limit"},
		{http.MethodGet, "?limit=-1", "limit"},
		{http.MethodGet, "?limit=1000000", "limit"},
		{http.MethodGet, "?limit=ten", "limit"},
		{http.MethodGet, "?lane=" + strings.Repeat("a", longID), "lane"},
		{http.MethodGet, "?after=" + strings.Repeat("a", longID), "after"},
		{http.MethodPost, "/retry", "lane"},
		{http.MethodPost, "/retry?lane=", "lane"},
		{http.MethodPost, "/retry?lane=a&lane=b", "lane"},
	} {
		out = append(out, named(fmt.Sprintf("deliveries %.40s", test.path),
			refused(Request{Method: test.method, Path: "/api/deliveries" + test.path}, test.field)))
	}
	for _, id := range []string{"%00", "%ff", strings.Repeat("a", longID)} {
		for _, r := range []Request{{Method: http.MethodDelete, Path: "/api/deliveries/" + id}, {Method: http.MethodPost, Path: "/api/deliveries/" + id + "/retry"}} {
			r.Status, r.Code = http.StatusNotFound, "not_found"
			out = append(out, named(fmt.Sprintf("%s of delivery %.10s", r.Method, id), r))
		}
	}
	return out
}

// streams are asked for in a wrong way.
func streams() []Request {
	var out []Request
	for _, test := range []struct {
		query, field string
		header       []string
	}{
		{"?sessionId=", "sessionId", nil},
		{"?sessionId=%00", "sessionId", nil},
		{"?sessionId=%ff", "sessionId", nil},
		{"?sessionId=" + strings.Repeat("a", longID), "sessionId", nil},
		{"?sessionId=a&sessionId=b", "sessionId", nil},
	} {
		r := refused(Request{Method: http.MethodGet, Path: "/api/events/stream" + test.query, Header: test.header}, test.field)
		out = append(out, named(fmt.Sprintf("stream%.40s %q", test.query, test.header), r))
	}
	return out
}

// raw are not even HTTP, or end before they should.
func raw() []Request {
	const begin = "POST /api/events HTTP/1.1\r\nHost: b\r\nConnection: close\r\n"
	return []Request{
		{Name: "a body that ends early", Raw: begin + "Content-Length: 100\r\n\r\n" + online, Status: 400, Code: "bad_body"},
		{Name: "a chunk of no length", Raw: begin + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + online + "\r\n0\r\n\r\n", Status: 400, Code: "bad_body"},
		{Name: "a chunk that ends early", Raw: begin + "Transfer-Encoding: chunked\r\n\r\n28\r\n" + online + "\r\n", Status: 400, Code: "bad_body"},
		{Name: "no host", Raw: "POST /api/events HTTP/1.1\r\nContent-Length: 40\r\n\r\n" + online, Status: 400},
		{Name: "two lengths", Raw: begin + "Content-Length: 40\r\nContent-Length: 2\r\n\r\n" + online, Status: 400},
		{Name: "a negative length", Raw: begin + "Content-Length: -1\r\n\r\n" + online, Status: 400},
		{Name: "a length in words", Raw: begin + "Content-Length: forty\r\n\r\n" + online, Status: 400},
		{Name: "a NUL in a header", Raw: begin + "X-Odd: a\x00b\r\nContent-Length: 40\r\n\r\n" + online, Status: 400},
		{Name: "a space in a header's name", Raw: begin + "X Odd: a\r\nContent-Length: 40\r\n\r\n" + online, Status: 400},
		{Name: "a header without a colon", Raw: begin + "X-Odd\r\nContent-Length: 40\r\n\r\n" + online, Status: 400},
		{Name: "a header of 64 KiB", Raw: begin + "X-Odd: " + strings.Repeat("a", 64<<10) + "\r\nContent-Length: 40\r\n\r\n" + online, Status: 431},
		{Name: "an expectation", Raw: begin + "Expect: wonders\r\nContent-Length: 40\r\n\r\n" + online, Status: 417},
		{Name: "no HTTP", Raw: "hello\r\n\r\n", Status: 400},
		{Name: "JSON and nothing else", Raw: online + "\r\n\r\n", Status: 400},
	}
}
