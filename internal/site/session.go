package site

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// visitor is what the door keeps of one of its sessions. It has what every event of the session carries, so that any bridge on the
// same store can serve it.
type visitor struct {
	ID        string          `json:"id"`
	VisitorID string          `json:"visitorId"`
	Created   time.Time       `json:"created"`
	Connected time.Time       `json:"connected"` // the last time
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Identity  json.RawMessage `json:"identity,omitempty"`
	Verified  string          `json:"verified,omitempty"` // the identity's id, where it has been proved
	Email     string          `json:"email,omitempty"`
	Phone     string          `json:"phone,omitempty"`
	Country   string          `json:"country,omitempty"`
	PreChat   bool            `json:"preChat,omitempty"` // the form was filled in

	Asked time.Time `json:"asked,omitzero"` // for a rating, the last time
	Rated time.Time `json:"rated,omitzero"`

	Leaving time.Time `json:"leaving,omitzero"` // since when no page of it is open, as a bridge has seen it
	Left    bool      `json:"left,omitempty"`   // that is told, until the next connect

	raw []byte // the row; nil: it is not stored yet
}

// unstoredID returns the id of a session of which nothing is stored before its first message: it proves by itself that it was made
// here.
func (d *Door) unstoredID() string {
	id := rand.Text()
	return id + "-" + d.proof(id)
}

func (d *Door) proof(id string) string {
	sum := hmac.New(sha256.New, d.key)
	_, _ = sum.Write([]byte(id))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum.Sum(nil)[:20])
}

// madeHere is the form of the ids that the door makes.
var madeHere = regexp.MustCompile(`^[A-Z2-7]{26}(-[A-Z2-7]{32})?$`)

// LogID is what a log may say of a session's id: of one that the door has made its beginning, since whoever knows all of it is its visitor.
func LogID(id string) string {
	if madeHere.MatchString(id) {
		return id[:8] + "…"
	}
	return id
}

// visitor returns a session that the door has made. An error is that there is none, or the store's.
func (d *Door) visitor(ctx context.Context, id string) (*visitor, error) {
	if len(id) < 26 || !bridge.PrintableID(id) {
		return nil, noSession()
	}
	raw, err := d.o.Store.Get(ctx, tableSessions, id)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		part, proof, unstored := strings.Cut(id, "-")
		if !unstored || !hmac.Equal([]byte(proof), []byte(d.proof(part))) {
			return nil, noSession()
		}
		sum := sha256.Sum256([]byte(id))
		return &visitor{ID: id, VisitorID: "visitor-" + hex.EncodeToString(sum[:6])}, nil
	}
	v := &visitor{raw: raw}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("row %s: %w", tableSessions, err)
	}
	return v, nil
}

// row is the session as it is to be stored, and the condition that it is stored as it was read.
func (v *visitor) row() (row, before bridge.Row) {
	row = bridge.Row{Table: tableSessions, Key: v.ID, Session: v.ID}
	before = row
	before.Value = v.raw
	row.Value, _ = json.Marshal(v) // it has nothing that cannot be written
	return row, before
}

// changeTries is how often a change of a session is tried while others change it.
const changeTries = 8

// change changes a session and stores it, with the event that change returns, if any. change is called again with the session as it is
// then when others have changed it meanwhile; done false: there is nothing to change.
func (d *Door) change(
	ctx context.Context, id string, change func(v *visitor) (event map[string]any, rows []bridge.Row, done bool),
) (*visitor, error) {
	for range changeTries {
		v, err := d.visitor(ctx, id)
		if err != nil {
			return nil, err
		}
		event, rows, changes := change(v)
		if !changes {
			return v, nil
		}
		row, before := v.row()
		rows = append(rows, row)
		if event == nil {
			_, err = d.o.Store.Commit(ctx, bridge.Batch{If: []bridge.Row{before}, Rows: rows})
		} else {
			err = d.ingest(ctx, event, func(in *bridge.Inbound) { in.Rows, in.If = rows, []bridge.Row{before} })
		}
		if !errors.Is(err, bridge.ErrChanged) {
			return v, err
		}
	}
	return nil, fmt.Errorf("%w: others change the same session", bridge.ErrUnavailable)
}

// event is an event that tells of the session and of nothing else.
func (v *visitor) event(t bridge.Type) map[string]any {
	return map[string]any{"type": t, "session": v.session()}
}

// session is the session as events carry it.
func (v *visitor) session() map[string]any {
	s := map[string]any{"id": v.ID, "visitorId": v.VisitorID}
	if !v.Created.IsZero() {
		s["createdAt"] = bridge.WireTime(v.Created)
	}
	if !v.Connected.IsZero() {
		s["lastActivity"] = bridge.WireTime(v.Connected)
	}
	if v.Metadata != nil {
		s["metadata"] = v.Metadata
	}
	switch {
	case v.Identity != nil:
		s["identity"] = v.Identity
	case v.Email != "":
		s["identity"] = map[string]any{"id": v.VisitorID, "email": v.Email}
	}
	if v.Phone != "" {
		s["userPhone"], s["userPhoneCountry"] = v.Phone, v.Country
	}
	return s
}

// email is where mail for the visitor can be sent, as far as is known.
func (v *visitor) email() string {
	var identity bridge.Identity
	if v.Identity != nil && json.Unmarshal(v.Identity, &identity) == nil && identity.Email != "" {
		return identity.Email
	}
	return v.Email
}

// ingest hands an event over, held to the contract as an app server's is. When it returns without an error the event is durable.
func (d *Door) ingest(ctx context.Context, event map[string]any, adjust ...func(*bridge.Inbound)) error {
	text, err := json.Marshal(event)
	if err != nil {
		return err
	}
	e, err := bridge.DecodeAppEvent(text)
	if err != nil {
		return err
	}
	if err := e.Validate(); err != nil {
		return err
	}
	e.Trim()
	in := bridge.Inbound{Event: e, Body: text}
	for _, adjust := range adjust {
		adjust(&in)
	}
	done, err := d.o.Ingester.Ingest(ctx, in)
	if err == nil && done.Duplicate && len(in.Rows) > 0 { // the event was told before; the rows are still to be written
		_, err = d.o.Store.Commit(ctx, bridge.Batch{If: in.If, Rows: in.Rows})
	}
	return err
}
