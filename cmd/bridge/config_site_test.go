package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/site"
)

// noSite is how pages are served where nothing is said of them: they are not.
func noSite(dir string) siteConfig {
	return siteConfig{
		Path: "/pocketping", PreChat: site.PreChat{Fields: "email"}, Identity: site.IdentityOff, SocketsMax: 10_000, Uploads: dir + "/uploads",
		MaxUpload: 10 << 20, UploadsPerDay: 100 << 20,
	}
}

func TestConfigSite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		env   map[string]string
		fault string // a part of it; empty: there is none
		want  func(*siteConfig)
		keeps bool // transcripts
	}{
		{"off", nil, "", func(*siteConfig) {}, false},
		{"transcripts alone", map[string]string{"TRANSCRIPTS": "on"}, "", func(*siteConfig) {}, true},
		{"two pages", map[string]string{"WIDGET_ORIGINS": "https://A.example.com:443,http://localhost:8000,none", "WIDGET_PATH": "/w/"}, "",
			func(s *siteConfig) {
				s.Origins, s.Path = []string{"https://a.example.com", "http://localhost:8000", "none"}, "/w"
			}, true},
		{"the root", map[string]string{"WIDGET_ORIGINS": "https://a.example.com", "WIDGET_PATH": "/"}, "",
			func(s *siteConfig) { s.Origins, s.Path = []string{"https://a.example.com"}, "" }, true},
		{"every page", map[string]string{"WIDGET_ORIGINS": "*"}, "WIDGET_ORIGINS: is *", nil, false},
		{"no origin", map[string]string{"WIDGET_ORIGINS": "example.com"}, "WIDGET_ORIGINS: ", nil, false},
		{"a path of ours", map[string]string{"WIDGET_PATH": "/api/widget"}, "WIDGET_PATH: ", nil, false},
		{"files", map[string]string{"WIDGET_PATH": "/files"}, "WIDGET_PATH: ", nil, false},
		{"no path", map[string]string{"WIDGET_PATH": "w"}, "WIDGET_PATH: ", nil, false},
		{"no transcripts", map[string]string{"WIDGET_ORIGINS": "https://a.example.com", "TRANSCRIPTS": "off"}, "TRANSCRIPTS: ", nil, false},
		{"proofs without a secret", map[string]string{"WIDGET_IDENTITY": "mark"}, "WIDGET_IDENTITY_SECRET: is not set", nil, false},
		{"a short secret", map[string]string{"WIDGET_IDENTITY": "mark", "WIDGET_IDENTITY_SECRET": "short"}, "WIDGET_IDENTITY_SECRET: ", nil, false},
		{"a form", map[string]string{"WIDGET_PRECHAT": "email-or-phone,required,always"}, "",
			func(s *siteConfig) {
				s.PreChat = site.PreChat{Fields: "email-or-phone", Required: true, Always: true}
			}, false},
		{"no form", map[string]string{"WIDGET_PRECHAT": "off"}, "", func(s *siteConfig) { s.PreChat = site.PreChat{} }, false},
		{"an unknown form", map[string]string{"WIDGET_PRECHAT": "fax"}, "WIDGET_PRECHAT: ", nil, false},
		{"a form that asks nothing", map[string]string{"WIDGET_PRECHAT": "required"}, "WIDGET_PRECHAT: ", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := loadConfig(func(name string) string { return c.env[name] }, func(string) ([]byte, error) { return nil, os.ErrNotExist })
			switch {
			case c.fault != "":
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("the fault is %v", err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			want := noSite("data")
			c.want(&want)
			if diff := cmp.Diff(want, got.Site); diff != "" || got.Transcripts != c.keeps {
				t.Errorf("-want +got\n%s transcripts %t", diff, got.Transcripts)
			}
		})
	}
}
