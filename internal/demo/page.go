package demo

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// assets are the page: no build step, nothing from elsewhere.
//
//go:embed page
var assets embed.FS

// maxBody is the longest request, in bytes: a file in base64, and a text.
const maxBody = maxFile*4/3 + 64<<10

// refusal is what one reads who asks for what cannot be.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// handler serves the page, and POST /say for whoever answers from a terminal. Only a browser on this machine that shows this page
// can change anything: a name that leads here from elsewhere is refused, and so is what another site's page sends.
func (d *demo) handler() http.Handler {
	mux := http.NewServeMux()
	root, err := fs.Sub(assets, "page")
	if err != nil { // the name is valid
		panic(err)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { asset(w, r, root, "index.html") })
	mux.HandleFunc("GET /demo/{file}", func(w http.ResponseWriter, r *http.Request) { asset(w, r, root, r.PathValue("file")) })
	mux.HandleFunc("GET /demo/state", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.state(), nil) })
	mux.HandleFunc("GET /demo/stream", d.stream)
	mux.HandleFunc("GET /demo/uploads/{id}", d.serveUpload)
	mux.HandleFunc("GET /demo/received/{id}", d.serveReceived)
	mux.HandleFunc("GET /demo/apps/{app}/files/{id}", d.serveAppFile)
	d.visitorActions(mux)
	d.directActions(mux)
	d.operatorActions(mux)
	d.switchActions(mux)
	mux.HandleFunc("POST /say", d.sayFromTerminal)

	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, nil, refuse(http.StatusForbidden, "only this page itself may do that"))
	}))
	return local(d.guarded(origin.Handler(mux)))
}

// local refuses requests by another name than this machine's own, as a page elsewhere makes them that has its own name lead here.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && (err != nil || !address.IsLoopback()) {
			answer(w, nil, refuse(http.StatusMisdirectedRequest, "the demo answers as localhost only"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guarded sets what keeps the page to itself and the bridge.
func (d *demo) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "+d.bridge+"; "+
			"connect-src 'self' "+d.bridge+" ws"+strings.TrimPrefix(d.bridge, "http")+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// asset serves a part of the page.
func asset(w http.ResponseWriter, r *http.Request, root fs.FS, name string) {
	types := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml",
	}
	kind, known := types[path.Ext(name)]
	if !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, root, name) //nolint:gosec // the files are in the program; no name leads out of them
}

// serveFile serves a file that somebody sent: pictures to be shown, all else to be saved. Nothing in it can run.
func serveFile(w http.ResponseWriter, _ *http.Request, f file) {
	h := w.Header()
	kind := f.mediaType()
	if !picture(kind) {
		kind = "application/octet-stream"
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	}
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=3600")
	_, _ = w.Write(f.Data)
}

func (d *demo) serveAppFile(w http.ResponseWriter, r *http.Request) {
	a, err := d.appOf(r)
	if err != nil {
		answer(w, nil, err)
		return
	}
	f, ok := a.file(r.PathValue("id"))
	if !ok {
		answer(w, nil, refuse(http.StatusNotFound, "there is no such file"))
		return
	}
	serveFile(w, r, f)
}

// serveReceived serves an operator's file to the visitor. The app server gets it from the bridge by the link in the callback.
func (d *demo) serveReceived(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	a, ok := d.links[r.PathValue("id")]
	d.mu.Unlock()
	if !ok {
		answer(w, nil, refuse(http.StatusNotFound, "there is no such file"))
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.URL, nil)
	if err != nil {
		answer(w, nil, err)
		return
	}
	resp, err := d.client.Do(req)
	if err != nil {
		answer(w, nil, refuse(http.StatusBadGateway, "the bridge does not answer"))
		return
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxFile+1))
	if err != nil || resp.StatusCode != http.StatusOK || len(data) > maxFile {
		answer(w, nil, refuse(http.StatusBadGateway, "the bridge answers %d", resp.StatusCode))
		return
	}
	serveFile(w, r, file{Name: a.Filename, Type: a.MimeType, Data: data})
}

