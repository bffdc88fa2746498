package site

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Visitors' files are in a folder, each under its id, and what is known of them in the store, with their session: a file without that is
// nobody's, and goes.
const (
	tableFiles = "site-files" // key id, value upload

	uploadLife  = 15 * time.Minute // until the bytes must be here
	unsentLife  = time.Hour        // of a file that no message names
	uploadIn    = 5 * time.Minute  // for the bytes to arrive
	sweepEvery  = time.Minute
	partName    = ".part-"        // begins the name of a file that is not here whole
	maxFilename = 255             // bytes
	waitingMost = 5               // files of a session that no message names
	filesEvery  = 3 * time.Minute // one more file of an address,
	filesBurst  = 20              // and so many at once
)

// Uploads keeps visitors' files. Its methods may be called from several goroutines, and by several bridges on one folder.
type Uploads struct {
	store  Store
	dir    string
	most   int64
	log    *slog.Logger
	counts *paces // files of an address
	bytes  *paces
}

// UploadOptions is what Uploads is made of.
type UploadOptions struct {
	Store  Store
	Dir    string // is made where it is not there
	Most   int64  // bytes of a file
	PerDay int64  // bytes of one address
	Log    *slog.Logger
}

// NewUploads returns the place of visitors' files.
func NewUploads(o UploadOptions) *Uploads {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		o.Log.Warn("there is no place for visitors' files, which are refused. Make UPLOADS_DIR writable", "err", err)
	}
	return &Uploads{
		store: o.Store, dir: o.Dir, most: o.Most, log: o.Log, counts: newPaces(filesEvery, filesBurst),
		bytes: newPaces(24*time.Hour/time.Duration(max(o.PerDay, 1)), int(o.PerDay)),
	}
}

// upload is what is known of a file.
type upload struct {
	ID       string    `json:"id"`
	Session  string    `json:"session"`
	Filename string    `json:"filename"`
	MimeType string    `json:"mimeType"`
	Size     int64     `json:"size"`
	Asked    time.Time `json:"asked"`
	Here     bool      `json:"here,omitempty"` // whole
	Sent     bool      `json:"sent,omitempty"` // a message names it
}

func (u *upload) row() bridge.Row {
	text, _ := json.Marshal(u) // it has nothing that cannot be written
	return bridge.Row{Table: tableFiles, Key: u.ID, Value: text, Session: u.Session}
}

// find returns a file that is known; nil: there is none.
func (us *Uploads) find(ctx context.Context, id string) (*upload, []byte, error) {
	if !fileID(id) {
		return nil, nil, nil
	}
	raw, err := us.store.Get(ctx, tableFiles, id)
	if err != nil || raw == nil {
		return nil, nil, err
	}
	u := &upload{}
	return u, raw, json.Unmarshal(raw, u)
}

// fileID says whether a text can be a file's id: what rand.Text makes, and so a name in the folder.
func fileID(id string) bool {
	return len(id) == 26 && !strings.ContainsFunc(id, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '2' || r > '7') })
}

func (us *Uploads) path(id string) string { return filepath.Join(us.dir, id) }

// Open opens a visitor's file for the platforms; ok is false for an attachment that is none of these files. The caller closes it.
func (us *Uploads) Open(ctx context.Context, a bridge.Attachment) (file bridge.File, closer io.Closer, ok bool, err error) {
	if a.UploadedFrom != fromWidget {
		return file, nil, false, nil
	}
	u, _, err := us.find(ctx, a.ID)
	if err != nil || u == nil || !u.Here {
		return file, nil, false, err
	}
	f, err := os.Open(us.path(u.ID))
	if err != nil {
		return file, nil, true, errors.New("the file is not here any more")
	}
	return bridge.File{Name: u.Filename, Type: typeOf(f, u.MimeType), Size: u.Size, Body: f}, f, true, nil
}

// typeOf is what a file's content shows of its type, where that is another kind than the page said.
func typeOf(f io.ReaderAt, said string) string {
	head := make([]byte, 512) // what DetectContentType looks at
	n, _ := f.ReadAt(head, 0)
	shown := http.DetectContentType(head[:n])
	kind, _, _ := strings.Cut(said, "/")
	for _, media := range []string{"image", "audio", "video"} {
		if (kind == media) != strings.HasPrefix(shown, media+"/") && (kind == media || shown != "application/octet-stream") {
			return shown
		}
	}
	return said
}

