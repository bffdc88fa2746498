package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The bodies of requests, in bytes. A message's text is never refused for its length alone.
const (
	maxBody        = 64 << 10
	maxMessageBody = 1 << 20
)

// protocol is the version of the wire contract that is served.
const protocol = 1

// problem is an answer that is not the one that was hoped for. The widget only knows that it failed.
type problem struct {
	status    int
	code      string
	text      string
	retry     time.Duration // when to come again, or 0
	supported []int
}

func (p *problem) Error() string { return p.text }

// ErrNoSession says that the door has made no such session.
var ErrNoSession = errors.New("there is no such session; connect again")

// Is implements errors.Is for ErrNoSession.
func (p *problem) Is(target error) bool { return target == ErrNoSession && p.code == codeNoSession }

const codeNoSession = "unknown_session"

func noSession() *problem {
	return &problem{status: http.StatusNotFound, code: codeNoSession, text: ErrNoSession.Error()}
}

func bad(field, text string) error { return &bridge.FieldError{Field: field, Problem: text} }

// problemOf is the one table of errors and their answers. What is not in it is our own fault.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if f, ok := errors.AsType[*bridge.FieldError](err); ok {
		return &problem{status: http.StatusBadRequest, code: "invalid_field", text: f.Error()}
	}
	if long, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{status: http.StatusRequestEntityTooLarge, code: "too_large", text: fmt.Sprintf("the body must be at most %d bytes", long.Limit)}
	}
	if errors.Is(err, bridge.ErrFiltered) {
		return &problem{status: http.StatusForbidden, code: "filtered", text: "this visitor is kept out"}
	}
	if errors.Is(err, bridge.ErrUnavailable) || errors.Is(err, bridge.ErrChanged) {
		return &problem{status: http.StatusServiceUnavailable, code: "unavailable", text: "this could not be stored now; please send it again", retry: 2 * time.Second}
	}
	return &problem{status: http.StatusInternalServerError, code: "internal", text: "something went wrong here"}
}

// route is one of the door's; its path is below Options.Path.
type route struct {
	method, path string
	answer       func(r *http.Request) (any, error) // as JSON
	serve        http.HandlerFunc                   // instead of answer
}

func (d *Door) mount() {
	d.routes = []route{
		{method: "POST", path: "/connect", answer: d.connect},
		{method: "POST", path: "/message", serve: d.message},
		{method: "PATCH", path: "/message/{id}", answer: d.edit},
		{method: "DELETE", path: "/message/{id}", answer: d.remove},
		{method: "GET", path: "/messages", answer: d.poll},
		{method: "POST", path: "/typing", answer: d.typing},
		{method: "POST", path: "/read", answer: d.read},
		{method: "GET", path: "/presence", answer: d.presence},
		{method: "POST", path: "/identify", answer: d.identify},
		{method: "POST", path: "/prechat", answer: d.preChat},
		{method: "POST", path: "/csat", answer: d.rate},
		{method: "POST", path: "/disconnect", answer: d.disconnect},
		{method: "POST", path: "/visibility", answer: d.visibility},
		{method: "GET", path: "/screenshot/requests", answer: noScreenshots},
		{method: "GET", path: "/stream", serve: d.stream},
		{method: "POST", path: "/upload", answer: d.upload},
		{method: "PUT", path: "/upload/{id}", serve: d.put},
		{method: "POST", path: "/upload/complete", answer: d.uploaded},
		{method: "GET", path: "/files/{id}/{name}", serve: d.file},
	}
	d.mux = http.NewServeMux()
	for _, route := range d.routes {
		serve := route.serve
		if serve == nil {
			serve = func(w http.ResponseWriter, r *http.Request) {
				v, err := route.answer(r)
				d.reply(w, r, v, err)
			}
		}
		d.mux.HandleFunc(route.method+" "+route.path, serve)
	}
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.reply(w, r, nil, &problem{status: http.StatusNotFound, code: "not_found", text: "there is no such path"})
	})
}

