package site_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

var picture = append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte("pixels "), 100)...)

// A visitor's file reaches the platform from where it is kept, the page and its other tabs by a whole URL, and goes with its message.
func TestFile(t *testing.T) {
	t.Parallel()
	onEachWay(t, func(t *testing.T, r *rig, o sitetest.Options) {
		w := r.page(o, nil)
		other := r.page(o, storageOf(w))
		id, err := w.Upload("../shoe.png", "image/png", picture)
		if err != nil {
			t.Fatal(err)
		}
		message, err := w.Send("like this", []string{id}, "")
		if err != nil {
			t.Fatal(err)
		}
		var url string
		r.shows(other, "the file", func(s sitetest.State) bool {
			m, _ := s.Find("like this")
			if len(m.Attachments) == 1 {
				url, _ = m.Attachments[0]["url"].(string)
			}
			return strings.HasPrefix(url, r.url+"/files/") && strings.HasSuffix(url, "/shoe.png")
		})
		r.until("on the platform", func() bool {
			for _, m := range r.platform.Shown(r.thread(w.Session())) {
				if len(m.Files) == 1 && m.Files[0].Name == "shoe.png" && bytes.Equal(m.Files[0].Content, picture) {
					return true
				}
			}
			return false
		})
		path := strings.TrimPrefix(url, r.url)
		got := r.ask("GET", path, "", "Origin", "")
		if !bytes.Equal(got.Body.Bytes(), picture) || got.Header().Get("Content-Type") != "image/png" {
			t.Errorf("%d %v", got.Code, got.Header())
		}
		if err := w.Delete(message); err != nil {
			t.Fatal(err)
		}
		if got := r.ask("GET", path, "", "Origin", ""); got.Code != 404 {
			t.Errorf("of a deleted message: %d", got.Code)
		}
		if left, err := os.ReadDir(r.dir); err != nil || len(left) != 0 {
			t.Errorf("left are %v, %v", left, err)
		}
	})
}

// placed asks for a place for a file, and returns its id and path.
func (r *rig) placed(session, name, mimeType string, size int) (id, path string) {
	r.t.Helper()
	got := r.asked("POST", "/upload", fmt.Sprintf(`{"sessionId":%q,"filename":%q,"mimeType":%q,"size":%d}`, session, name, mimeType, size))
	id, _ = got["attachmentId"].(string)
	return id, "/upload/" + id
}

// What a file may not be, and who may not name it: nothing is stored then.
func TestFilesAreRefused(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		stranger := r.connected("")
		want := func(what string, got *httptest.ResponseRecorder, status int) {
			t.Helper()
			if got.Code != status {
				t.Errorf("%s: %d %s, want %d", what, got.Code, got.Body, status)
			}
		}
		for _, size := range []string{"0", "-1", "1.5", "null"} {
			want("size "+size, r.ask("POST", "/upload", `{"sessionId":"`+id+`","filename":"a","mimeType":"image/png","size":`+size+`}`), 400)
		}
		want("too big", r.ask("POST", "/upload", `{"sessionId":"`+id+`","filename":"a","mimeType":"image/png","size":1048577}`), 413)
		want("without a name", r.ask("POST", "/upload", `{"sessionId":"`+id+`","filename":"../","mimeType":"image/png","size":4}`), 400)
		want("of no session", r.ask("POST", "/upload", `{"sessionId":"x","filename":"a","mimeType":"image/png","size":4}`), 404)

		file, path := r.placed(id, "a.png", "image/png", 4)
		send := func(session string) *httptest.ResponseRecorder {
			return r.ask("POST", "/message", fmt.Sprintf(`{"sessionId":%q,"content":"x","attachmentIds":[%q]}`, session, file))
		}
		complete := func(session string) *httptest.ResponseRecorder {
			return r.ask("POST", "/upload/complete", fmt.Sprintf(`{"sessionId":%q,"attachmentId":%q}`, session, file))
		}
		want("not here", complete(id), 400)
		want("a message with it", send(id), 400)
		want("too short", r.ask("PUT", path, "abc"), 400)
		want("too long", r.ask("PUT", path, "abcde"), 413)
		want("still not here", send(id), 400)
		want("to be read", r.ask("GET", "/files/"+file+"/a.png", ""), 404)
		want("whole", r.ask("PUT", path, "abcd"), 200)
		want("again", r.ask("PUT", path, "efgh"), 409)
		want("another's", complete(stranger), 400)
		want("another's in a message", send(stranger), 400)
		if n := len(r.log(bridge.TypeVisitorMessage)); n != 0 {
			t.Errorf("%d messages are stored", n)
		}
		want("its own", complete(id), 200)
		want("its own in a message", send(id), 200)
		want("unknown", r.ask("PUT", "/upload/AAAAAAAAAAAAAAAAAAAAAAAAAA", "abcd"), 404)
		want("a path", r.ask("GET", "/files/..%2f..%2fetc%2fpasswd/x", ""), 404)

		_, late := r.placed(id, "b.png", "image/png", 4)
		time.Sleep(16 * time.Minute)
		want("too late", r.ask("PUT", late, "abcd"), 404)
	})
}

