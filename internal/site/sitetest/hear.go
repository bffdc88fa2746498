package sitetest

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// hear is how a page hears, from its connect on: a socket, else a stream, else polls, and never back.
func (w *Widget) hear() {
	way := w.o.Way
	if way == "socket" {
		if !w.sockets() || w.o.Only {
			return
		}
		way = "sse"
	}
	if way == "sse" {
		w.serverSentEvents()
		if w.ctx.Err() != nil || w.o.Only {
			return
		}
	}
	w.polls()
}

// sockets opens sockets until they do not hold; false: the page is closed.
func (w *Widget) sockets() bool {
	retries := []time.Duration{1, 2, 4, 8, 16}
	for tries := 0; w.ctx.Err() == nil; {
		begun := time.Now()
		opened := w.socket()
		if w.ctx.Err() != nil {
			return false
		}
		w.setWay("")
		if time.Since(begun) < w.in(2*time.Second) && !w.o.Only {
			return true
		}
		if opened {
			tries = 0
		}
		if tries == len(retries) {
			return true
		}
		if !w.sleep(retries[tries] * time.Second) {
			return false
		}
		tries++
	}
	return false
}

func (w *Widget) socket() (opened bool) {
	header := http.Header{"Origin": {w.o.Origin}, "User-Agent": {w.o.Agent}}
	if w.o.From != "" {
		header.Set("X-Forwarded-For", w.o.From)
	}
	dialer := websocket.Dialer{HandshakeTimeout: max(w.in(5*time.Second), time.Second)}
	conn, resp, err := dialer.DialContext(w.ctx, strings.Replace(w.o.Endpoint, "http", "ws", 1)+"/stream?sessionId="+url.QueryEscape(w.Session()), header)
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		w.o.Log("socket: %v", err)
		return false
	}
	w.setWay("socket")
	done := make(chan struct{})
	w.work.Go(func() {
		defer func() { _ = conn.Close() }()
		for {
			select {
			case text := <-w.sendWS:
				if conn.WriteMessage(websocket.TextMessage, text) != nil {
					return
				}
			case <-done:
				return
			case <-w.ctx.Done():
				return
			}
		}
	})
	defer close(done)
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			return true
		}
		w.heard(text)
	}
}

// serverSentEvents hears by server-sent events until anything goes wrong with them. An event with a name is not heard.
func (w *Widget) serverSentEvents() {
	target := w.o.Endpoint + "/stream?sessionId=" + url.QueryEscape(w.Session())
	if after := w.after(); after != "" {
		target += "&after=" + url.QueryEscape(after)
	}
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, target, nil)
	if err != nil {
		return
	}
	w.dress(req)
	req.Header.Set("Accept", "text/event-stream")
	if !w.o.Foreign {
		req.Header.Del("Origin")
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") ||
		w.o.Foreign && w.allowed("sse", resp.Header) != nil {
		return
	}
	w.setWay("sse")
	defer w.setWay("")
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	name, data := "", ""
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "":
			if data != "" && (name == "" || name == "message" || name == "csat_request" || name == "screenshot_request" || name == "connected") {
				w.heard([]byte(data))
			}
			name, data = "", ""
		case strings.HasPrefix(line, "event:"):
			name = strings.TrimSpace(line[6:])
		case strings.HasPrefix(line, "data:"):
			data += strings.TrimPrefix(line[5:], " ")
		}
	}
}

func (w *Widget) polls() {
	w.setWay("poll")
	wait, failures := 500*time.Millisecond, 0
	for w.sleep(wait) {
		query := "?sessionId=" + url.QueryEscape(w.Session())
		if after := w.after(); after != "" {
			query += "&after=" + url.QueryEscape(after)
		}
		var got struct {
			Messages []*Message `json:"messages"`
		}
		if err := w.fetch(http.MethodGet, "/messages"+query, nil, &got); err != nil {
			if failures++; failures >= 10 {
				w.mu.Lock()
				w.silenced = true
				w.mu.Unlock()
				w.setWay("")
				return
			}
			wait = min(time.Second<<failures, 30*time.Second)
			continue
		}
		failures, wait = 0, 2*time.Second
		_ = w.fetch(http.MethodGet, "/screenshot/requests?sessionId="+url.QueryEscape(w.Session()), nil, nil)
		w.mu.Lock()
		for _, m := range got.Messages {
			w.mergePolled(m)
		}
		w.tell()
		w.mu.Unlock()
	}
}

