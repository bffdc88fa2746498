package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// maxUpload is the longest file that is taken, in bytes. Slack takes a gigabyte.
const maxUpload = 64 << 20

type file struct {
	File
	created time.Time
	length  int // as it was announced
	ready   bool
	shared  []*message
}

func (f *file) show() File {
	out := f.File
	out.Content = slices.Clone(f.Content)
	return out
}

// wireFile returns a file as Slack shows it; shares are in files.info alone.
func (s *Server) wireFile(f *file, shares bool) object {
	if f.Deleted {
		return object{"id": f.ID, "mode": "tombstone"}
	}
	if f.Partner && !shares {
		return object{"id": f.ID, "mode": "file_access", "file_access": "check_file_info", "created": 0, "timestamp": 0, "user": ""}
	}
	kind := strings.TrimPrefix(path.Ext(f.Name), ".")
	where := s.base + "/files-pri/" + teamID + "-" + f.ID + "/"
	o := object{
		"id": f.ID, "created": f.created.Unix(), "timestamp": f.created.Unix(), "name": f.Name, "title": f.Title,
		"mimetype": f.Mimetype, "filetype": kind, "pretty_type": strings.ToUpper(kind), "user": f.User, "user_team": teamID,
		"editable": false, "size": len(f.Content), "mode": "hosted", "is_external": false, "external_type": "", "is_public": true,
		"public_url_shared": false, "display_as_bot": false, "username": "", "url_private": where + f.Name,
		"url_private_download": where + "download/" + f.Name, "media_display_type": "unknown", "has_rich_preview": false,
		"permalink": "https://" + domain + ".slack.com/files/" + f.User + "/" + f.ID + "/" + f.Name, "file_access": "visible",
	}
	o.set("alt_txt", f.Alt, f.Alt != "")
	if shares {
		places := map[string]map[string][]object{"public": {}, "private": {}}
		channels := []string{}
		for _, m := range f.shared {
			kind := "public"
			if m.in.isPrivate() {
				kind = "private"
			}
			one := object{
				"ts": stamp(m.ts), "channel_name": m.in.Name, "team_id": teamID, "share_user_id": f.User, "source": "UNKNOWN",
				"reply_count": len(m.in.threads[m.ts]), "reply_users": []string{}, "reply_users_count": 0,
			}
			if m.thread != 0 {
				one["thread_ts"] = stamp(m.thread)
			}
			places[kind][m.in.ID] = append(places[kind][m.in.ID], one)
			channels = append(channels, m.in.ID)
		}
		maps.DeleteFunc(places, func(_ string, in map[string][]object) bool { return len(in) == 0 })
		o["shares"], o["channels"], o["groups"], o["ims"] = places, channels, []string{}, []string{}
	}
	return o
}

// getUploadURL makes a file that waits for its bytes. The address is a secret of its own: it needs no token.
func (s *Server) getUploadURL(p params) (any, error) {
	name, length := p["filename"], p.integer("length", 0)
	if name == "" || length <= 0 {
		return nil, stage.Faultf("files.getUploadURLExternal: a file needs a name and at least one byte")
	}
	f := s.newFile(File{Name: name, Title: name, User: botUser, Alt: p["alt_txt"]}, length)
	ticket := "ticket-" + f.ID
	s.uploads[ticket] = f
	return object{"upload_url": s.base + "/upload/v1/" + ticket, "file_id": f.ID}, nil
}

func (s *Server) newFile(f File, length int) *file {
	f.ID = s.id("F")
	made := &file{File: f, created: time.Now(), length: length}
	if made.Mimetype == "" {
		made.Mimetype = mime.TypeByExtension(path.Ext(f.Name))
	}
	if made.Mimetype == "" {
		made.Mimetype = "application/octet-stream"
	}
	made.Mimetype, _, _ = strings.Cut(made.Mimetype, ";")
	s.files[f.ID] = made
	return made
}

// serveUpload takes a file's bytes: as a multipart form's only file, or as the body itself
// (https://docs.slack.dev/messaging/working-with-files#upload).
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request, ticket string) {
	call := stage.Call{Method: "upload", Place: ticket, Params: map[string]string{"ticket": ticket}}
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		if r.Method != http.MethodPost {
			return nil, stage.Faultf("an upload is a POST")
		}
		content, err := readUpload(r)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		f := s.uploads[ticket]
		if f == nil {
			return nil, refuse("unknown ticket")
		}
		if len(content) != f.length {
			return nil, stage.Faultf("%d bytes are uploaded of a file that was announced with %d", len(content), f.length)
		}
		delete(s.uploads, ticket)
		f.Content, f.ready = content, true
		s.back.Change()
		return "OK - " + strconv.Itoa(len(content)), nil
	}, func(w http.ResponseWriter, result any, err error) int {
		if err != nil {
			stage.Write(w, http.StatusBadRequest, []byte(err.Error()))
			return http.StatusBadRequest
		}
		text, _ := result.(string)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		stage.Write(w, http.StatusOK, []byte(text))
		return http.StatusOK
	})
}

func readUpload(r *http.Request) ([]byte, error) {
	body := io.LimitReader(r.Body, maxUpload)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		return io.ReadAll(body)
	}
	r.Body = io.NopCloser(body)
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, stage.Faultf("the multipart body cannot be read: %v", err)
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, stage.Faultf("the multipart body has no file: %v", err)
		}
		if part.FileName() == "" {
			continue
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, stage.Faultf("the multipart body cannot be read: %v", err)
		}
		return content, nil
	}
}

