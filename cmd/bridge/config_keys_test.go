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
