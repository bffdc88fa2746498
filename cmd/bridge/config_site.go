package main

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
)

// siteConfig is how pages are served directly.
type siteConfig struct {
	Origins    []string // none: pages are not served
	Path       string   // without a slash at its end; empty: the root
	Look       site.Look
	PreChat    site.PreChat
	Identity   site.IdentityMode
	Secret     bridge.Secret // of the identities' proofs
	SocketsMax int

	Uploads       string // folder of visitors' files
	MaxUpload     int64  // bytes of one
	UploadsPerDay int64  // bytes of an address
}

// site reads how pages are served. The server's and the store's settings have been read before.
func (e *environment) site(c *Config) {
	s := &c.Site
	s.Origins = e.pageOrigins()
	s.Path = e.widgetPath()
	s.Look = site.Look{
		Welcome: e.shownText("WIDGET_WELCOME", 500), Name: e.shownText("WIDGET_OPERATOR_NAME", 60), Color: e.shownText("WIDGET_OPERATOR_COLOR", 60),
		Avatar: e.url("WIDGET_OPERATOR_AVATAR", "", "https://example.com/support.png"),
	}
	s.PreChat = e.preChat()
	s.Identity = site.IdentityMode(e.choice("WIDGET_IDENTITY", "off", "mark", "require"))
	s.Secret = e.secret("WIDGET_IDENTITY_SECRET")
	switch {
	case s.Secret != "" && len(s.Secret.Reveal()) < minKey:
		e.fault("WIDGET_IDENTITY_SECRET", "is shorter than %d characters and can be guessed; make one with: openssl rand -hex 32", minKey)
	case s.Secret == "" && s.Identity != site.IdentityOff && !e.failed("WIDGET_IDENTITY_SECRET"):
		e.fault("WIDGET_IDENTITY_SECRET", "is not set, but WIDGET_IDENTITY asks for proofs made with it; make one with: openssl rand -hex 32")
	}
	s.SocketsMax = e.integer("WIDGET_SOCKETS_MAX", site.DefaultSocketsMax, 1, 1_000_000, "a number of open pages")
	s.Uploads = cmp.Or(e.text("UPLOADS_DIR"), filepath.Join(c.DataDir, "uploads"))
	s.MaxUpload = e.size("MAX_UPLOAD", 10<<20)
	s.UploadsPerDay = e.sizeUpTo("UPLOADS_PER_DAY", 100<<20, 1<<40)

	switch kept := e.choice("TRANSCRIPTS", "auto", "on", "off"); {
	case kept == "off" && len(s.Origins) > 0:
		e.fault("TRANSCRIPTS", "is off, but pages are served (WIDGET_ORIGINS), which are shown what was said; leave it out")
	default:
		c.Transcripts = kept == "on" || len(s.Origins) > 0
	}
	if len(s.Origins) > 0 && len(c.TrustedProxies) == 0 && c.PublicURL != "" && !loopbackURL(c.PublicURL) {
		c.Warnings = append(c.Warnings, "TRUSTED_PROXIES is not set: if a reverse proxy stands before the bridge, visitors' addresses are not "+
			"known and have no limits; name the proxy's address")
	}
}

// pageOrigins returns the exact origins of the pages that are served.
func (e *environment) pageOrigins() []string {
	const name = "WIDGET_ORIGINS"
	const how = "write the origins of your pages, such as https://example.com,https://www.example.com"
	text := e.list(name)
	none := slices.Contains(text, "none") // requests without one
	origins := e.originsOf(name, slices.DeleteFunc(text, func(item string) bool { return item == "none" }))
	if slices.Contains(origins, "*") {
		e.fault(name, "is *, which would let every page of the world speak for your visitors; %s", how)
		return nil
	}
	if none {
		origins = append(origins, "none")
	}
	return origins
}

// widgetPath returns where the door is.
func (e *environment) widgetPath() string {
	const name, how = "WIDGET_PATH", "write a path such as /pocketping, or / for the root"
	text := e.text(name)
	if text == "" {
		return "/pocketping"
	}
	if !regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`).MatchString(text) || strings.Contains(text, "//") || strings.Contains(text, "/.") {
		e.fault(name, "%s is no path; %s", quote(text), how)
		return ""
	}
	text = strings.TrimRight(text, "/")
	for _, taken := range []string{"/api", "/files", "/webhooks", "/stats", "/health", "/livez", "/readyz", "/metrics", "/openapi.yaml"} {
		if text == taken || strings.HasPrefix(text, taken+"/") {
			e.fault(name, "%s is a path of the bridge's own; %s", quote(text), how)
		}
	}
	return text
}

// shownText returns a text that visitors are shown.
func (e *environment) shownText(name string, most int) string {
	text := strings.TrimSpace(e.text(name))
	if len([]rune(text)) > most || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
		e.fault(name, "%s is no text that visitors can be shown; write up to %d characters", quote(text), most)
	}
	return text
}

// preChat reads what visitors are asked for, in words: what, whether it has to be given, and when it is asked for.
func (e *environment) preChat() site.PreChat {
	const name = "WIDGET_PRECHAT"
	words := e.list(name)
	if len(words) == 0 {
		words = []string{"email"}
	}
	var p site.PreChat
	for _, word := range words {
		switch word {
		case "off":
			if len(words) > 1 {
				e.fault(name, "is off and says more; write off alone")
			}
		case "email", "phone", "email-or-phone":
			p.Fields = word
		case "optional", "away":
		case "required":
			p.Required = true
		case "always":
			p.Always = true
		default:
			e.fault(name, "%s is none of its words; write off, or email, phone or email-or-phone, then optional or required, and away or always, "+
				"such as email,required,always", quote(word))
		}
	}
	if p.Fields == "" && !slices.Contains(words, "off") && !e.failed(name) {
		e.fault(name, "does not say what to ask for; write email, phone or email-or-phone")
	}
	return p
}
