package site

import (
	"context"
	"net/http"

	"github.com/pocketping/bridge/internal/bridge"
)

// filesOf returns the files that a message names.
func (d *Door) filesOf(_ context.Context, _ *visitor, ids []string) ([]bridge.Attachment, error) {
	if len(ids) > 0 {
		return nil, bad("attachmentIds", "names a file that there is not")
	}
	return nil, nil
}

// sentRows are what is written when a message with files is sent.
func (d *Door) sentRows(string, []bridge.Attachment) []bridge.Row { return nil }

func (d *Door) fileURL(r *http.Request, id, name string) string {
	return d.base(r) + "/files/" + id + "/" + name
}