// answer writes a value or an error as JSON.
func answer(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusInternalServerError
		if r, ok := errors.AsType[*refusal](err); ok {
			status = r.status
		}
		value = map[string]string{"error": err.Error()}
	} else if value == nil {
		value = map[string]bool{"ok": true}
	}
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// read reads a request's body. What it does not know is an error, so that a slip is not taken for a wish.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "send application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return refuse(http.StatusRequestEntityTooLarge, "at most %d MiB", maxFile>>20)
		}
		return refuse(http.StatusBadRequest, "the body cannot be read")
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return refuse(http.StatusBadRequest, "%s: a JSON %s cannot stand here", wrong.Field, wrong.Value)
		}
		if text, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return refuse(http.StatusBadRequest, "there is no field %s", text)
		}
		return refuse(http.StatusBadRequest, "the body is not a JSON object")
	}
	if dec.More() || !utf8.Valid(body) {
		return refuse(http.StatusBadRequest, "the body is not one JSON object in UTF-8")
	}
	return nil
}

// act registers an action that reads a body of type T.
func act[T any](mux *http.ServeMux, pattern string, do func(r *http.Request, in T) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in T
		if err := read(w, r, &in); err != nil {
			answer(w, nil, err)
			return
		}
		out, err := do(r, in)
		answer(w, out, err)
	})
}

// message is what somebody writes.
type message struct {
	Thread  string `json:"thread"` // of operators
	Text    string `json:"text"`
	ReplyTo string `json:"replyTo"`
	File    *file  `json:"file"`
}

