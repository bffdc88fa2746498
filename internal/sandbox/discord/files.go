package discord

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// newFile gives a file an id. Its name becomes one for an address, as Discord's do: blanks become underscores, and what is not a
// letter, a digit, a dot, an underscore or a hyphen goes.
func (s *Server) newFile(f File) *file {
	name := strings.Map(func(c rune) rune {
		switch {
		case c == ' ':
			return '_'
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-", c):
			return c
		}
		return -1
	}, f.Name)
	if strings.Trim(name, "._-") == "" {
		name = "unknown"
	}
	kind := f.Type
	if kind == "" || kind == "application/octet-stream" {
		kind = mime.TypeByExtension(path.Ext(name))
	}
	if kind == "" {
		kind = "application/octet-stream"
	}
	return &file{id: s.newID(), name: name, kind: kind, description: f.Description, content: f.Content}
}

// fileURL returns an address that holds for the time being: "ex: hex timestamp indicating when an attachment CDN URL will
// expire", "is: [...] when the URL was issued", "hm: unique signature".
func (s *Server) fileURL(f *file) string {
	now := time.Now()
	at := fmt.Sprintf("/attachments/%s/%s/%s", f.channel, f.id, f.name)
	ex := strconv.FormatInt(now.Add(s.options.FileLife).Unix(), 16)
	is := strconv.FormatInt(now.Unix(), 16)
	return s.base + at + "?ex=" + ex + "&is=" + is + "&hm=" + s.signFile(at, ex, is) + "&"
}

func (s *Server) signFile(at, ex, is string) string {
	h := hmac.New(sha256.New, s.secret)
	_, _ = fmt.Fprintf(h, "%s %s %s %d", at, ex, is, s.fileAge)
	return hex.EncodeToString(h.Sum(nil))
}

// serveFile answers the loading of a file; Range is understood. A wrong or old address gets 404 and a text, as at
// cdn.discordapp.com.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/") // "", attachments, channel, id, name
	query := r.URL.Query()
	call := Call{Method: "attachment", Params: map[string]string{"range": r.Header.Get("Range")}}
	if len(parts) == 5 {
		call.Place, call.Text = parts[2], parts[4]
		call.Params["id"] = parts[3]
	}
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			return nil, stage.Faultf("attachment: the bot's token was sent to where files are")
		}
		f := s.files[flake(call.Params["id"])]
		expires, err := strconv.ParseInt(query.Get("ex"), 16, 64)
		signature := s.signFile(r.URL.Path, query.Get("ex"), query.Get("is"))
		if f == nil || err != nil || time.Now().Unix() >= expires || !hmac.Equal([]byte(signature), []byte(query.Get("hm"))) {
			return nil, errNotFound()
		}
		return f, nil
	}, func(w http.ResponseWriter, result any, err error) int {
		f, ok := result.(*file)
		if !ok {
			w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
			stage.Write(w, http.StatusNotFound, []byte("This content is no longer available."))
			return http.StatusNotFound
		}
		_ = err // there is none with a file
		w.Header().Set("Content-Type", f.kind)
		noted := &noter{ResponseWriter: w, status: http.StatusOK}
		http.ServeContent(noted, r, "", f.id.when(), bytes.NewReader(f.content))
		_ = http.NewResponseController(w).Flush()
		return noted.status
	})
}

// when is the time that an id was made.
func (f snowflake) when() time.Time { return time.UnixMilli(int64(f>>22) + epoch).UTC() }

// noter remembers the status that was answered.
type noter struct {
	http.ResponseWriter
	status int
}

func (n *noter) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}
