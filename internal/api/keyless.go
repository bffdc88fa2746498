package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// keyless is what a server that asks for no key holds its requests to, so that no page in a browser can use it: a browser on the
// same machine, or in the same network, reaches what its owner believes to be out of reach.
type keyless struct {
	public string // PUBLIC_URL's host, in lower case
	cors   origins
}

func newKeyless(publicURL string, cors origins) *keyless {
	k := &keyless{cors: cors}
	if u, err := url.Parse(publicURL); err == nil {
		k.public = strings.ToLower(u.Hostname())
	}
	return k
}

// check returns why a request is not served, or nil.
func (k *keyless) check(r *http.Request) *problem {
	if !k.ourHost(r.Host) {
		return &problem{status: http.StatusMisdirectedRequest, code: "misdirected",
			text: "without an API_KEY the bridge does not answer to this Host; set API_KEY, or use an address, localhost or PUBLIC_URL"}
	}
	if guarded(r.URL.Path) && k.foreign(r) {
		return &problem{status: http.StatusForbidden, code: "cross_site",
			text: "without an API_KEY pages of other origins may not ask; set API_KEY, or name the origin in CORS_ORIGINS"}
	}
	return nil
}

// ourHost says whether a Host can only mean this server. A page that has a name of its own lead here (DNS rebinding) comes by that
// name, which has a dot. A request without a Host is no browser's.
func (k *keyless) ourHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.Contains(host, ".") || host == k.public ||
		strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".internal")
}

// foreign says whether a browser sends the request for a page of another origin that nobody allowed. A program that is no browser
// sends neither header.
func (k *keyless) foreign(r *http.Request) bool {
	if k.cors.all {
		return false
	}
	if from := r.Header.Values("Origin"); len(from) > 0 {
		return len(from) != 1 || !k.cors.some[strings.ToLower(from[0])]
	}
	return slices.ContainsFunc(r.Header.Values("Sec-Fetch-Site"), func(site string) bool {
		return strings.EqualFold(strings.TrimSpace(site), "cross-site")
	})
}

// WithoutKey holds the requests of a handler that asks for no key to what New holds them to while there are no API keys.
// corsOrigins are Options.CORSOrigins.
func WithoutKey(next http.Handler, publicURL string, corsOrigins []string) http.Handler {
	k := newKeyless(publicURL, newOrigins(corsOrigins))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := k.check(r); p != nil {
			http.Error(w, p.text, p.status)
			return
		}
		next.ServeHTTP(w, r)
	})
}
