package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// contract is the description that is served, read and checked, its examples too.
func contract(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// readContract reads the description once: hundreds of answers are held to it.
var readContract = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(description)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(loader.Context)
})

// operation finds what the contract says of a path as it was asked for; nil when it says nothing.
func operation(doc *openapi3.T, method, escaped string) *routers.Route {
	parts := strings.Split(escaped, "/")
	var found *routers.Route
	for path, item := range doc.Paths.Map() {
		wanted := strings.Split(path, "/")
		same := len(wanted) == len(parts)
		for i := range wanted {
			same = same && (wanted[i] == parts[i] || strings.HasPrefix(wanted[i], "{") && parts[i] != "")
		}
		op := item.GetOperation(method)
		if same && op != nil && (found == nil || !strings.Contains(path, "{")) {
			found = &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}
		}
	}
	return found
}

// hold holds an answer to the contract.
func hold(t testing.TB, r *http.Request, got answered) {
	t.Helper()
	doc := contract(t)
	if r.Method == http.MethodOptions || r.Method == http.MethodHead {
		return
	}
	route := operation(doc, r.Method, r.URL.EscapedPath())
	if route == nil || onAnyPath(got.status) && route.Operation.Responses.Status(got.status) == nil {
		var body any
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Errorf("%s %s: %q is not JSON", r.Method, r.URL.Path, got.body)
			return
		}
		if err := doc.Components.Schemas["Error"].Value.VisitJSON(body, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s %s is not described, and its answer is no error's: %v", r.Method, r.URL.Path, err)
		}
		return
	}
	err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route},
		Status:                 got.status,
		Header:                 got.header,
		Body:                   io.NopCloser(strings.NewReader(got.body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		t.Errorf("%s %s, %d: not as described: %v", r.Method, r.URL.Path, got.status, err)
	}
}

// onAnyPath says whether the contract describes a status once, for all paths.
func onAnyPath(status int) bool {
	return slices.Contains([]int{
		http.StatusNotFound, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusTooManyRequests,
	}, status)
}

// The contract has every route that is served, and no other.
func TestContractHasTheRoutes(t *testing.T) {
	o := newDesk().options(t)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	o.Metrics, o.Webhooks = nothing, map[string]http.Handler{"telegram": nothing, "slack": nothing}
	o.Files = nothing
	var served []string
	for _, r := range New(o).(*echo.Echo).Routes() {
		path := r.Path
		if strings.HasPrefix(path, "/webhooks/") {
			path = "/webhooks/{platform}"
		}
		parts := strings.Split(path, "/")
		for i, part := range parts {
			if name, ok := strings.CutPrefix(part, ":"); ok {
				parts[i] = "{" + name + "}"
			}
		}
		served = append(served, r.Method+" "+strings.Join(parts, "/"))
	}
	var described []string
	for path, item := range contract(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(slices.Compact(served), described); diff != "" {
		t.Errorf("-served +described\n%s", diff)
	}
}

// Every request's body and every answer has an example, and the requests' examples are taken.
func TestContractExamples(t *testing.T) {
	d := newDesk()
	base := serve(t, d.options(t))
	for path, item := range contract(t).Paths.Map() {
		for method, op := range item.Operations() {
			where := method + " " + path
			for status, response := range op.Responses.Map() {
				for kind, media := range response.Value.Content {
					if media.Schema != nil && media.Example == nil && len(media.Examples) == 0 && path != "/openapi.yaml" {
						t.Errorf("%s: %s %s has no example", where, status, kind)
					}
				}
			}
			if op.RequestBody == nil || strings.HasPrefix(path, "/webhooks/") {
				continue
			}
			media := op.RequestBody.Value.Content["application/json"]
			examples := []any{media.Example}
			for _, one := range media.Examples {
				examples = append(examples, one.Value.Value)
			}
			taken := 0
			for _, example := range examples {
				if example == nil {
					continue
				}
				body, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				to := strings.ReplaceAll(path, "{id}", "web-1")
				if got := ask(t, method, base+to, string(body)); got.status/100 != 2 {
					t.Errorf("%s: the example %s is answered with %d %s", where, body, got.status, got.body)
				}
				taken++
			}
			if taken == 0 {
				t.Errorf("%s: its body has no example", where)
			}
		}
	}
}

// The description is served as it is, without a key.
func TestContractIsServed(t *testing.T) {
	o := newDesk().options(t)
	o.APIKeys = []bridge.Secret{"key"}
	got := ask(t, http.MethodGet, serve(t, o)+"/openapi.yaml", "")
	if got.status != http.StatusOK || got.body != string(description) || !strings.HasPrefix(got.header.Get("Content-Type"), "text/yaml") {
		t.Errorf("%d %s, %d bytes", got.status, got.header.Get("Content-Type"), len(got.body))
	}
}

// An answer that is not as described is found.
func TestContractHolds(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		got                answered
	}{
		{"another status", "GET", "/api/presence", answered{http.StatusTeapot, http.Header{"Content-Type": {"application/json"}}, `{}`}},
		{"a field is missing", "GET", "/api/presence", answered{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, `{"online":true}`}},
		{"another type", "POST", "/api/events", answered{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, `{"ok":true,"operatorOnline":"no"}`}},
		{"no error", "GET", "/nowhere", answered{http.StatusNotFound, http.Header{"Content-Type": {"application/json"}}, `{"sorry":1}`}},
	} {
		u, err := url.Parse("http://bridge" + c.path)
		if err != nil {
			t.Fatal(err)
		}
		seen := &recorder{TB: t}
		hold(seen, &http.Request{Method: c.method, URL: u}, c.got)
		if seen.faults == 0 {
			t.Errorf("%s: nothing was found", c.name)
		}
	}
}

// recorder counts faults instead of failing.
type recorder struct {
	testing.TB
	faults int
}

func (r *recorder) Errorf(string, ...any) { r.faults++ }
