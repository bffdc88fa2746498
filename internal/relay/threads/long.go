package threads

import (
	"bytes"
	"context"
	"io"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// whole puts the file that has all of a long text, or none, in front of a message's own files.
func (w *intent) whole(file *bridge.Attachment) {
	if w.hasWhole {
		w.files = w.files[1:]
	}
	if w.hasWhole = file != nil; w.hasWhole {
		w.files = append([]bridge.Attachment{*file}, w.files...)
	}
}

// uploadWhole is the call that shows all of a long text that a message was edited to; nil when there is none, or the platform takes no
// files. The file of the text before stays: it is what was written then.
func (d *Sink) uploadWhole(it *attempt) []step {
	uploader, can := d.platform.(bridge.Uploader)
	if it.want.all == nil || !can || d.files == nil || it.want.all.Size > d.max.MaxFile {
		return nil
	}
	return []step{{op: engine.OpUpload, do: func(ctx context.Context) ([]bridge.MessageID, error) {
		f, closer, err := d.files.Fetch(ctx, *it.want.all, d.max.MaxFile)
		if err != nil {
			return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: engine.OpUpload, Detail: err.Error()}
		}
		defer func() { _ = closer.Close() }()
		part := bridge.Part{Files: []bridge.Attachment{*it.want.all}, Silent: true, Key: partKey(it.Entry, 1000)}
		_, err = uploader.Upload(ctx, it.thread.ID, part, []bridge.File{f})
		return nil, err
	}}}
}

// wholes are Files that have what msgmap.Shorten made, too: it came from nowhere and need not be fetched.
type wholes struct{ Files }

func (w wholes) Fetch(ctx context.Context, a bridge.Attachment, most int64) (bridge.File, io.Closer, error) {
	content, ok := msgmap.WholeText(a)
	if !ok || int64(len(content)) > most {
		return w.Files.Fetch(ctx, a, most)
	}
	f := bridge.File{Name: a.Filename, Type: "text/plain; charset=utf-8", Size: int64(len(content)), Body: bytes.NewReader(content)}
	return f, io.NopCloser(nil), nil
}