// after is the newest of all times that the widget holds.
func (w *Widget) after() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var latest time.Time
	for _, m := range w.messages {
		for _, text := range []string{m.Timestamp, m.EditedAt, m.DeletedAt, m.DeliveredAt, m.ReadAt} {
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.After(latest) {
				latest = at
			}
		}
	}
	if latest.IsZero() {
		return ""
	}
	return latest.UTC().Format("2006-01-02T15:04:05.000Z")
}

// heard takes a frame.
func (w *Widget) heard(text []byte) {
	var f struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(text, &f) != nil {
		w.o.Log("not understood: %s", text)
		return
	}
	var data struct {
		MessageID   string   `json:"messageId"`
		MessageIDs  []string `json:"messageIds"`
		Content     string   `json:"content"`
		EditedAt    string   `json:"editedAt"`
		DeletedAt   string   `json:"deletedAt"`
		Status      string   `json:"status"`
		DeliveredAt string   `json:"deliveredAt"`
		ReadAt      string   `json:"readAt"`
		IsTyping    bool     `json:"isTyping"`
		Sender      string   `json:"sender"`
		Online      bool     `json:"online"`
		Name        string   `json:"name"`
	}
	_ = json.Unmarshal(f.Data, &data)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.tell()
	w.frames[f.Type]++
	switch f.Type {
	case "message":
		m := &Message{}
		if json.Unmarshal(f.Data, m) == nil {
			w.merge(m)
			if m.Sender != "visitor" {
				w.dots = false
			}
		}
	case "message_edited":
		w.changeLocked(data.MessageID, func(m *Message) { m.Content, m.EditedAt = data.Content, data.EditedAt })
	case "message_deleted":
		w.changeLocked(data.MessageID, func(m *Message) { m.DeletedAt = data.DeletedAt })
	case "typing":
		if data.Sender != "visitor" {
			w.dots = data.IsTyping
		}
	case "presence":
		w.online = data.Online
	case "read":
		for _, id := range data.MessageIDs {
			w.changeLocked(id, func(m *Message) {
				m.Status = data.Status
				if data.DeliveredAt != "" {
					m.DeliveredAt = data.DeliveredAt
				}
				if data.ReadAt != "" {
					m.ReadAt = data.ReadAt
				}
			})
		}
	case "event":
		w.events = append(w.events, data.Name+" "+string(f.Data))
	case "csat_request":
		w.asked++
	}
}

// merge takes a message that came by socket or stream: by its id, as the own one whose answer is not there yet, by equal text within two
// seconds, or as a new one at the end. A message that is there takes a status only.
func (w *Widget) merge(m *Message) {
	at := slices.IndexFunc(w.messages, func(o *Message) bool { return o.ID == m.ID })
	if at < 0 && m.Sender == "visitor" {
		if at = slices.IndexFunc(w.messages, func(o *Message) bool {
			return strings.HasPrefix(o.ID, "temp-") && o.Content == m.Content && o.Sender == "visitor"
		}); at >= 0 {
			w.messages[at].ID = m.ID
		}
	}
	if at < 0 && m.Sender != "visitor" {
		mine, err := time.Parse(time.RFC3339Nano, m.Timestamp)
		at = slices.IndexFunc(w.messages, func(o *Message) bool {
			theirs, err2 := time.Parse(time.RFC3339Nano, o.Timestamp)
			return err == nil && err2 == nil && o.Sender == m.Sender && o.Content == m.Content && theirs.Sub(mine).Abs() < 2*time.Second
		})
	}
	if at < 0 {
		w.messages = append(w.messages, m)
		return
	}
	o := w.messages[at]
	if m.Status != "" {
		o.Status = m.Status
	}
}