// Serves says whether a path is one of the door's. Doubled slashes and one at the end do not count.
func (d *Door) Serves(urlPath string) bool {
	rest, below := strings.CutPrefix(path.Clean("/"+urlPath), d.o.Path)
	if d.o.Path != "" {
		return below && (rest == "" || rest[0] == '/')
	}
	for _, route := range d.routes {
		base, _, prefix := strings.Cut(route.path, "{")
		if rest == route.path || prefix && strings.HasPrefix(rest, base) {
			return true
		}
	}
	return false
}

// ServeHTTP answers a page.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = strings.TrimPrefix(path.Clean("/"+r.URL.Path), d.o.Path), ""
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	allowed := d.cors(w, r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !allowed {
		d.reply(w, r, nil, &problem{status: http.StatusForbidden, code: "origin", text: "pages of this origin may not talk to this server"})
		return
	}
	if v := r.Header.Get("X-Pocketping-Protocol"); v != "" && v != strconv.Itoa(protocol) {
		d.reply(w, r, nil, &problem{
			status: http.StatusUpgradeRequired, code: "protocol", text: "this version of the protocol is not served", supported: []int{protocol},
		})
		return
	}
	if d.o.Screen != nil {
		if err := d.o.Screen(d.clientIP(r)); err != nil {
			d.reply(w, r, nil, err)
			return
		}
	}
	d.mux.ServeHTTP(w, r)
}

// versionHeaders are what the widget reads of an answer's headers.
const versionHeaders = "X-PocketPing-Version-Status, X-PocketPing-Min-Version, X-PocketPing-Latest-Version, X-PocketPing-Version-Message"

// cors sets the headers that a page of another origin needs, on errors too, and says whether the request may be answered. Two beacons
// of the widget are sent with credentials, so that credentials are allowed; what makes them harmless is that no cookie is set or read.
func (d *Door) cors(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return d.origins["none"] || r.Method == http.MethodGet && r.Header.Get("Upgrade") == "" || r.Method == http.MethodOptions ||
			r.Method == http.MethodHead
	}
	if len(origins) != 1 || !d.origins[strings.ToLower(origins[0])] || strings.EqualFold(origins[0], "none") {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origins[0])
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", versionHeaders)
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE, PUT")
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-PocketPing-Version")
		h.Set("Access-Control-Max-Age", "7200")
	}
	return true
}

// reply writes an answer. The widget takes a 2xx without JSON for a failure, so that every answer has a body.
func (d *Door) reply(w http.ResponseWriter, r *http.Request, v any, err error) {
	status := http.StatusOK
	if err != nil {
		p := problemOf(err)
		if p.status == http.StatusInternalServerError && r.Context().Err() == nil {
			d.log.Error("a page's request failed", "err", err, "route", r.Pattern)
		}
		if p.retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
		}
		status = p.status
		d.o.Meter.Refused(p.code)
		v = struct {
			Error     string `json:"error"`
			Code      string `json:"code"`
			Supported []int  `json:"supported,omitempty"`
		}{p.text, p.code, p.supported}
	}
	text, err := json.Marshal(v)
	if err != nil {
		d.log.Error("an answer to a page cannot be written", "err", err, "route", r.Pattern)
		status, text = http.StatusInternalServerError, []byte(`{"error":"something went wrong here","code":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // that it cannot be written is the page's matter
}

// body reads a request's JSON object of at most so many bytes into v, with card numbers masked where that is asked for.
func (d *Door) body(r *http.Request, most int64, v any) error {
	text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return err
		}
		return bad("", "the body could not be read to its end")
	}
	if d.o.MaskCards {
		text = bridge.MaskCardsJSON(text, v)
	}
	return bridge.DecodeObject(text, v)
}

// ok is the answer where the widget only wants one.
type ok struct {
	OK bool `json:"ok"`
}

// noScreenshots answers what the widget asks with every poll. It would photograph the page without asking the visitor.
func noScreenshots(*http.Request) (any, error) {
	return struct {
		Requests []struct{} `json:"requests"`
	}{[]struct{}{}}, nil
}