func (s *Server) completeUpload(p params) (any, error) {
	var wanted []struct{ ID, Title string }
	if err := json.Unmarshal([]byte(p["files"]), &wanted); err != nil || len(wanted) == 0 {
		return nil, stage.Faultf("files.completeUploadExternal: files %q are no list of files", p["files"])
	}
	var c *channel
	var m *message
	if id := p["channel_id"]; id != "" {
		var err error
		if c, err = s.channelOf(id, false, ""); err != nil {
			return nil, err
		}
		if c.archived {
			return nil, refuse("is_archived")
		}
		m = &message{in: c, subtype: "file_share", media: true}
		m.by, _ = s.by(p)
		if p["initial_comment"] != "" || p["blocks"] != "" {
			if err := s.body(m, params{"text": p["initial_comment"], "blocks": p["blocks"]}, 0); err != nil {
				return nil, err
			}
		}
	}
	files := make([]*file, 0, len(wanted))
	for _, one := range wanted {
		f := s.files[one.ID]
		if f == nil || !f.ready || f.Deleted || len(f.shared) > 0 {
			return nil, refuse("file_not_found")
		}
		files = append(files, f)
	}
	out := make([]object, 0, len(files))
	for i, f := range files {
		if wanted[i].Title != "" {
			f.Title = wanted[i].Title
		}
		out = append(out, s.wireFile(f, true))
	}
	if m != nil {
		m.extra().files = files
		s.shareLater(m, p)
	}
	return object{"files": out}, nil
}

// shareLater posts the message with the files. On Slack it comes some time after the answer, and nothing in the answer leads to
// it; whether its thread still has a parent is seen then.
func (s *Server) shareLater(m *message, p params) {
	delay := s.options.ShareDelay
	share := func() {
		if m.in.archived || m.in.absent || m.extra().files[0].Deleted {
			return
		}
		if err := m.joinThread(params{"thread_ts": p["thread_ts"]}); err != nil {
			s.back.Keep(err)
			return
		}
		s.share(m)
	}
	if delay <= 0 {
		share()
		return
	}
	s.back.Go(func() {
		if s.back.Pause(context.Background(), delay) != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		share()
		s.back.Change()
	})
}

// share adds a message with files, and tells of both.
func (s *Server) share(m *message) {
	s.add(m)
	for _, f := range m.more.files {
		f.shared = append(f.shared, m)
		s.tell("file_shared", m.in, "files:read", object{
			"type": "file_shared", "channel_id": m.in.ID, "file_id": f.ID, "user_id": f.User, "file": object{"id": f.ID},
		})
	}
	s.tellMessage(m)
}

func (s *Server) fileOf(id string) (*file, error) {
	f := s.files[id]
	switch {
	case f == nil || !f.ready:
		return nil, refuse("file_not_found")
	case f.Deleted:
		return nil, refuse("file_deleted")
	}
	return f, nil
}

func (s *Server) filesInfo(p params) (any, error) {
	f, err := s.fileOf(p["file"])
	if err != nil {
		return nil, err
	}
	return nextCursor(object{"file": s.wireFile(f, true), "comments": []object{}}, "comment", "", false), nil
}

func (s *Server) filesDelete(p params) (any, error) {
	f, err := s.fileOf(p["file"])
	if err != nil {
		return nil, err
	}
	if f.User != botUser {
		return nil, refuse("cant_delete_file")
	}
	s.deleteFile(f)
	return nil, nil
}

// deleteFile takes a file away, with the messages that say nothing without it; in others a tombstone stands for it
// (https://docs.slack.dev/messaging/working-with-files#removing).
func (s *Server) deleteFile(f *file) {
	before := make([]object, 0, len(f.shared))
	for _, m := range f.shared {
		before = append(before, s.wire(m, false))
	}
	shared := f.shared
	f.Deleted, f.Content, f.shared = true, nil, nil
	s.tell("file_deleted", nil, "files:read", object{"type": "file_deleted", "file_id": f.ID})
	for i, m := range shared {
		if m.in.messages[m.ts] != m || m.subtype == "tombstone" {
			continue // it was deleted before
		}
		if m.text == "" && m.blocks == "" && !slices.ContainsFunc(m.more.files, func(f *file) bool { return !f.Deleted }) {
			s.remove(m)
			continue
		}
		s.tellChanged(m, before[i])
	}
}

// serveDownload hands a file out to a bearer of the bot token with files:read. Everybody else is led to the page where people
// sign in, and a client that follows gets HTML with 200.
func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request, rest string) {
	place, _, _ := strings.Cut(rest, "/")
	_, id, _ := strings.Cut(place, "-")
	call := stage.Call{Method: "download", Place: id, Params: map[string]string{"file": id, "range": r.Header.Get("Range")}}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if token != s.options.BotToken || s.revoked != "" || !slices.Contains(s.scopes, "files:read") {
			return nil, refuse("sign in")
		}
		f := s.files[id]
		if f == nil || f.Deleted || !f.ready {
			return nil, refuse("file_not_found")
		}
		return f.show(), nil
	}, func(w http.ResponseWriter, result any, err error) int {
		f, ok := result.(File)
		switch {
		case ok:
			w.Header().Set("Content-Type", f.Mimetype)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.Content))
			return http.StatusOK
		case err.Error() == "sign in":
			w.Header().Set("Location", "/?redir="+strings.ReplaceAll(r.URL.EscapedPath(), "/", "%2F"))
			stage.Write(w, http.StatusFound, nil)
			return http.StatusFound
		}
		stage.Write(w, http.StatusNotFound, nil)
		return http.StatusNotFound
	})
}

func (s *Server) serveSignIn(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	stage.Write(w, http.StatusOK, []byte("<!DOCTYPE html><html><head><title>Sign in | Slack</title></head><body></body></html>"))
}