// mergePolled takes a message of a poll: by its id alone; one that changed is replaced.
func (w *Widget) mergePolled(m *Message) {
	at := slices.IndexFunc(w.messages, func(o *Message) bool { return o.ID == m.ID })
	if at < 0 {
		w.merge(m)
		return
	}
	o := w.messages[at]
	if m.Status != "" {
		o.Status = m.Status
	}
	if m.EditedAt != "" && m.EditedAt != o.EditedAt {
		o.Content, o.EditedAt = m.Content, m.EditedAt
	}
	if m.DeletedAt != "" {
		o.DeletedAt = m.DeletedAt
	}
}

func (w *Widget) change(id string, change func(*Message)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changeLocked(id, change)
	w.tell()
}

func (w *Widget) changeLocked(id string, change func(*Message)) {
	for _, m := range w.messages {
		if m.ID == id {
			change(m)
		}
	}
}

// tell wakes who waits. Called under the lock.
func (w *Widget) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
	select {
	case w.unread <- struct{}{}:
	default:
	}
}

func (w *Widget) setWay(way string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.way = way
	w.tell()
}

// reads tells, a second after a change, which answers the visitor has before them in the open chat.
func (w *Widget) reads() {
	for {
		select {
		case <-w.unread:
		case <-w.ctx.Done():
			return
		}
		if w.o.Shut {
			continue
		}
		if !w.sleep(time.Second) {
			return
		}
		var ids []string
		w.mu.Lock()
		for _, m := range w.messages {
			if m.Sender != "visitor" && m.Status != "read" {
				ids = append(ids, m.ID)
			}
		}
		w.mu.Unlock()
		if len(ids) == 0 || w.fetch(http.MethodPost, "/read", map[string]any{"sessionId": w.Session(), "messageIds": ids, "status": "read"}, nil) != nil {
			continue
		}
		for _, id := range ids {
			w.change(id, func(m *Message) { m.Status, m.ReadAt = "read", w.now().Format(time.RFC3339Nano) })
		}
	}
}

// State is what a page shows.
type State struct {
	Messages []Message
	Way      string
	Online   bool
	Dots     bool
	Asked    int // for a rating
	Events   []string
	Frames   map[string]int
	Lost     int
	Silenced bool
}

// State returns what the page shows now.
func (w *Widget) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := State{Way: w.way, Online: w.online, Dots: w.dots, Asked: w.asked, Events: slices.Clone(w.events), Lost: w.lost, Silenced: w.silenced,
		Frames: map[string]int{}}
	for name, n := range w.frames {
		s.Frames[name] = n
	}
	for _, m := range w.messages {
		s.Messages = append(s.Messages, *m)
	}
	return s
}

// Way is how the page hears now; empty: not at all.
func (w *Widget) Way() string { return w.State().Way }

// Until waits until the page shows what is wanted; false: it does not within the time, which only ends a hung test.
func (w *Widget) Until(most time.Duration, shows func(State) bool) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if shows(w.State()) {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// Texts are the texts that the page shows, in order; of what was deleted, [deleted].
func (s State) Texts() []string {
	out := []string{}
	for _, m := range s.Messages {
		if m.DeletedAt != "" {
			out = append(out, "[deleted]")
			continue
		}
		out = append(out, m.Content)
	}
	return out
}

// Find returns the message with a text.
func (s State) Find(text string) (Message, bool) {
	for _, m := range s.Messages {
		if m.Content == text && m.DeletedAt == "" {
			return m, true
		}
	}
	return Message{}, false
}

// Resume has a page go on with what another one held when it stopped, as one does whose socket was away: without a connect.
func (w *Widget) Resume(from *Widget) {
	from.mu.Lock()
	var held []*Message
	for _, m := range from.messages {
		m := *m
		held = append(held, &m)
	}
	session, answer := from.session, from.answer
	from.mu.Unlock()
	w.mu.Lock()
	w.messages, w.session, w.answer = held, session, answer
	w.mu.Unlock()
	w.work.Go(w.hear)
	w.work.Go(w.reads)
}
