package site

import (
	"context"
	"encoding/json"

	"github.com/pocketping/bridge/internal/bridge"
)

// TellPages tells the pages of a session an event of the app's own, on whichever bridge they are. Nobody else is told, and a page that
// is not open now does not hear of it. An error is ErrNoSession, or the store's.
func (d *Door) TellPages(ctx context.Context, session string, e bridge.CustomEvent) error {
	v, err := d.visitor(ctx, session)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"event": e, "sessionId": v.ID})
	if err != nil {
		return err
	}
	_, err = d.o.Ingester.Ingest(ctx, bridge.Inbound{Event: &bridge.AppEvent{Type: bridge.TypePageEvent, SessionID: v.ID}, Body: text})
	return err
}
