package discord

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// parts makes a multipart body of a payload and files.
func parts(t *testing.T, payload string, files map[string]string) (string, *bytes.Buffer) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if payload != "" {
		if err := w.WriteField("payload_json", payload); err != nil {
			t.Fatal(err)
		}
	}
	for field, text := range files {
		part, err := w.CreateFormFile(field, field+".txt")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), &body
}

func (o *office) upload(method, path, payload string, files map[string]string) answer {
	o.t.Helper()
	kind, body := parts(o.t, payload, files)
	r := httptest.NewRequest(method, "http://sandbox.example/api/v10"+path, body).WithContext(o.t.Context())
	r.Header.Set("Content-Type", kind)
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Authorization", "Bot "+o.Token())
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestFiles(t *testing.T) {
	o := newOffice(t, Options{MaxUpload: 100}).listen()
	path := "/channels/" + o.text + "/messages"
	a := o.upload("POST", path, `{"attachments":[{"id":0,"filename":"my note.txt","description":"d"}]}`, map[string]string{
		"files[0]": "hello world", "files[1]": "second",
	})
	if o.want(a, 200, 0); a.str("content") != "" {
		t.Error(a.body)
	}
	m := o.Messages(o.text)[0]
	byName := make(map[string]File)
	for _, f := range m.Files {
		byName[f.Name] = f
	}
	note, second := byName["my_note.txt"], byName["files1.txt"]
	if len(m.Files) != 2 || string(note.Content) != "hello world" || note.Description != "d" || string(second.Content) != "second" ||
		!strings.HasPrefix(note.Type, "text/plain") {
		t.Errorf("%+v", m.Files)
	}
	load := func(url, spans string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if spans != "" {
			r.Header.Set("Range", spans)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	here := func(f File) string {
		for _, one := range o.Messages(o.text)[0].Files {
			if one.ID == f.ID {
				return strings.Replace(one.URL, "http://sandbox.example", o.base, 1)
			}
		}
		return ""
	}
	url := here(note)
	if !strings.Contains(url, "/attachments/"+o.text+"/"+note.ID+"/my_note.txt?ex=") || !strings.Contains(url, "&is=") ||
		!strings.Contains(url, "&hm=") {
		t.Errorf("%s", url)
	}
	for spans, want := range map[string]string{"": "200 hello world", "bytes=6-": "206 world", "bytes=0-4": "206 hello"} {
		if status, body := load(url, spans); want != strconv.Itoa(status)+" "+body {
			t.Errorf("%q: %d %s", spans, status, body)
		}
	}
	for name, wrong := range map[string]string{
		"no signature": strings.SplitN(url, "?", 2)[0], "another one": strings.Replace(url, "hm=", "hm=0", 1),
		"another file": strings.Replace(url, note.ID, second.ID, 1), "longer": strings.Replace(url, "ex=", "ex=1", 1),
	} {
		if status, body := load(wrong, ""); status != 404 || body != "This content is no longer available." {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	o.ExpireFiles()
	if status, _ := load(url, ""); status != 404 {
		t.Errorf("after a day: %d", status)
	}
	url = here(note)
	if status, body := load(url, ""); status != 200 || body != "hello world" {
		t.Errorf("a fresh address: %d %s", status, body)
	}
	o.Next("attachment", Page(503))
	if status, _ := load(url, ""); status != 503 || o.Count("attachment") < 8 {
		t.Errorf("%d, %d calls", status, o.Count("attachment"))
	}
	if len(o.Faults()) != 0 {
		t.Errorf("%q", o.Faults())
	}

	// An edit keeps the files that it names.
	o.want(o.upload("PATCH", path+"/"+m.ID, `{"attachments":[{"id":"`+note.ID+`"},{"id":"7"}]}`, map[string]string{"files[7]": "third"}), 200, 0)
	if files := o.Messages(o.text)[0].Files; len(files) != 2 || files[0].ID != note.ID || string(files[1].Content) != "third" {
		t.Errorf("%+v", files)
	}
	o.want(o.call("PATCH", path+"/"+m.ID, object{"attachments": []object{}}), 400, 50006)
	o.want(o.call("PATCH", path+"/"+m.ID, object{"content": "only text", "attachments": []object{}}), 200, 0)
	if status, _ := load(url, ""); status != 404 {
		t.Errorf("a file that is gone: %d", status)
	}
	big := strings.Repeat("x", 101)
	o.want(o.upload("POST", path, "{}", map[string]string{"files[0]": big}), 413, 40005)
	o.want(o.upload("POST", path, `{"attachments":[{"id":"3"}]}`, map[string]string{"files[0]": "x"}), 400, 50035)
	many := make(map[string]string)
	for i := range 11 {
		many["files["+strconv.Itoa(i)+"]"] = "x"
	}
	o.want(o.upload("POST", path, "{}", many), 400, 50035)
	o.Deny(o.text, AttachFiles)
	o.want(o.upload("POST", path, "{}", map[string]string{"files[0]": "x"}), 403, 50013)
	if len(o.Faults()) != 0 {
		t.Errorf("%q", o.Faults())
	}
	o.upload("POST", path, "", map[string]string{"photo": "x"})
	o.upload("POST", "/channels/"+o.text+"/webhooks", `{"name":"x"}`, nil)
	if len(o.Faults()) != 2 {
		t.Errorf("%q", o.Faults())
	}
}

// TestFileLife lets a day go by.
func TestFileLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		o.FailOnFaults(t)
		load := func(url string) int {
			w := httptest.NewRecorder()
			o.ServeHTTP(w, httptest.NewRequest("GET", url, http.NoBody).WithContext(t.Context()))
			return w.Code
		}
		m := o.Upload(o.text, o.ana, "", File{Name: "a.txt", Content: []byte("abc")})
		url := m.Files[0].URL
		time.Sleep(24*time.Hour - time.Second) // of the bubble's clock
		if code := load(url); code != 200 {
			t.Errorf("before a day is over: %d", code)
		}
		time.Sleep(time.Second) // of the bubble's clock
		if code := load(url); code != 404 {
			t.Errorf("after a day: %d", code)
		}
		if code := load(o.Messages(o.text)[0].Files[0].URL); code != 200 {
			t.Errorf("a fresh address: %d", code)
		}
	})
}
