package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// keys are the API keys: those that may do everything, then the narrow ones.
type keys []key

// key is an API key's hash and its scope. Hashes have one length, so that a comparison tells nothing.
type key struct {
	sum   [sha256.Size]byte
	scope Scope // empty: everything
}

func newKeys(secrets []bridge.Secret, narrow []NarrowKey) keys {
	k := make(keys, 0, len(secrets)+len(narrow))
	for _, s := range secrets {
		k = append(k, key{sum: sha256.Sum256([]byte(s.Reveal()))})
	}
	for _, n := range narrow {
		k = append(k, key{sum: sha256.Sum256([]byte(n.Secret.Reveal())), scope: n.Scope})
	}
	return k
}

// find returns which key the request carries. It looks at all of them, whichever is right.
func (k keys) find(r *http.Request) (index int, ok bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return 0, false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return 0, false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	for i := range k {
		if subtle.ConstantTimeCompare(sum[:], k[i].sum[:]) == 1 {
			index, ok = i, true
		}
	}
	return index, ok
}

// guarded says whether a path needs an API key, whether or not there is anything at it.
func guarded(path string) bool {
	return under(path, "/api") || under(path, "/stats") || path == pathMetrics
}

func under(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/')
}

// origins are the places whose pages may call us from a browser.
type origins struct {
	all  bool
	some map[string]bool
}

func newOrigins(list []string) origins {
	o := origins{some: make(map[string]bool, len(list))}
	for _, origin := range list {
		if origin == "*" {
			o.all = true
		}
		o.some[strings.ToLower(strings.TrimSuffix(origin, "/"))] = true
	}
	return o
}

// answer writes what the browser asks for, and says whether the request was only the browser's question. That one carries no
// API key and needs none.
func (o origins) answer(h http.Header, r *http.Request) (preflight bool) {
	if len(o.some) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if o.all {
		if origin == "" {
			return false
		}
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Add("Vary", "Origin")
		if origin == "" || !o.some[strings.ToLower(origin)] {
			return false
		}
		h.Set("Access-Control-Allow-Origin", origin)
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", "X-Request-ID, Retry-After")
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE")
	h.Set("Access-Control-Allow-Headers",
		"Authorization, Content-Type, Idempotency-Key, X-PocketPing-Callback, X-PocketPing-Protocol, X-Request-ID, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	return true
}
