package platform

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

var errStalled = errors.New("nothing moved for too long")

// Stall ends a transfer on which nothing moves for too long.
type Stall struct {
	cause  func() error // why the transfer ended
	cancel context.CancelCauseFunc
	timer  *time.Timer
	after  time.Duration
}

// WatchStall returns the context of a transfer that ends when nothing has moved for so long.
func WatchStall(ctx context.Context, after time.Duration) (context.Context, *Stall) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &Stall{cause: func() error { return context.Cause(ctx) }, cancel: cancel, after: after, timer: time.AfterFunc(after, func() { cancel(errStalled) })}
}

// Moved says that something has moved, or that something is waited for again.
func (s *Stall) Moved() { s.timer.Reset(s.after) }

// Pause says that nothing is waited for.
func (s *Stall) Pause() { s.timer.Stop() }

// End ends the transfer.
func (s *Stall) End() {
	s.timer.Stop()
	s.cancel(nil)
}

// Cause returns the error of a call, or a time-out where the stall was the cause.
func (s *Stall) Cause(err error) error {
	if errors.Is(s.cause(), errStalled) {
		return os.ErrDeadlineExceeded
	}
	return err
}

// Download returns the body of a file on its way here. A reading takes no longer than the stall's time; between two readings there
// may be any. Its errors are *bridge.DeliveryErrors of the call op, but for io.EOF.
func Download(op string, body io.ReadCloser, stall *Stall, secrets ...bridge.Secret) io.ReadCloser {
	stall.Pause()
	return &download{op, body, stall, secrets}
}

type download struct {
	op      string
	body    io.ReadCloser
	stall   *Stall
	secrets []bridge.Secret
}

func (d *download) Read(p []byte) (int, error) {
	d.stall.Moved()
	n, err := d.body.Read(p)
	d.stall.Pause()
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, d.fault(err)
}

func (d *download) fault(err error) error {
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: d.op, Detail: outbound.Describe(d.stall.Cause(err), d.secrets...)}
}

func (d *download) Close() error {
	err := d.body.Close()
	d.stall.End()
	if err != nil {
		return d.fault(err)
	}
	return nil
}

// ContentRange reads the header of a part of a file, such as bytes 10-99/100; size is -1 where it is not told.
func ContentRange(text string) (first, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, total, cut := strings.Cut(text, "/")
	begin, _, dash := strings.Cut(span, "-")
	first, err := strconv.ParseInt(begin, 10, 64)
	if !ok || !cut || !dash || err != nil {
		return 0, 0, false
	}
	if size, err = strconv.ParseInt(total, 10, 64); err != nil {
		size = -1
	}
	return first, size, true
}

// Body is a request's body with files in it, which are read while it is sent. It is read by one goroutine; its other methods may
// be called by another.
type Body struct {
	Size int64  // bytes
	Type string // the content type; of a form with its boundary

	mu     sync.Mutex
	parts  io.Reader
	left   int64 // bytes that were not read yet
	broken string
	moved  func()
	over   bool
}

// FileBody returns a file alone.
func FileBody(f bridge.File) *Body {
	b := &Body{Size: f.Size, left: f.Size, Type: "application/octet-stream"}
	b.parts = &content{b, f.Body, f.Size}
	return b
}

// Moving has a function called for each piece that is read.
func (b *Body) Moving(moved func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved = moved
}

func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, io.ErrClosedPipe
	}
	n, err := b.parts.Read(p)
	b.left -= int64(n)
	if b.moved != nil {
		b.moved()
	}
	return n, err
}

// Stop waits for a reading that is under way and lets no other begin: the transport may go on reading for a moment after a call has
// returned, and the files are the caller's again. It returns why the other side cannot have got the whole, and which of it was a
// file's fault; nothing, if it can have.
func (b *Body) Stop() (missing string, file bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	switch {
	case b.broken != "":
		return b.broken, true
	case b.left > 0:
		return "the connection broke off before the files were sent", false
	}
	return "", false
}

// content is a file of exactly the length that was said.
type content struct {
	body *Body
	r    io.Reader
	left int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	switch {
	case c.left == 0 || err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		c.body.broken = "the file is shorter than was said"
	default:
		c.body.broken = "the file broke off"
	}
	return n, errors.New(c.body.broken)
}

// Form builds a body of multipart/form-data.
type Form struct {
	body  *Body
	text  bytes.Buffer // what stands before, between and behind the files; it takes everything
	w     *multipart.Writer
	parts []io.Reader
}

// NewForm returns an empty form.
func NewForm() *Form {
	f := &Form{body: new(Body)}
	f.w = multipart.NewWriter(&f.text)
	return f
}

// Field adds a field; its content type may be empty.
func (f *Form) Field(name, value, contentType string) {
	header := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + name + `"`}}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	_, _ = f.w.CreatePart(header)
	f.text.WriteString(value)
}

// File adds a file under a name of its own.
func (f *Form) File(field, name, contentType string, file bridge.File) {
	_, _ = f.w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(field, name)}, "Content-Type": {contentType},
	})
	f.cut()
	f.body.Size += file.Size
	f.parts = append(f.parts, &content{f.body, file.Body, file.Size})
}

func (f *Form) cut() {
	f.body.Size += int64(f.text.Len())
	f.parts = append(f.parts, strings.NewReader(f.text.String()))
	f.text.Reset()
}

// Body returns the whole form, to be sent once.
func (f *Form) Body() *Body {
	_ = f.w.Close()
	f.cut()
	f.body.parts, f.body.left, f.body.Type = io.MultiReader(f.parts...), f.body.Size, f.w.FormDataContentType()
	return f.body
}
