package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// exports does what a test says.
type exports func(w io.Writer, final bool) error

func (e exports) Export(_ context.Context, w io.Writer, final bool) error { return e(w, final) }

func TestExport(t *testing.T) {
	o := newDesk().options(t)
	o.APIKeys = []bridge.Secret{"a key that may do everything"}
	o.NarrowKeys = []NarrowKey{{Secret: "a key that may read only", Scope: ScopeRead}}
	var do exports
	o.Exporter = exports(func(w io.Writer, final bool) error { return do(w, final) })
	server := httptest.NewServer(New(o))
	defer server.Close()
	post := func(query, key string) (int, string, error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/export"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Content-Type") + " " + string(body), err
	}
	whole := func(w io.Writer, final bool) error {
		_, err := fmt.Fprint(w, "final: ", final)
		return err
	}
	for _, test := range []struct {
		name, query, key string
		do               exports
		status           int
		says             string
	}{
		{"a copy", "", "a key that may do everything", whole, 200, "application/x-ndjson final: false"},
		{"for good", "?final=true", "a key that may do everything", whole, 200, "application/x-ndjson final: true"},
		{"nonsense", "?final=perhaps", "a key that may do everything", whole, 400, `"field":"final"`},
		{"a narrow key", "", "a key that may read only", whole, 403, "key_too_narrow"},
		{"no key", "", "", whole, 401, "unauthorized"},
		{"another one", "", "a key that may do everything", func(io.Writer, bool) error { return ErrExporting }, 409, "exporting"},
		{"the store is away", "", "a key that may do everything", func(io.Writer, bool) error { return bridge.ErrUnavailable }, 503, "application/json "},
	} {
		do = test.do
		if status, said, err := post(test.query, test.key); status != test.status || !strings.Contains(said, test.says) || err != nil {
			t.Errorf("%s: %d %s %v", test.name, status, said, err)
		}
	}
	do = func(w io.Writer, _ bool) error {
		_, err := io.WriteString(w, strings.Repeat("x", 1<<20))
		return errors.Join(err, errors.New("the disk is gone"))
	}
	if _, _, err := post("", "a key that may do everything"); err == nil {
		t.Error("what fails in the middle looks whole")
	}
}
