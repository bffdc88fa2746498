// Package sitetest is a stand-in for the existing chat widget, as it behaves in a browser: what it sends and when, what it makes of an
// answer, how it falls back, and all that it does not do. It knows nothing of the door, so that an error of ours is not in both.
package sitetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Version is the widget's version that is sent.
const Version = "2.8.0"

// Storage is a browser's storage for one site: the tabs share it.
type Storage struct {
	mu                 sync.Mutex
	VisitorID, Session string
	Identity           map[string]any
}

// Options is what a Widget is made of.
type Options struct {
	Endpoint string // without a slash at its end
	Origin   string // of the page
	// Foreign has the page on another origin than the endpoint: calls are preflighted, and their answers need the headers.
	Foreign bool
	// Way is how it hears: socket, sse or poll; each falls back to those behind it, as the widget does. Only keeps it from doing so.
	Way   string
	Only  bool
	Pace  float64       // by which its waits are shorter; 1 if 0
	Clock time.Duration // how far ahead the visitor's clock is
	Agent string
	From  string // X-Forwarded-For
	// Shut keeps the chat closed, so that nothing is read.
	Shut bool
	Log  func(format string, args ...any)
}

// Message is a message as the widget holds it.
type Message struct {
	ID          string           `json:"id"`
	SessionID   string           `json:"sessionId"`
	Content     string           `json:"content"`
	Sender      string           `json:"sender"`
	Timestamp   string           `json:"timestamp"`
	Status      string           `json:"status"`
	DeliveredAt string           `json:"deliveredAt"`
	ReadAt      string           `json:"readAt"`
	EditedAt    string           `json:"editedAt"`
	DeletedAt   string           `json:"deletedAt"`
	ReplyTo     json.RawMessage  `json:"replyTo"`
	Attachments []map[string]any `json:"attachments"`
}

// Widget is one open page. Its methods may be called from several goroutines.
type Widget struct {
	o       Options
	storage *Storage
	client  *http.Client
	ctx     context.Context //nolint:containedctx // a page's life
	end     context.CancelFunc
	work    sync.WaitGroup

	mu       sync.Mutex
	answer   map[string]any // of connect
	session  string
	messages []*Message
	way      string // by which it hears now; empty: not at all
	online   bool
	dots     bool
	asked    int // for a rating
	events   []string
	frames   map[string]int
	changed  chan struct{}
	temp     int
	unread   chan struct{}
	sendWS   chan []byte
	lost     int // messages that the visitor lost
	silenced bool
}

// New returns a page that has not been loaded yet.
func New(o Options, s *Storage) *Widget {
	if o.Pace == 0 {
		o.Pace = 1
	}
	if o.Way == "" {
		o.Way = "socket"
	}
	if o.Agent == "" {
		o.Agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	s.mu.Lock()
	if s.VisitorID == "" {
		s.VisitorID = fmt.Sprintf("mabcdefg-%d", time.Now().UnixNano()%1e9)
	}
	s.mu.Unlock()
	ctx, end := context.WithCancel(context.Background())
	return &Widget{
		o: o, storage: s, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 6}}, ctx: ctx, end: end,
		frames: map[string]int{}, changed: make(chan struct{}), unread: make(chan struct{}, 1), sendWS: make(chan []byte, 16),
	}
}

func (w *Widget) in(d time.Duration) time.Duration { return time.Duration(float64(d) / w.o.Pace) }

