package bridgetest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/pocketping/bridge/internal/bridge"
)

// What a Platform can besides sending: the optional interfaces.

// at returns a thread that takes calls. Called under the lock.
func (p *Platform) at(op string, id bridge.ThreadID) (*threadState, error) {
	t := p.threads[id]
	if t == nil || t.gone {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op, Detail: "there is no such thread"}
	}
	return t, nil
}

// change calls f with a shown message, or with nothing when it is gone.
func (p *Platform) change(ctx context.Context, c Call, id bridge.MessageID, f func(*threadState, int) error) error {
	c.IDs = []bridge.MessageID{id}
	return p.call(ctx, c, func(*Call) error {
		t, err := p.at(c.Op, c.Thread)
		if err != nil {
			return err
		}
		return f(t, slices.IndexFunc(t.shown, func(s Shown) bool { return s.ID == id }))
	})
}

// Edit implements bridge.Editor.
func (p *Platform) Edit(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, part bridge.Part) error {
	return p.change(ctx, Call{Op: OpEdit, Thread: thread, Part: part, Text: part.Text}, id, func(t *threadState, i int) error {
		if i < 0 {
			return &bridge.DeliveryError{Reason: bridge.ReasonMessageGone, Op: OpEdit, Detail: "there is no such message"}
		}
		t.shown[i].Text = part.Text
		return nil
	})
}

// Delete implements bridge.Deleter.
func (p *Platform) Delete(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID) error {
	return p.change(ctx, Call{Op: OpDelete, Thread: thread}, id, func(t *threadState, i int) error {
		if i >= 0 {
			t.shown = slices.Delete(t.shown, i, i+1)
		}
		return nil
	})
}

// React implements bridge.Reactor.
func (p *Platform) React(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, s bridge.Sign) error {
	return p.change(ctx, Call{Op: OpReact, Thread: thread, Text: string(s)}, id, func(*threadState, int) error {
		p.signs[id] = s
		return nil
	})
}

// Signs returns what React has put on a message.
func (p *Platform) Signs(id bridge.MessageID) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.signs[id]; ok {
		return []string{string(s)}
	}
	return nil
}

// ShowTyping implements bridge.Typer.
func (p *Platform) ShowTyping(ctx context.Context, thread bridge.ThreadID) error {
	return p.call(ctx, Call{Op: OpShowTyping, Thread: thread}, func(*Call) error {
		_, err := p.at(OpShowTyping, thread)
		return err
	})
}

// CloseThread implements bridge.ThreadCloser. A closed thread refuses messages.
func (p *Platform) CloseThread(ctx context.Context, thread bridge.ThreadID) error {
	return p.call(ctx, Call{Op: OpCloseThread, Thread: thread}, func(*Call) error {
		t, err := p.at(OpCloseThread, thread)
		if err == nil {
			t.closed = true
		}
		return err
	})
}

// Upload implements bridge.Uploader.
func (p *Platform) Upload(ctx context.Context, thread bridge.ThreadID, part bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	shown := Shown{Text: part.Text, ReplyTo: part.ReplyTo, Silent: part.Silent}
	for _, f := range files {
		content, err := io.ReadAll(f.Body)
		if err != nil {
			return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: OpUpload, Detail: "the file broke off"}
		}
		shown.Files = append(shown.Files, ShownFile{Name: f.Name, Content: content})
	}
	err := p.call(ctx, Call{Op: OpUpload, Thread: thread, Part: part, Text: part.Text}, func(c *Call) error {
		t, err := p.at(OpUpload, thread)
		switch {
		case err != nil:
			return err
		case t.closed:
			return &bridge.DeliveryError{Reason: bridge.ReasonClosed, Op: OpUpload, Detail: "the thread is closed"}
		}
		p.sent++
		shown.ID = bridge.MessageID(strconv.Itoa(p.sent))
		c.IDs = []bridge.MessageID{shown.ID}
		t.shown = append(t.shown, shown)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []bridge.MessageID{shown.ID}, nil
}

// Keep makes the content of a file that operators sent known, under the BridgeFileID of its attachment.
func (p *Platform) Keep(ref string, content []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[ref] = content
}

// OpenFile implements bridge.FileSource.
func (p *Platform) OpenFile(ctx context.Context, ref string, from int64) (*bridge.Content, error) {
	var content []byte
	err := p.call(ctx, Call{Op: OpOpenFile, Text: ref}, func(*Call) error {
		var ok bool
		if content, ok = p.files[ref]; !ok {
			return &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: OpOpenFile, Detail: "it is not there"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	from = min(from, int64(len(content)))
	return &bridge.Content{Body: io.NopCloser(bytes.NewReader(content[from:])), From: from, Size: int64(len(content))}, nil
}

// MainThread implements bridge.MainPlace.
func (p *Platform) MainThread() bridge.ThreadID { return "main" }