// check looks at the file, and gives it a name that every platform takes.
func (m *message) check() error {
	f := m.File
	if f == nil {
		return nil
	}
	f.Name = path.Base(strings.ReplaceAll(strings.TrimSpace(f.Name), `\`, "/"))
	switch {
	case f.Name == "." || f.Name == "/" || f.Name == "":
		return refuse(http.StatusBadRequest, "file.name: a file needs a name")
	case utf8.RuneCountInString(f.Name) > maxFileName || strings.ContainsFunc(f.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return refuse(http.StatusBadRequest, "file.name: at most %d characters, none of them control characters", maxFileName)
	case len(f.Data) == 0:
		return refuse(http.StatusBadRequest, "file.data: the file is empty")
	case len(f.Data) > maxFile:
		return refuse(http.StatusRequestEntityTooLarge, "file.data: at most %d MiB", maxFile>>20)
	}
	return nil
}

type made struct {
	ID string `json:"id"`
}

func (d *demo) visitorActions(mux *http.ServeMux) {
	act(mux, "POST /demo/visitors", func(_ *http.Request, in struct {
		Name   string `json:"name"`
		Direct bool   `json:"direct"` // to the bridge, else to the app server
	}) (any, error) {
		enter := d.enter
		if in.Direct {
			enter = d.enterDirectly
		}
		id, err := enter(in.Name)
		return made{id}, err
	})
	act(mux, "POST /demo/visitors/{id}/messages", func(r *http.Request, in message) (any, error) {
		if in.Thread != "" {
			return nil, refuse(http.StatusBadRequest, "thread: visitors have none")
		}
		if err := in.check(); err != nil {
			return nil, err
		}
		id, err := d.write(r.PathValue("id"), in.Text, in.ReplyTo, in.File)
		return made{id}, err
	})
	act(mux, "PUT /demo/visitors/{id}/messages/{message}", func(r *http.Request, in struct {
		Text string `json:"text"`
	}) (any, error) {
		return nil, d.rewrite(r.PathValue("id"), r.PathValue("message"), in.Text)
	})
	act(mux, "DELETE /demo/visitors/{id}/messages/{message}", func(r *http.Request, _ struct{}) (any, error) {
		return nil, d.retract(r.PathValue("id"), r.PathValue("message"))
	})
	act(mux, "POST /demo/visitors/{id}/typing", func(r *http.Request, in struct {
		Typing bool `json:"typing"`
	}) (any, error) {
		return nil, d.visitorTypes(r.Context(), r.PathValue("id"), in.Typing)
	})
	act(mux, "POST /demo/visitors/{id}/read", func(r *http.Request, _ struct{}) (any, error) {
		return nil, d.see(r.PathValue("id"))
	})
	act(mux, "POST /demo/visitors/{id}/rating", func(r *http.Request, in struct {
		Score   int    `json:"score"`
		Comment string `json:"comment"`
	}) (any, error) {
		return nil, d.rate(r.PathValue("id"), in.Score, in.Comment)
	})
	act(mux, "POST /demo/visitors/{id}/burst", func(r *http.Request, in struct {
		Count int `json:"count"`
	}) (any, error) {
		return nil, d.burst(r.PathValue("id"), in.Count)
	})
	act(mux, "POST /demo/rush", func(_ *http.Request, in struct {
		Visitors int `json:"visitors"`
		Each     int `json:"each"`
	}) (any, error) {
		return nil, d.rush(in.Visitors, in.Each)
	})
	act(mux, "DELETE /demo/visitors/{id}", func(r *http.Request, _ struct{}) (any, error) {
		return nil, d.leave(r.PathValue("id"))
	})
}

func (d *demo) appOf(r *http.Request) (app, error) {
	for _, a := range d.apps {
		if a.name() == r.PathValue("app") {
			return a, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "there is no app %q", r.PathValue("app"))
}

func (d *demo) operatorActions(mux *http.ServeMux) {
	act(mux, "POST /demo/apps/{app}/messages", func(r *http.Request, in message) (any, error) {
		a, err := d.appOf(r)
		if err == nil {
			err = in.check()
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(in.Text) == "" && in.File == nil {
			return nil, refuse(http.StatusBadRequest, "text: write something, or attach a file")
		}
		if err := a.say(in.Thread, in.Text, in.ReplyTo, in.File); err != nil {
			return nil, err
		}
		d.out.say(a.look().Operator+", in "+a.look().Label, "%s", in.Text)
		return nil, nil
	})
	act(mux, "PUT /demo/apps/{app}/messages/{id}", func(r *http.Request, in struct {
		Text string `json:"text"`
	}) (any, error) {
		a, err := d.appOf(r)
		if err == nil && strings.TrimSpace(in.Text) == "" {
			err = refuse(http.StatusBadRequest, "text: write something")
		}
		if err != nil {
			return nil, err
		}
		return nil, a.edit(r.PathValue("id"), in.Text)
	})
	act(mux, "DELETE /demo/apps/{app}/messages/{id}", func(r *http.Request, _ struct{}) (any, error) {
		a, err := d.appOf(r)
		if err != nil {
			return nil, err
		}
		return nil, a.remove(r.PathValue("id"))
	})
	act(mux, "POST /demo/apps/{app}/messages/{id}/reactions", func(r *http.Request, in struct {
		Emoji string `json:"emoji"`
	}) (any, error) {
		a, err := d.appOf(r)
		if err == nil && (in.Emoji == "" || len(in.Emoji) > 32) {
			err = refuse(http.StatusBadRequest, "emoji: one emoji")
		}
		if err != nil {
			return nil, err
		}
		return nil, a.react(r.PathValue("id"), in.Emoji)
	})
	act(mux, "POST /demo/apps/{app}/messages/{id}/press", func(r *http.Request, in struct {
		Key string `json:"key"`
	}) (any, error) {
		a, err := d.appOf(r)
		if err != nil {
			return nil, err
		}
		told, err := a.press(r.PathValue("id"), in.Key)
		return map[string]string{"told": told}, err
	})
	act(mux, "POST /demo/apps/{app}/typing", func(r *http.Request, in struct {
		Thread string `json:"thread"`
	}) (any, error) {
		a, err := d.appOf(r)
		if err != nil {
			return nil, err
		}
		return nil, a.typing(in.Thread)
	})
}

func (d *demo) switchActions(mux *http.ServeMux) {
	type position struct {
		On bool `json:"on"`
	}
	act(mux, "PUT /demo/apps/{app}/down", func(r *http.Request, in position) (any, error) {
		a, err := d.appOf(r)
		if err != nil {
			return nil, err
		}
		d.gates[a.name()].set(in.On)
		d.out.say("the bridge", map[bool]string{true: "cannot reach %s any more", false: "can reach %s again"}[in.On], a.look().Label)
		d.update(func() {})
		return nil, nil
	})
	act(mux, "PUT /demo/switches/{name}", func(r *http.Request, in position) (any, error) {
		switch r.PathValue("name") {
		case "limits":
			return nil, d.setLimits(d.life, in.On)
		case "callback-down":
			d.update(func() { d.switches.CallbackDown = in.On })
		default:
			return nil, refuse(http.StatusNotFound, "there is no switch %q", r.PathValue("name"))
		}
		return nil, nil
	})
	act(mux, "PUT /demo/language", func(_ *http.Request, in struct {
		Language string `json:"language"`
	}) (any, error) {
		return nil, d.setLanguage(d.life, in.Language)
	})
	act(mux, "POST /demo/bridge", func(_ *http.Request, in struct {
		Do string `json:"do"`
	}) (any, error) {
		switch in.Do {
		case "kill":
			return nil, d.killBridge()
		case "start":
			return nil, d.reviveBridge(d.life)
		}
		return nil, refuse(http.StatusBadRequest, `do: "kill" or "start"`)
	})
}

// sayFromTerminal answers as Ana in Telegram, for whoever plays along with curl.
func (d *demo) sayFromTerminal(w http.ResponseWriter, r *http.Request) {
	var in struct{ Topic, Text string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil || in.Text == "" {
		http.Error(w, `send {"topic":"the topic's name, or nothing for the general one","text":"what Ana says"}`, http.StatusBadRequest)
		return
	}
	topic, names := "", []string{}
	for _, t := range d.telegram.look().Threads {
		names = append(names, t.Name)
		if t.Name == in.Topic {
			topic = t.ID
		}
	}
	if in.Topic != "" && topic == "" {
		http.Error(w, fmt.Sprintf("there is no topic %q; there are %q", in.Topic, names), http.StatusNotFound)
		return
	}
	if err := d.telegram.say(topic, in.Text, "", nil); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.out.say("Ana, in the topic", "%s", in.Text)
	w.WriteHeader(http.StatusNoContent)
}

// settled is how long changes are gathered before they are sent: a burst is one picture and not a hundred.
const settled = 40 * time.Millisecond

// stream sends the whole state, and from then on the parts of it that change, as server-sent events.
func (d *demo) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	last := map[string]string{}
	beat := time.NewTicker(time.Second) // what changes with time alone, such as somebody typing
	defer beat.Stop()
	quiet := 0
	for {
		changed := d.changes()
		patch := map[string]json.RawMessage{}
		for name, part := range d.state() {
			raw, err := json.Marshal(part)
			if err != nil {
				continue
			}
			if last[name] != string(raw) {
				last[name], patch[name] = string(raw), raw
			}
		}
		text := ": still here\n\n"
		if len(patch) > 0 {
			body, err := json.Marshal(patch)
			if err != nil {
				return
			}
			text = "data: " + string(body) + "\n\n"
		}
		if quiet++; len(patch) > 0 || quiet >= 15 {
			quiet = 0
			if _, err := io.WriteString(w, text); err != nil || control.Flush() != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-r.Context().Done():
			return
		case <-d.life.Done():
			return
		}
		pause := time.NewTimer(settled)
		select {
		case <-pause.C:
		case <-r.Context().Done():
		}
		pause.Stop()
	}
}

// address returns a base URL as people type it.
func address(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return "http://localhost:" + u.Port()
}
