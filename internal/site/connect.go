package site

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// historyPage is how many messages a page is given: the newest. There is no way for it to ask for older ones.
const historyPage = 200

type connectRequest struct {
	VisitorID string            `json:"visitorId"`
	SessionID *string           `json:"sessionId"`
	Metadata  *map[string]any   `json:"metadata"`
	Identity  *identityOfWidget `json:"identity"`
}

type connectAnswer struct {
	SessionID         string          `json:"sessionId"`
	VisitorID         string          `json:"visitorId"`
	OperatorOnline    bool            `json:"operatorOnline"`
	OperatorReachable bool            `json:"operatorReachable"`
	WelcomeMessage    string          `json:"welcomeMessage,omitempty"`
	Messages          []message       `json:"messages"`
	Identity          json.RawMessage `json:"identity,omitempty"`
	PreChatForm       *preChatForm    `json:"preChatForm,omitempty"`
	TrackedElements   []struct{}      `json:"trackedElements"`
	InspectorMode     bool            `json:"inspectorMode"`
	OperatorName      string          `json:"operatorName,omitempty"`
	OperatorAvatar    string          `json:"operatorAvatar,omitempty"`
	PrimaryColor      string          `json:"primaryColor,omitempty"`
}

// connect is a page's first call, which it makes once: a page whose connect fails has no chat until it is loaded again.
func (d *Door) connect(r *http.Request) (any, error) {
	var req connectRequest
	if err := d.body(r, maxBody, &req); err != nil {
		return nil, err
	}
	if !bridge.PrintableID(req.VisitorID) {
		return nil, bad("visitorId", "must be 1 to 128 printable characters")
	}
	ctx := r.Context()
	proved := d.prove(req.Identity)
	v, err := d.resume(ctx, r, req, proved)
	switch {
	case errors.Is(err, bridge.ErrUnavailable): // the page goes on with what it has
		v = &visitor{ID: d.unstoredID(), VisitorID: req.VisitorID}
		if req.SessionID != nil && bridge.PrintableID(*req.SessionID) {
			v.ID = *req.SessionID
		}
		return d.connected(v, nil), nil
	case err != nil:
		return nil, err
	}
	page, err := d.o.Transcripts.Transcript(ctx, bridge.TranscriptQuery{Session: v.ID, Limit: historyPage})
	if err != nil && !errors.Is(err, bridge.ErrUnavailable) {
		return nil, err
	}
	now := time.Now()
	d.visits.connected(v.ID, now)
	d.hub.answered(v.ID, now)
	return d.connected(v, d.shape(ctx, v.ID, r, page.Messages)), nil
}

func (d *Door) connected(v *visitor, messages []message) connectAnswer {
	online := d.o.Presence.Online()
	look := d.o.Look
	return connectAnswer{
		SessionID: v.ID, VisitorID: v.VisitorID, OperatorOnline: online, OperatorReachable: online, WelcomeMessage: look.Welcome,
		Messages: append([]message{}, messages...), Identity: v.Identity, PreChatForm: d.o.PreChat.form(v, online),
		TrackedElements: []struct{}{}, OperatorName: look.Name, OperatorAvatar: look.Avatar, PrimaryColor: look.Color,
	}
}