// sleep waits; false: the page is closed.
func (w *Widget) sleep(d time.Duration) bool {
	timer := time.NewTimer(w.in(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// errCORS is what a page gets of an answer that the browser keeps from it.
var errCORS = errors.New("the browser keeps the answer from the page")

// kind of a request: fetch, beacon or xhr.
type kind string

// call makes a request as the browser does.
func (w *Widget) call(k kind, method, target, contentType string, body []byte) ([]byte, error) {
	if w.o.Foreign {
		if err := w.preflight(k, method, target, contentType != ""); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(context.Background(), method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	w.dress(req)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if k == "fetch" {
		req.Header.Set("X-PocketPing-Version", Version)
	}
	if method == http.MethodGet && !w.o.Foreign {
		req.Header.Del("Origin")
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if w.o.Foreign {
		if err := w.allowed(k, resp.Header); err != nil {
			return nil, err
		}
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %d %s", method, target, resp.StatusCode, text)
	}
	if k == "fetch" && !json.Valid(text) {
		return nil, fmt.Errorf("%s %s: %d without JSON: %q", method, target, resp.StatusCode, text)
	}
	return text, nil
}

func (w *Widget) dress(req *http.Request) {
	req.Header.Set("Origin", w.o.Origin)
	req.Header.Set("User-Agent", w.o.Agent)
	if w.o.From != "" {
		req.Header.Set("X-Forwarded-For", w.o.From)
	}
}

// preflight asks whether a call may be made.
func (w *Widget) preflight(k kind, method, target string, typed bool) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodOptions, target, nil)
	if err != nil {
		return err
	}
	w.dress(req)
	headers := []string{}
	if typed {
		headers = append(headers, "content-type")
	}
	if k == "fetch" {
		headers = append(headers, "x-pocketping-version")
	}
	req.Header.Set("Access-Control-Request-Method", method)
	req.Header.Set("Access-Control-Request-Headers", strings.Join(headers, ","))
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%w: OPTIONS %s is answered %d", errCORS, target, resp.StatusCode)
	}
	if err := w.allowed(k, resp.Header); err != nil {
		return err
	}
	if list := listed(resp.Header, "Access-Control-Allow-Methods"); !slices.Contains([]string{"GET", "POST"}, method) && !slices.Contains(list, strings.ToLower(method)) {
		return fmt.Errorf("%w: %s is not allowed", errCORS, method)
	}
	for _, name := range headers {
		if !slices.Contains(listed(resp.Header, "Access-Control-Allow-Headers"), name) {
			return fmt.Errorf("%w: the header %s is not allowed", errCORS, name)
		}
	}
	return nil
}

func listed(h http.Header, name string) (out []string) {
	for item := range strings.SplitSeq(h.Get(name), ",") {
		out = append(out, strings.ToLower(strings.TrimSpace(item)))
	}
	return out
}

// allowed says whether the browser lets the page have an answer. Beacons are sent with credentials.
func (w *Widget) allowed(k kind, h http.Header) error {
	origin := h.Get("Access-Control-Allow-Origin")
	switch {
	case origin == "*" && k != "beacon":
	case origin != w.o.Origin:
		return fmt.Errorf("%w: allowed is the origin %q", errCORS, origin)
	case k == "beacon" && h.Get("Access-Control-Allow-Credentials") != "true":
		return fmt.Errorf("%w: credentials are not allowed", errCORS)
	}
	return nil
}

// fetch makes a call with JSON and reads its answer.
func (w *Widget) fetch(method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	got, err := w.call("fetch", method, w.o.Endpoint+path, "application/json", text)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(got, answer)
}

// Load connects, once, and begins to hear. A page whose connect fails has no chat.
func (w *Widget) Load(page map[string]any) error {
	w.storage.mu.Lock()
	req := map[string]any{"visitorId": w.storage.VisitorID, "sessionId": nil}
	if w.storage.Session != "" {
		req["sessionId"] = w.storage.Session
	}
	if w.storage.Identity != nil {
		req["identity"] = w.storage.Identity
	}
	w.storage.mu.Unlock()
	metadata := map[string]any{
		"url": w.o.Origin + "/prices", "pageTitle": "Prices", "userAgent": w.o.Agent, "timezone": "Europe/Paris", "language": "fr",
		"screenResolution": "1280x720", "botSignals": map[string]bool{
			"webdriver": false, "plugins": false, "languages": false, "chrome": false, "permissions": false,
		},
	}
	for name, value := range page {
		metadata[name] = value
	}
	req["metadata"] = metadata
	var answer map[string]any
	if err := w.fetch(http.MethodPost, "/connect", req, &answer); err != nil {
		return err
	}
	text, err := json.Marshal(answer["messages"])
	if err != nil {
		return err
	}
	var messages []*Message
	if err := json.Unmarshal(text, &messages); err != nil {
		return err
	}
	session, _ := answer["sessionId"].(string)
	online, _ := answer["operatorOnline"].(bool)
	w.storage.mu.Lock()
	w.storage.Session = session
	w.storage.mu.Unlock()
	w.mu.Lock()
	w.answer, w.session, w.messages, w.online = answer, session, messages, online
	w.mu.Unlock()
	w.work.Go(w.hear)
	w.work.Go(w.reads)
	return nil
}

// Answer is what connect answered.
func (w *Widget) Answer() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answer
}

// Session is the session's id.
func (w *Widget) Session() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session
}

// Send sends a message and returns its id. Its line is there at once; if the call fails it is gone, and the words with it.
func (w *Widget) Send(text string, attachments []string, replyTo string) (string, error) {
	w.mu.Lock()
	w.temp++
	line := &Message{
		ID: fmt.Sprintf("temp-%d", w.temp), Content: text, Sender: "visitor", Timestamp: w.now().Format(time.RFC3339Nano), Status: "sending",
	}
	w.messages = append(w.messages, line)
	temporary := line.ID
	w.mu.Unlock()
	req := map[string]any{
		"sessionId": w.Session(), "content": text, "sender": "visitor", "attachmentIds": append([]string{}, attachments...),
	}
	if replyTo != "" {
		req["replyTo"] = replyTo
	}
	var answer struct {
		MessageID   string           `json:"messageId"`
		Timestamp   string           `json:"timestamp"`
		Attachments []map[string]any `json:"attachments"`
	}
	err := w.fetch(http.MethodPost, "/message", req, &answer)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.tell()
	at := slices.IndexFunc(w.messages, func(m *Message) bool { return m.ID == temporary })
	if err != nil {
		if at >= 0 {
			w.messages = slices.Delete(w.messages, at, at+1)
		}
		w.lost++
		return "", err
	}
	if answer.MessageID == "" || answer.Timestamp == "" {
		return "", fmt.Errorf("the answer to a message has no id or time: %+v", answer)
	}
	if at >= 0 {
		line.ID, line.Timestamp, line.Status, line.Attachments = answer.MessageID, answer.Timestamp, "sent", answer.Attachments
		return answer.MessageID, nil
	}
	// The message came by socket first, and took the temporary line; else it would be there twice.
	if !slices.ContainsFunc(w.messages, func(m *Message) bool { return m.ID == answer.MessageID }) {
		w.messages = append(w.messages, &Message{
			ID: answer.MessageID, Content: text, Sender: "visitor", Timestamp: answer.Timestamp, Status: "sent", Attachments: answer.Attachments,
		})
	}
	return answer.MessageID, nil
}

// Key is a key in the box: the widget tells it each time, and never that it is over.
func (w *Widget) Key() error {
	return w.fetch(http.MethodPost, "/typing", map[string]any{"sessionId": w.Session(), "sender": "visitor", "isTyping": true}, nil)
}

// Edit changes an own message.
func (w *Widget) Edit(id, text string) error {
	var answer struct {
		Message *struct{ Content, EditedAt string } `json:"message"`
	}
	err := w.fetch(http.MethodPatch, "/message/"+id, map[string]any{"sessionId": w.Session(), "content": strings.TrimSpace(text)}, &answer)
	if err == nil && (answer.Message == nil || answer.Message.Content == "" || answer.Message.EditedAt == "") {
		err = fmt.Errorf("the answer to an edit is %+v", answer)
	}
	if err == nil {
		w.change(id, func(m *Message) { m.Content, m.EditedAt = answer.Message.Content, answer.Message.EditedAt })
	}
	return err
}

// Delete deletes an own message.
func (w *Widget) Delete(id string) error {
	var answer struct {
		Deleted bool `json:"deleted"`
	}
	err := w.fetch(http.MethodDelete, "/message/"+id+"?sessionId="+url.QueryEscape(w.Session()), nil, &answer)
	if err == nil && answer.Deleted {
		w.change(id, func(m *Message) { m.DeletedAt = w.now().Format(time.RFC3339Nano) })
	}
	return err
}

// Identify says who the visitor is.
func (w *Widget) Identify(identity map[string]any) error {
	err := w.fetch(http.MethodPost, "/identify", map[string]any{"sessionId": w.Session(), "identity": identity}, nil)
	if err == nil {
		w.storage.mu.Lock()
		w.storage.Identity = identity
		w.storage.mu.Unlock()
	}
	return err
}

// Post makes any other call.
func (w *Widget) Post(path string, body map[string]any) (answer map[string]any, err error) {
	body["sessionId"] = w.Session()
	err = w.fetch(http.MethodPost, path, body, &answer)
	return answer, err
}

// Get asks for something.
func (w *Widget) Get(path string) (answer map[string]any, err error) {
	err = w.fetch(http.MethodGet, path, nil, &answer)
	return answer, err
}

// Upload uploads a file as choosing one does, and returns its id.
func (w *Widget) Upload(name, mimeType string, content []byte) (string, error) {
	var place struct{ AttachmentID, UploadURL string }
	err := w.fetch(http.MethodPost, "/upload", map[string]any{
		"sessionId": w.Session(), "filename": name, "mimeType": mimeType, "size": len(content),
	}, &place)
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(place.UploadURL); err != nil || !u.IsAbs() {
		return "", fmt.Errorf("the upload's URL is relative to the page: %q", place.UploadURL)
	}
	if _, err := w.call("xhr", http.MethodPut, place.UploadURL, mimeType, content); err != nil {
		return "", err
	}
	var file map[string]any
	err = w.fetch(http.MethodPost, "/upload/complete", map[string]any{"sessionId": w.Session(), "attachmentId": place.AttachmentID}, &file)
	for _, name := range []string{"id", "filename", "mimeType", "size", "url"} {
		if err == nil && file[name] == nil {
			err = fmt.Errorf("the uploaded file has no %s: %v", name, file)
		}
	}
	return place.AttachmentID, err
}

// Trigger sends an event of the page's; it takes an open socket.
func (w *Widget) Trigger(name string, data map[string]any) error {
	text, err := json.Marshal(map[string]any{"type": "event", "data": map[string]any{
		"name": name, "data": data, "timestamp": w.now().Format(time.RFC3339Nano),
	}})
	if err != nil {
		return err
	}
	if w.Way() != "socket" {
		return errors.New("there is no socket")
	}
	w.sendWS <- text
	return nil
}

// Beacon is what the page sends when it is left; a download sends it too, though the page stays.
func (w *Widget) Beacon() error {
	text, err := json.Marshal(map[string]any{"sessionId": w.Session(), "duration": 12, "reason": "page_unload"})
	if err != nil {
		return err
	}
	_, err = w.call("beacon", http.MethodPost, w.o.Endpoint+"/disconnect", "application/json", text)
	return err
}

// Hide is the beacon of a page that is hidden.
func (w *Widget) Hide() error {
	text, err := json.Marshal(map[string]any{"sessionId": w.Session(), "state": "hidden", "timestamp": w.now().UnixMilli()})
	if err != nil {
		return err
	}
	_, err = w.call("beacon", http.MethodPost, w.o.Endpoint+"/visibility", "application/json", text)
	return err
}

// Leave closes the page: its beacon, then everything that it holds.
func (w *Widget) Leave() error {
	err := w.Beacon()
	w.Stop()
	return err
}

// Stop closes the page without a word.
func (w *Widget) Stop() {
	w.end()
	w.work.Wait()
	w.client.CloseIdleConnections()
}

func (w *Widget) now() time.Time { return time.Now().Add(w.o.Clock).UTC() }
