package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
)

func TestConfigNarrowKeys(t *testing.T) {
	const a, b, c, d, e = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "dddddddddddddddd", "eeeeeeeeeeeeee=="
	got, err := load(map[string]string{"API_KEY": "draft=" + a + ", " + e + ",Events=" + b + ",read=" + c + ",reply=" + d + "," + e}, nil)
	if err != nil {
		t.Fatal(err)
	}
	narrow := []api.NarrowKey{{Secret: a, Scope: api.ScopeDraft}, {Secret: b, Scope: api.ScopeEvents}, {Secret: c, Scope: api.ScopeRead}, {Secret: d, Scope: api.ScopeReply}}
	if diff := cmp.Diff([]any{[]bridge.Secret{e}, narrow, bridge.Secret(a)}, []any{got.APIKeys, got.NarrowKeys, got.FirstKey}); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got, err = load(map[string]string{"API_KEY": "read=" + c, "PUBLIC_URL": "https://bridge.example.com"}, nil); err != nil || got.Loopback || len(got.APIKeys) > 0 {
		t.Errorf("a narrow key alone: %+v, %v", got, err)
	}
	for text, says := range map[string]string{
		"draft=short": "shorter than 16", "draft=": "shorter than 16", "drafts=" + a: "no scope", "admin=" + a: "no scope", a + ",read=" + a: "more than once",
		"read=" + a + "," + a: "more than once", "read=" + a + ",draft=" + a: "more than once", "read=aaaaaaaaaaaaaaaa é": "character",
	} {
		_, err := load(map[string]string{"API_KEY": text}, nil)
		wantFaults(t, err, "API_KEY: ")
		if err != nil && (!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "aaaa") || strings.Contains(err.Error(), "admin")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What works, and lets others read more than one might think, is warned of.
func TestConfigWarnsOfWhatOthersRead(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string // a part of the warning; empty: none
	}{
		{map[string]string{"API_KEY": someKey, "BACKEND_WEBHOOK_URL": "http://app.example.com/hook"}, "BACKEND_WEBHOOK_URL is http://"},
		{map[string]string{"API_KEY": someKey, "BACKEND_WEBHOOK_URL": "https://app.example.com/hook"}, ""},
		{map[string]string{"API_KEY": someKey, "BACKEND_WEBHOOK_URL": "http://127.0.0.1:8080/hook"}, ""},
		{map[string]string{"BACKEND_WEBHOOK_URL": "http://app.example.com/hook"}, ""},
		{map[string]string{"METRICS_ADDR": ":9090"}, "METRICS_ADDR is every address"},
		{map[string]string{"METRICS_ADDR": "[::]:9090"}, "METRICS_ADDR is every address"},
		{map[string]string{"METRICS_ADDR": "127.0.0.1:9090"}, ""},
	} {
		got, err := load(c.env, nil)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(got.Warnings, "\n")
		if c.want != "" && !strings.Contains(text, c.want) || c.want == "" && (strings.Contains(text, "http://,") || strings.Contains(text, "METRICS_ADDR")) {
			t.Errorf("%v: %s", c.env, text)
		}
		if strings.Contains(text, "app.example.com") || strings.Contains(text, someKey) {
			t.Errorf("%v: a value is quoted: %s", c.env, text)
		}
	}
}