// sweep removes files that are nobody's until ctx ends: of sessions that are gone, and those that were not sent.
func (us *Uploads) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := us.sweepOnce(ctx, time.Now()); err != nil && ctx.Err() == nil {
			us.log.Warn("visitors' files that nobody needs could not be removed; trying on", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (us *Uploads) sweepOnce(ctx context.Context, now time.Time) error {
	entries, err := os.ReadDir(us.dir)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(entries, 200) {
		var ids []string
		for _, e := range page {
			if strings.HasPrefix(e.Name(), partName) {
				if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > unsentLife {
					_ = os.Remove(us.path(e.Name()))
				}
			} else if fileID(e.Name()) {
				ids = append(ids, e.Name())
			}
		}
		rows, err := us.store.GetAll(ctx, tableFiles, ids...)
		if err != nil {
			return err
		}
		for i, raw := range rows {
			var u upload
			known := raw != nil && json.Unmarshal(raw, &u) == nil
			if known && (u.Sent || now.Sub(u.Asked) <= unsentLife) {
				continue
			}
			if known {
				gone := u.row()
				before := gone
				before.Value, gone.Value = raw, nil
				_, err := us.store.Commit(ctx, bridge.Batch{If: []bridge.Row{before}, Rows: []bridge.Row{gone}})
				if errors.Is(err, bridge.ErrChanged) { // it was sent this moment
					continue
				}
				if err != nil {
					return err
				}
			}
			_ = os.Remove(us.path(ids[i]))
		}
	}
	return nil
}

// upload answers where a file is to be put.
func (d *Door) upload(r *http.Request) (any, error) {
	us := d.o.Uploads
	var req struct {
		SessionID string  `json:"sessionId"`
		Filename  string  `json:"filename"`
		MimeType  string  `json:"mimeType"`
		Size      float64 `json:"size"`
	}
	v, err := d.asked(r, maxBody, &req, &req.SessionID)
	if err != nil {
		return nil, err
	}
	name := plainName(req.Filename)
	switch {
	case us == nil:
		return nil, &problem{status: http.StatusNotFound, code: "no_files", text: "files are not taken"}
	case name == "":
		return nil, bad("filename", "is required")
	case req.Size < 1 || req.Size != float64(int64(req.Size)):
		return nil, bad("size", "must be a number of bytes")
	case int64(req.Size) > us.most:
		return nil, &problem{status: http.StatusRequestEntityTooLarge, code: "too_large", text: fmt.Sprintf("a file must be at most %d bytes", us.most)}
	}
	now := time.Now()
	address := d.address(r)
	if !d.hub.uploading(v.ID, now) || us.counts.spend(address, now) > 0 || us.bytes.spendN(address, now, int(req.Size)) > 0 {
		return nil, &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: "too many files", retry: filesEvery}
	}
	mimeType, _, err := mime.ParseMediaType(req.MimeType)
	if err != nil {
		mimeType = "application/octet-stream"
	}
	u := upload{ID: rand.Text(), Session: v.ID, Filename: name, MimeType: mimeType, Size: int64(req.Size), Asked: now.UTC()}
	if _, err := d.o.Store.Commit(r.Context(), bridge.Batch{Rows: []bridge.Row{u.row()}}); err != nil {
		return nil, err
	}
	return struct {
		AttachmentID string `json:"attachmentId"`
		UploadURL    string `json:"uploadUrl"`
		ExpiresAt    string `json:"expiresAt"`
	}{u.ID, d.base(r) + "/upload/" + u.ID, bridge.WireTime(now.Add(uploadLife))}, nil
}

// plainName is the last part of a file's name, without what no name has.
func plainName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "")))
	for len(name) > maxFilename {
		name = strings.ToValidUTF8(name[:len(name)-1], "")
	}
	return strings.TrimLeft(name, ".")
}

// put takes a file's bytes, once, and no more than were said.
func (d *Door) put(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(uploadIn)) // a writer that has none, as in a test, waits as long as it likes
	_ = rc.SetWriteDeadline(time.Now().Add(uploadIn + writeTimeout))
	v, err := d.store(r)
	d.reply(w, r, v, err)
}

func (d *Door) store(r *http.Request) (any, error) {
	us, ctx := d.o.Uploads, r.Context()
	if us == nil {
		return nil, noFile()
	}
	u, before, err := us.find(ctx, r.PathValue("id"))
	switch {
	case err != nil:
		return nil, err
	case u == nil || time.Since(u.Asked) > uploadLife:
		return nil, noFile()
	case u.Here:
		return nil, &problem{status: http.StatusConflict, code: "there", text: "the file is here already"}
	case r.ContentLength > u.Size:
		return nil, &http.MaxBytesError{Limit: u.Size}
	}
	d.visits.sign(u.Session, time.Now())
	part, err := os.CreateTemp(us.dir, partName)
	if err != nil {
		return nil, noPlace(d, err)
	}
	defer func() { _ = os.Remove(part.Name()) }()
	defer func() { _ = part.Close() }()
	n, err := io.Copy(part, io.LimitReader(r.Body, u.Size+1))
	switch failed, writing := errors.AsType[*os.PathError](err); {
	case writing:
		return nil, noPlace(d, failed)
	case err != nil || n < u.Size:
		return nil, bad("size", "is more than what came of the file")
	case n > u.Size:
		return nil, &http.MaxBytesError{Limit: u.Size}
	}
	if err := errors.Join(part.Sync(), os.Rename(part.Name(), us.path(u.ID))); err != nil {
		return nil, noPlace(d, err)
	}
	was := u.row()
	was.Value = before
	u.Here = true
	if _, err := us.store.Commit(ctx, bridge.Batch{If: []bridge.Row{was}, Rows: []bridge.Row{u.row()}}); err != nil {
		return nil, err
	}
	return ok{true}, nil
}

