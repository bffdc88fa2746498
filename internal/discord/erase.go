package discord

import (
	"context"
	"net/http"

	"github.com/pocketping/bridge/internal/bridge"
)

var _ bridge.ThreadEraser = (*Discord)(nil)

// EraseThread implements bridge.ThreadEraser: the thread is deleted, which the permission Manage Threads is for, and so is the card at
// which it began.
func (d *Discord) EraseThread(ctx context.Context, thread bridge.ThreadID) (left int, err error) {
	place, isHome, fault := d.find(thread, opEraseThread)
	if fault != nil || isHome {
		return 0, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opEraseThread, Detail: "it is no thread of the present channel"}
	}
	h, err := d.where(ctx)
	if err != nil {
		return 0, err
	}
	err = goneIsDone(d.rest.do(ctx, call{op: opEraseThread, method: http.MethodDelete, path: "/channels/" + place, idempotent: true}, nil))
	if err != nil || h.forum {
		return 0, err
	}
	return 0, d.Delete(ctx, d.threadID(""), bridge.MessageID(place)) // a thread has the id of the message at which it began
}