// Nothing that a visitor sends runs in a browser under the bridge's address.
func TestFilesAreHandedOutSafely(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		for name, c := range map[string]struct{ mimeType, is, disposition string }{
			"a.png":  {"image/png", "image/png", "inline"},
			"a.svg":  {"image/svg+xml", "application/octet-stream", "attachment"},
			"a.html": {"text/html", "application/octet-stream", "attachment"},
			"a.pdf":  {"application/pdf", "application/octet-stream", "attachment"},
			"a.mp4":  {"video/mp4", "video/mp4", "inline"},
			"a.bin":  {"nonsense", "application/octet-stream", "attachment"},
		} {
			id := r.connected("")
			file, path := r.placed(id, name, c.mimeType, 4)
			if got := r.ask("PUT", path, "abcd", "Content-Type", c.mimeType); got.Code != 200 {
				t.Fatalf("%s: %d %s", name, got.Code, got.Body)
			}
			got := r.ask("GET", "/files/"+file+"/"+name, "", "Origin", "")
			h := got.Header()
			if got.Code != 200 || h.Get("Content-Type") != c.is || !strings.HasPrefix(h.Get("Content-Disposition"), c.disposition) ||
				h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("%s: %d %v", name, got.Code, h)
			}
		}
	})
}

// Files that no message names go after an hour, those of a session with it, and an address may not bring more than its share.
func TestFilesGo(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		here := func() int {
			left, err := os.ReadDir(r.dir)
			if err != nil {
				t.Fatal(err)
			}
			return len(left)
		}
		bring := func(id string) string {
			file, path := r.placed(id, "a.png", "image/png", 4)
			if got := r.ask("PUT", path, "abcd"); got.Code != 200 {
				t.Fatalf("%d %s", got.Code, got.Body)
			}
			return file
		}
		id := r.connected("")
		sent := bring(id)
		r.asked("POST", "/message", fmt.Sprintf(`{"sessionId":%q,"content":"","attachmentIds":[%q]}`, id, sent))
		bring(id)
		if n := here(); n != 2 {
			t.Errorf("%d files", n)
		}
		time.Sleep(65 * time.Minute)
		settle()
		if n := here(); n != 1 {
			t.Errorf("an hour later %d files", n)
		}
		if err := r.store.ForgetSession(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got := r.ask("GET", "/files/"+sent+"/a.png", "", "Origin", ""); got.Code != 404 {
			t.Errorf("of a session that is forgotten: %d", got.Code)
		}
		time.Sleep(2 * time.Minute)
		settle()
		if n := here(); n != 0 {
			t.Errorf("of a session that is forgotten %d files", n)
		}

		other := r.connected("")
		for range 5 {
			r.placed(other, "a.png", "image/png", 4)
		}
		if got := r.ask("POST", "/upload", `{"sessionId":"`+other+`","filename":"a","mimeType":"image/png","size":4}`); got.Code != 429 {
			t.Errorf("a sixth that waits: %d", got.Code)
		}
		brought := 0
		for range 8 { // a MiB each, of four a day
			got := r.ask("POST", "/upload", `{"sessionId":"`+r.connected("")+`","filename":"a","mimeType":"image/png","size":1048576}`, "X-Forwarded-For", "192.0.2.7")
			if got.Code == 200 {
				brought++
			}
		}
		if brought != 4 {
			t.Errorf("%d files of a MiB in a day", brought)
		}
	})
}
