package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// A visitor's page talks to the bridge itself, as one with the chat widget does, or to the app server, which talks to the bridge with an
// SDK. Of the first kind the demo keeps who they are and which session they have: what is said is between their page and the bridge.

// widgetPath is where the bridge answers pages.
const widgetPath = "/pocketping"

// direct is what a page needs to talk to the bridge as a visitor.
type direct struct {
	Session   string           `json:"session"` // empty: the page has none yet
	VisitorID string           `json:"visitorId"`
	Identity  *bridge.Identity `json:"identity"`
	Metadata  *bridge.Metadata `json:"metadata"`
}

// doorEnv is the settings by which the bridge answers this page. Without a page there are none.
func (d *demo) doorEnv() []string {
	if d.page == "" {
		return nil
	}
	return []string{"WIDGET_ORIGINS=" + d.page + "," + address(d.page), "WIDGET_PRECHAT=off"}
}

// enterDirectly brings a visitor onto a page that talks to the bridge itself, and returns the visitor's id.
func (d *demo) enterDirectly(name string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.newVisitor(name)
	if err != nil {
		return "", err
	}
	v.Direct = &direct{VisitorID: v.session.VisitorID, Identity: v.session.Identity, Metadata: v.session.Metadata}
	return v.ID, nil
}

// directVisitor finds a visitor whose page talks to the bridge itself. The caller holds the lock.
func (d *demo) directVisitor(id string) (*visitor, error) {
	v, err := d.anyVisitor(id)
	if err == nil && v.Direct == nil {
		err = refuse(http.StatusConflict, "this visitor's page talks to the app server")
	}
	return v, err
}

// settle notes the session that a page was given for a visitor, and returns the one that counts: the first, as in a browser, whose tabs share it.
func (d *demo) settle(id, session string) (string, error) {
	if !bridge.PrintableID(session) {
		return "", refuse(http.StatusBadRequest, "session: an id")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.directVisitor(id)
	if err != nil {
		return "", err
	}
	if v.Direct.Session == "" {
		defer d.changedLocked()
		v.Direct.Session = session
	}
	return v.Direct.Session, nil
}

// wrote notes that a visitor has written, for the terminal and the things to try.
func (d *demo) wrote(id, text string) error {
	if text == "" || utf8.RuneCountInString(text) > bridge.MaxShown {
		return refuse(http.StatusBadRequest, "text: 1 to %d characters", bridge.MaxShown)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changedLocked()
	v, err := d.directVisitor(id)
	if err != nil {
		return err
	}
	d.noteWriting(v, text)
	return nil
}

// noteWriting says that a visitor has written. The caller holds the lock.
func (d *demo) noteWriting(v *visitor, text string) {
	d.steps.Wrote = d.steps.Wrote || d.opened
	if !d.process.Running && d.process.Kills > 0 {
		d.steps.WroteWhileDead = true
	}
	d.out.say(v.Name+", a visitor", "%s", text)
}

// takeDirect looks at what the app server is told of a visitor whose page talks to the bridge itself: the page is told the same.
// The caller holds the lock.
func (d *demo) takeDirect(e *calledBack) {
	switch e.Type {
	case bridge.TypeOperatorMessage:
		d.steps.Answered = d.steps.Answered || d.opened
	case bridge.TypeMessageDelivered:
		d.noteSurvival()
	}
}

// noteSurvival notes that something has come through a crash, if it has. The caller holds the lock.
func (d *demo) noteSurvival() {
	if d.steps.WroteWhileDead && d.process.Starts > 1 {
		d.steps.Survived = true
	}
}

// speak connects as a visitor's page does, and writes a text. It is for the opening scene, before anybody looks at the page.
func (d *demo) speak(ctx context.Context, id, text string) error {
	d.mu.Lock()
	v, err := d.directVisitor(id)
	if err != nil {
		d.mu.Unlock()
		return err
	}
	hello := map[string]any{
		"visitorId": v.Direct.VisitorID, "sessionId": nil, "identity": v.Direct.Identity, "metadata": v.Direct.Metadata,
	}
	d.mu.Unlock()
	var connected struct{ SessionID string }
	if err := d.asPage(ctx, "/connect", hello, &connected); err != nil {
		return err
	}
	if _, err := d.settle(id, connected.SessionID); err != nil {
		return err
	}
	d.mu.Lock()
	d.noteWriting(v, text)
	d.mu.Unlock()
	return d.asPage(ctx, "/message", map[string]any{
		"sessionId": connected.SessionID, "content": text, "sender": bridge.SenderVisitor, "attachmentIds": []string{},
	}, nil)
}

// asPage makes one request to the bridge, as the page does.
func (d *demo) asPage(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.bridge+widgetPath+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Origin", d.page)
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the bridge answers a page's POST %s with %d: %s", path, resp.StatusCode, bytes.TrimSpace(answer))
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

func (d *demo) directActions(mux *http.ServeMux) {
	act(mux, "PUT /demo/visitors/{id}/session", func(r *http.Request, in struct {
		Session string `json:"session"`
	}) (any, error) {
		session, err := d.settle(r.PathValue("id"), in.Session)
		return struct {
			Session string `json:"session"`
		}{session}, err
	})
	act(mux, "POST /demo/visitors/{id}/wrote", func(r *http.Request, in struct {
		Text string `json:"text"`
	}) (any, error) {
		return nil, d.wrote(r.PathValue("id"), strings.TrimSpace(in.Text))
	})
}