// resume returns the session that a page goes on with, or a new one. A session is resumed by its id alone, or by a proved identity,
// which may resume its last one from anywhere; a visitorId proves nothing. What belongs to one proved identity is not shown to another.
func (d *Door) resume(ctx context.Context, r *http.Request, req connectRequest, proved provedIdentity) (*visitor, error) {
	id := ""
	if req.SessionID != nil && *req.SessionID != "" {
		v, err := d.visitor(ctx, *req.SessionID)
		if err != nil && !errors.Is(err, ErrNoSession) {
			return nil, err
		}
		if err == nil && (v.Verified == "" || proved.id == "" || v.Verified == proved.id) {
			id = v.ID
		}
	}
	if id == "" && proved.id != "" {
		last, err := d.o.Store.Get(ctx, tablePeople, proved.id)
		if err != nil {
			return nil, err
		}
		if v, err := d.visitor(ctx, string(last)); last != nil && err == nil && v.Verified == proved.id {
			id = v.ID
		}
	}
	metadata := d.metadata(r, req.Metadata)
	if id != "" {
		return d.change(ctx, id, func(v *visitor) (map[string]any, []bridge.Row, bool) {
			if v.raw == nil {
				v.VisitorID, v.Created = req.VisitorID, time.Now().UTC()
			}
			was, before := v.session(), string(v.Identity)
			v.Connected, v.Leaving, v.Left = time.Now().UTC(), time.Time{}, false
			v.Metadata = metadata
			rows := proved.apply(v)
			if sameButActivity(was, v.session()) && v.raw != nil && before == string(v.Identity) {
				return nil, rows, true
			}
			return v.event(bridge.TypeNewSession), rows, true
		})
	}
	if !d.limits.connect(d.address(r)) {
		d.o.Meter.Refused(codeConnects)
		return &visitor{ID: d.unstoredID(), VisitorID: req.VisitorID, Identity: proved.identity}, nil
	}
	now := time.Now().UTC()
	v := &visitor{ID: rand.Text(), VisitorID: req.VisitorID, Created: now, Connected: now, Metadata: metadata}
	rows := proved.apply(v)
	row, before := v.row()
	err := d.ingest(ctx, v.event(bridge.TypeNewSession), func(in *bridge.Inbound) { in.Rows, in.If = append(rows, row), []bridge.Row{before} })
	v.raw = row.Value
	return v, err
}

// sameButActivity says whether two sessions tell the same.
func sameButActivity(a, b map[string]any) bool {
	delete(a, "lastActivity")
	delete(b, "lastActivity")
	one, err := json.Marshal(a)
	two, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(two)
}

// metadata is what is known of the visitor's page and device: what the page says, and what its request does.
func (d *Door) metadata(r *http.Request, told *map[string]any) json.RawMessage {
	all := map[string]any{}
	if told != nil {
		all = *told
	}
	for _, name := range []string{"ip", "country", "city"} { // are not the page's to say
		delete(all, name)
	}
	if ip := d.clientIP(r); ip != "" {
		all["ip"] = ip
	}
	agent, _ := all["userAgent"].(string)
	if agent = cmp.Or(agent, r.UserAgent()); agent != "" {
		all["userAgent"] = agent
	}
	device, browser, system := deviceOf(agent)
	for name, value := range map[string]string{"deviceType": device, "browser": browser, "os": system} {
		if _, said := all[name].(string); !said && value != "" {
			all[name] = value
		}
	}
	for _, name := range []string{
		"url", "referrer", "pageTitle", "timezone", "language", "screenResolution", "deviceType", "browser", "os", "userAgent",
	} { // have to be texts: what else they are says nothing
		if _, text := all[name].(string); !text {
			delete(all, name)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return text
}

// deviceOf tells what a User-Agent tells of a device, in the words of the contract; nothing where it does not.
func deviceOf(agent string) (device, browser, system string) {
	if agent == "" {
		return "", "", ""
	}
	first := func(pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if strings.Contains(agent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
	device = cmp.Or(first("iPad", "tablet", "Tablet", "tablet", "Mobi", "mobile", "iPhone", "mobile", "Android", "tablet"), "desktop")
	browser = first("Edg", "Edge", "OPR/", "Opera", "SamsungBrowser", "Samsung Internet", "Firefox", "Firefox", "FxiOS", "Firefox", "CriOS", "Chrome",
		"Chrome", "Chrome", "Safari", "Safari")
	system = first("Windows", "Windows", "iPhone", "iOS", "iPad", "iPadOS", "Android", "Android", "Mac OS X", "macOS", "CrOS", "ChromeOS", "Linux", "Linux")
	return device, browser, system
}
