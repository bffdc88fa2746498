package erase

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// limitTries is how often a platform may ask for time in one sweep.
const limitTries = 30

// sweepChats takes a session's threads out of the chats, or, where a thread cannot go as a whole, message by message. What must stay is
// noted in the record, once for each place.
func (e *Erasures) sweepChats(ctx context.Context, session string, rows []bridge.Row, record *bridge.Erasure) {
	for _, p := range e.platforms {
		ids := messagesIn(rows, p.Name())
		thread, err := msgmap.Of(p.Name(), e.store).Thread(ctx, session)
		if err != nil || thread.ID == "" && len(ids) == 0 {
			continue
		}
		left, reason := e.eraseThread(ctx, p, thread.ID, ids)
		if left == 0 && reason == "" {
			record.Threads++
			continue
		}
		record.Left = append(record.Left, bridge.ErasureLeft{Where: p.Name(), Messages: left, Reason: reason})
	}
}

// eraseThread takes a thread away, or what it can of it. left is how many messages stay, reason why.
func (e *Erasures) eraseThread(ctx context.Context, p bridge.Platform, thread bridge.ThreadID, ids []bridge.MessageID) (left int, reason string) {
	if whole, ok := p.(bridge.ThreadEraser); ok {
		err := patiently(ctx, func() (err error) {
			left, err = whole.EraseThread(ctx, thread)
			return err
		})
		switch d := bridge.AsDelivery(err, "erase", "it failed"); {
		case d == nil && left == 0:
			return 0, ""
		case d == nil:
			return left, "people wrote them, and a bot may not delete them"
		default:
			reason = d.Detail
		}
	}
	left = 0
	single, ok := p.(bridge.Deleter)
	for _, id := range ids {
		if !ok || patiently(ctx, func() error { return single.Delete(ctx, thread, id) }) != nil {
			left++
		}
	}
	if named, ok := p.(bridge.ThreadRenamer); ok {
		if err := patiently(ctx, func() error { return named.RenameThread(ctx, thread, "erased") }); err != nil {
			reason = bridge.AsDelivery(err, "rename", "it cannot be renamed").Detail
		}
	}
	if reason == "" && left > 0 {
		reason = "the platform does not let the bot delete them"
	}
	return left, reason
}

// patiently makes a call, and waits where the platform asks for time.
func patiently(ctx context.Context, call func() error) error {
	for range limitTries {
		err := call()
		d := bridge.AsDelivery(err, "", "")
		if d == nil || d.Reason != bridge.ReasonRateLimited || ctx.Err() != nil {
			return err
		}
		bridge.Sleep(ctx, min(max(d.RetryAfter, time.Second), time.Minute))
	}
	return call()
}

// messagesIn are the ids of all messages of a session on a platform that its rows know.
func messagesIn(rows []bridge.Row, platform string) []bridge.MessageID {
	seen := map[bridge.MessageID]bool{}
	for _, row := range rows {
		if id, ok := msgmap.OriginID(row, platform); ok {
			seen[id] = true
		}
		var s msgmap.Shown
		if msgmap.IsShown(row, platform) && json.Unmarshal(row.Value, &s) == nil {
			for _, id := range append(s.IDs, s.Files...) {
				seen[id] = true
			}
		}
	}
	maps.DeleteFunc(seen, func(id bridge.MessageID, _ bool) bool { return strings.HasPrefix(string(id), "/") })
	return slices.Collect(maps.Keys(seen))
}