func noFile() *problem {
	return &problem{status: http.StatusNotFound, code: "unknown_file", text: "there is no such file"}
}

func noPlace(d *Door, err error) *problem {
	d.log.Warn("a visitor's file could not be kept", "err", err)
	return &problem{status: http.StatusServiceUnavailable, code: "no_place", text: "the file could not be kept now", retry: time.Minute}
}

// uploaded says that a file is here.
func (d *Door) uploaded(r *http.Request) (any, error) {
	var req struct {
		SessionID    string `json:"sessionId"`
		AttachmentID string `json:"attachmentId"`
	}
	v, err := d.asked(r, maxBody, &req, &req.SessionID)
	if err != nil {
		return nil, err
	}
	files, err := d.filesOf(r.Context(), v, []string{req.AttachmentID})
	if err != nil {
		return nil, err
	}
	return d.attachments(r, files)[0], nil
}

// filesOf returns the files that a message names. Each must be here, and of the same session.
func (d *Door) filesOf(ctx context.Context, v *visitor, ids []string) ([]bridge.Attachment, error) {
	if len(ids) > bridge.MaxAttachments {
		return nil, bad("attachmentIds", fmt.Sprintf("must be at most %d", bridge.MaxAttachments))
	}
	var out []bridge.Attachment
	for _, id := range ids {
		var u *upload
		if d.o.Uploads != nil {
			var err error
			if u, _, err = d.o.Uploads.find(ctx, id); err != nil {
				return nil, err
			}
		}
		if u == nil || u.Session != v.ID || !u.Here {
			return nil, bad("attachmentIds", "names a file that is not here")
		}
		out = append(out, bridge.Attachment{
			ID: u.ID, Filename: u.Filename, MimeType: u.MimeType, Size: u.Size, Status: "ready", UploadedFrom: fromWidget,
		})
	}
	return out, nil
}

// sentRows are what is written when a message with files is sent: they are kept as long as the session.
func (d *Door) sentRows(session string, files []bridge.Attachment) []bridge.Row {
	var rows []bridge.Row
	for _, f := range files {
		u := upload{ID: f.ID, Session: session, Filename: f.Filename, MimeType: f.MimeType, Size: f.Size, Here: true, Sent: true}
		rows = append(rows, u.row())
	}
	if len(files) > 0 {
		d.hub.uploadsSent(session, len(files))
	}
	return rows
}

// dropFiles removes the files of a message that was deleted.
func (d *Door) dropFiles(ctx context.Context, session string, files []bridge.Attachment) {
	for _, f := range files {
		if d.o.Uploads == nil || f.UploadedFrom != fromWidget || !fileID(f.ID) {
			continue
		}
		_, err := d.o.Store.Commit(ctx, bridge.Batch{Rows: []bridge.Row{{Table: tableFiles, Key: f.ID, Session: session}}})
		if err == nil {
			_ = os.Remove(d.o.Uploads.path(f.ID)) // else the sweep does
		}
	}
}

// fileURL is where a file is read.
func (d *Door) fileURL(r *http.Request, id, name string) string {
	return d.base(r) + "/files/" + id + "/" + url.PathEscape(name)
}

// file hands out a visitor's file; who has its id may read it. Nothing of it runs in a browser: only pictures, sound and films are shown
// in the page, all else is saved.
func (d *Door) file(w http.ResponseWriter, r *http.Request) {
	us := d.o.Uploads
	if us == nil {
		d.reply(w, r, nil, noFile())
		return
	}
	u, _, err := us.find(r.Context(), r.PathValue("id"))
	if err == nil && (u == nil || !u.Here) {
		err = noFile()
	}
	if err != nil {
		d.reply(w, r, nil, err)
		return
	}
	f, err := os.Open(us.path(u.ID))
	if err != nil {
		d.reply(w, r, nil, noFile())
		return
	}
	defer func() { _ = f.Close() }()
	disposition, mimeType := "attachment", "application/octet-stream"
	kind, _, _ := strings.Cut(u.MimeType, "/")
	if slices.Contains([]string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/heic"}, u.MimeType) || kind == "audio" || kind == "video" {
		disposition, mimeType = "inline", u.MimeType
	}
	h := w.Header()
	h.Set("Content-Type", mimeType)
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": u.Filename}))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=3600")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(uploadIn))
	http.ServeContent(w, r, "", time.Time{}, f)
}
