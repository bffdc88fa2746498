package discord

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// schema is a schema of the definition, as far as it is looked at.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Format     string            `json:"format"`
	OneOf      []schema          `json:"oneOf"`
	AnyOf      []schema          `json:"anyOf"`
	AllOf      []schema          `json:"allOf"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	Const      any               `json:"const"`
	MinLength  *json.Number      `json:"minLength"`
	MaxLength  *json.Number      `json:"maxLength"`
	MinItems   *json.Number      `json:"minItems"`
	MaxItems   *json.Number      `json:"maxItems"`
	Minimum    *json.Number      `json:"minimum"`
	Maximum    *json.Number      `json:"maximum"`
}

func (s schema) name() string { return strings.TrimPrefix(s.Ref, "#/components/schemas/") }

func (s schema) alternatives() []schema { return slices.Concat(s.OneOf, s.AnyOf) }

// kinds returns the types of a schema, null aside, and whether it can be null.
func (s schema) kinds() (kinds []string, null bool) {
	list, ok := s.Type.([]any)
	if !ok {
		list = []any{s.Type}
	}
	for _, one := range list {
		switch text := fmt.Sprint(one); {
		case text == "null":
			null = true
		case one != nil:
			kinds = append(kinds, text)
		}
	}
	return kinds, null
}

// word writes a type as the tables do.
func (s schema) word() string {
	if s.Ref != "" {
		if s.name() == "SnowflakeType" {
			return "snowflake"
		}
		return s.name()
	}
	if list := s.alternatives(); len(list) > 0 {
		var words []string
		for _, one := range list {
			words = append(words, one.word())
		}
		slices.SortStableFunc(words, func(a, b string) int { // null comes last
			switch {
			case a == "null" && b != "null":
				return 1
			case b == "null" && a != "null":
				return -1
			}
			return 0
		})
		return strings.Join(words, " | ")
	}
	bounds := func(low, high *json.Number) string {
		if low == nil && high == nil {
			return ""
		}
		text := func(n *json.Number) string {
			if n == nil {
				return ""
			}
			return n.String()
		}
		return "(" + text(low) + ".." + text(high) + ")"
	}
	kinds, null := s.kinds()
	word := "null"
	if len(kinds) > 0 {
		word = kinds[0]
		switch kinds[0] {
		case "array":
			word = "[" + s.Items.word() + "]" + bounds(s.MinItems, s.MaxItems)
		case "string":
			word += bounds(s.MinLength, s.MaxLength)
			if s.Format == "date-time" {
				word = s.Format
			}
		case "integer", "number":
			word += bounds(s.Minimum, s.Maximum)
		}
		if null {
			word += " | null"
		}
	}
	return word
}

type spec struct {
	Info struct {
		Version string `json:"version"`
	} `json:"info"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type parameter struct {
	In       string `json:"in"`
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Schema   schema `json:"schema"`
}

type content map[string]struct {
	Schema schema `json:"schema"`
}

type specOperation struct {
	OperationID string      `json:"operationId"`
	Parameters  []parameter `json:"parameters"`
	Body        *struct {
		Content content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content content `json:"content"`
	} `json:"responses"`
	Security []map[string]any `json:"security"`
}

// definitionAtHand reads the definition, where there is one.
func definitionAtHand(t *testing.T) (spec, bool) {
	t.Helper()
	dir := os.Getenv("PLATFORM_SPECS")
	if dir == "" {
		t.Log("PLATFORM_SPECS is not set: nothing is compared with Discord's definition")
		return spec{}, false
	}
	raw, err := os.ReadFile(filepath.Join(dir, "discord", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d spec
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d, true
}

func (d spec) operation(t *testing.T, o operation) (specOperation, []parameter) {
	t.Helper()
	var found specOperation
	var shared []parameter
	raw, ok := d.Paths[o.Path][strings.ToLower(o.Method)]
	if !ok {
		t.Fatalf("%s %s is not in the definition", o.Method, o.Path)
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		t.Fatal(err)
	}
	if raw := d.Paths[o.Path]["parameters"]; raw != nil {
		if err := json.Unmarshal(raw, &shared); err != nil {
			t.Fatal(err)
		}
	}
	return found, append(shared, found.Parameters...)
}

// TestTableAgreesWithTheDefinition holds the committed tables against Discord's definition, where it is at hand.
func TestTableAgreesWithTheDefinition(t *testing.T) {
	d, ok := definitionAtHand(t)
	if !ok {
		return
	}
	if d.Info.Version != specVersion {
		t.Errorf("the definition is of version %s, the tables are of %s", d.Info.Version, specVersion)
	}
	short := func(word string) string { // with the tables' own names for long lists
		for name, list := range unionTable() {
			word = strings.ReplaceAll(word, strings.Join(list, " | "), name)
		}
		return word
	}
	type row struct {
		Name, Type string
		Required   bool
	}
	inline := make(map[string]schema)
	for _, o := range operationTable() {
		e, params := d.operation(t, o)
		if e.OperationID != o.Name {
			t.Errorf("%s %s is %s in the definition, %s in the table", o.Method, o.Path, e.OperationID, o.Name)
		}
		var want, got []row
		for _, p := range params {
			if p.In == "query" {
				want = append(want, row{p.Name, p.Schema.word(), p.Required})
			}
		}
		for _, f := range o.Query {
			got = append(got, row{f.Name, f.Type, f.Need == required})
		}
		body, multipart := "", false
		if e.Body != nil {
			s := e.Body.Content["application/json"].Schema
			body = short(s.word())
			if s.Properties != nil { // an object without a name
				body = o.Body
				inline[o.Body] = s
			}
			_, multipart = e.Body.Content["multipart/form-data"]
		}
		var codes []int
		for code := range e.Responses {
			if n, err := strconv.Atoi(code); err == nil && n < 300 {
				codes = append(codes, n)
			}
		}
		slices.Sort(codes)
		if slices.Equal(codes, []int{200}) {
			codes = nil
		}
		public := slices.ContainsFunc(e.Security, func(one map[string]any) bool { return len(one) == 0 })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: query (-definition +table):\n%s", o.Name, diff)
		}
		if body != o.Body || multipart != o.Multipart || public != o.Public || !slices.Equal(codes, o.Codes) {
			t.Errorf("%s: the definition has body %q, files %v, public %v, codes %v", o.Name, body, multipart, public, codes)
		}
	}
	for _, o := range typeTable() {
		s, ok := d.Components.Schemas[o.Name]
		if !ok {
			if s, ok = inline[o.Name]; !ok {
				t.Errorf("%s is not in the definition", o.Name)
				continue
			}
		}
		want, got := make(map[string]row), make(map[string]row)
		for name, p := range s.Properties {
			want[name] = row{name, short(p.word()), slices.Contains(s.Required, name)}
		}
		for _, f := range o.Fields {
			got[f.Name] = row{f.Name, f.Type, f.Need == required}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-definition +table):\n%s", o.Name, diff)
		}
	}
	for name, values := range valueTable() {
		var want []string
		for _, one := range d.Components.Schemas[name].OneOf {
			want = append(want, fmt.Sprint(one.Const))
		}
		if diff := cmp.Diff(want, values); diff != "" {
			t.Errorf("%s (-definition +table):\n%s", name, diff)
		}
	}
}

// TestTableIsWhole wants a handler for each operation, and a meaning for each name in a type that is served.
func TestTableIsWhole(t *testing.T) {
	s := New(Options{})
	var names []string
	for _, o := range operationTable() {
		names = append(names, o.Name)
		if o.Method == http.MethodGet && o.Body != "" {
			t.Errorf("%s has a body", o.Name)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(s.handlers)), names); diff != "" {
		t.Errorf("(-handlers +table):\n%s", diff)
	}
	known := []string{"string", "integer", "number", "boolean", "object", "null", "snowflake", "date-time", "Int53Type"}
	var look func(at string, s shape)
	look = func(at string, sh shape) {
		for _, a := range sh {
			_, isType := s.checker.types[a.name]
			_, isValue := s.checker.values[a.name]
			_, isUnion := s.checker.unions[a.name]
			switch {
			case a.element != nil:
				look(at, a.element)
			case !isType && !isValue && !isUnion && !slices.Contains(known, a.name):
				t.Errorf("%s is of type %q, which says nothing", at, a.name)
			}
		}
	}
	for _, d := range typeTable() {
		for _, f := range d.Fields {
			if f.Need != unserved {
				look(d.Name+"."+f.Name, readShape(f.Type))
			}
		}
	}
}

// conforms holds a value against a schema: every field that is there is in the definition, every field that has to be there is
// there. It returns what is wrong first.
func (d spec) conforms(s schema, v any, at string) string {
	if s.Ref != "" {
		return d.conforms(d.Components.Schemas[s.name()], v, at+"/"+s.name())
	}
	if len(s.AllOf) > 0 && s.AllOf[0].Properties == nil && d.Components.Schemas[s.AllOf[0].name()].Properties == nil {
		return d.conforms(s.AllOf[0], v, at) // a list of values
	}
	if len(s.AllOf) > 0 {
		whole := schema{Type: "object", Properties: make(map[string]schema)}
		for _, part := range s.AllOf {
			if part.Ref != "" {
				part = d.Components.Schemas[part.name()]
			}
			maps.Copy(whole.Properties, part.Properties)
			whole.Required = append(whole.Required, part.Required...)
		}
		return d.conforms(whole, v, at)
	}
	if list := s.alternatives(); len(list) > 0 {
		best := ""
		for _, one := range list {
			wrong := d.conforms(one, v, at)
			if wrong == "" {
				return ""
			}
			if len(wrong) > len(best) {
				best = wrong // what was deepest
			}
		}
		return best
	}
	if s.Const != nil {
		if fmt.Sprint(s.Const) != fmt.Sprint(v) {
			return fmt.Sprintf("%s is %v", at, v)
		}
		return ""
	}
	kinds, null := s.kinds()
	if v == nil {
		if null || len(kinds) == 0 {
			return ""
		}
		return at + " is null"
	}
	fits := map[string]bool{}
	switch v := v.(type) {
	case string:
		fits["string"] = true
	case bool:
		fits["boolean"] = true
	case json.Number:
		fits["number"] = true
		fits["integer"] = !strings.ContainsAny(v.String(), ".eE")
	case []any:
		fits["array"] = true
	case map[string]any:
		fits["object"] = true
	}
	if len(kinds) > 0 && !slices.ContainsFunc(kinds, func(kind string) bool { return fits[kind] }) {
		return fmt.Sprintf("%s is a %T", at, v)
	}
	switch v := v.(type) {
	case []any:
		for i, one := range v {
			if s.Items == nil {
				break
			}
			if wrong := d.conforms(*s.Items, one, fmt.Sprintf("%s[%d]", at, i)); wrong != "" {
				return wrong
			}
		}
	case map[string]any:
		if s.Properties == nil {
			return ""
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			p, ok := s.Properties[name]
			if !ok {
				return fmt.Sprintf("%s has %q, which is not in the definition", at, name)
			}
			if wrong := d.conforms(p, v[name], at+"."+name); wrong != "" {
				return wrong
			}
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return fmt.Sprintf("%s lacks %q", at, name)
			}
		}
	}
	return ""
}

// TestAnswersConformToTheDefinition calls every operation and holds its answer against the definition, where it is at hand.
func TestAnswersConformToTheDefinition(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	o.AddRole("r", true)
	app, guild := "/applications/"+o.Application(), "/guilds/"+o.Guild()
	commands := []object{{"name": "close", "description": "x", "options": []object{{"type": 3, "name": "a", "description": "b"}}}}
	said := o.Upload(o.text, o.ana, "hi <@"+o.Bot().ID+">", File{Name: "a.txt", Content: []byte("x")})
	o.React(said, o.ana, "👀")
	in := "/channels/" + o.text
	d, atHand := definitionAtHand(t)
	answers := make(map[string]answer)
	call := func(name, method, path string, body any) answer {
		t.Helper()
		a := o.call(method, path, body)
		if a.status >= 300 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		answers[name] = a
		return a
	}
	call("get_gateway", "GET", "/gateway", nil)
	call("get_bot_gateway", "GET", "/gateway/bot", nil)
	call("get_my_user", "GET", "/users/@me", nil)
	call("get_my_application", "GET", "/applications/@me", nil)
	first := call("bulk_set_guild_application_commands", "PUT", app+guild+"/commands", commands)
	again := call("bulk_set_guild_application_commands", "PUT", app+guild+"/commands", commands)
	if first.str(0, "id") != again.str(0, "id") {
		t.Error("the command has another id")
	}
	call("list_guild_application_commands", "GET", app+guild+"/commands", nil)
	call("get_guild", "GET", guild+"?with_counts=true", nil)
	call("get_guild_member", "GET", guild+"/members/"+o.ana, nil)
	call("create_thread_from_message", "POST", in+"/messages/"+said.ID+"/threads", object{"name": "x"})
	thread := call("create_thread", "POST", in+"/threads", object{"name": "x", "type": 11}).str("id")
	call("get_active_guild_threads", "GET", guild+"/threads/active", nil)
	call("update_channel", "PATCH", "/channels/"+thread, object{"archived": true})
	call("list_public_archived_threads", "GET", in+"/threads/archived/public", nil)
	call("delete_channel", "DELETE", "/channels/"+thread, nil)
	call("update_channel", "PATCH", in, object{"name": "New name", "topic": "x"})
	call("get_channel", "GET", in, nil)
	sent := call("create_message", "POST", in+"/messages", object{
		"content": "x", "embeds": []object{{"title": "x", "fields": []object{{"name": "a", "value": "b"}}}}, "nonce": "n",
		"message_reference": object{"message_id": said.ID},
	}).str("id")
	call("update_message", "PATCH", in+"/messages/"+sent, object{"content": "y"})
	call("add_my_message_reaction", "PUT", in+"/messages/"+sent+"/reactions/%F0%9F%91%80/@me", nil)
	call("get_message", "GET", in+"/messages/"+sent, nil)
	call("list_messages", "GET", in+"/messages", nil)
	call("delete_my_message_reaction", "DELETE", in+"/messages/"+sent+"/reactions/%F0%9F%91%80/@me", nil)
	call("delete_message", "DELETE", in+"/messages/"+sent, nil)
	call("trigger_typing_indicator", "POST", in+"/typing", nil)
	hook := call("create_webhook", "POST", in+"/webhooks", object{"name": "x"})
	at := "/webhooks/" + hook.str("id") + "/" + hook.str("token")
	call("list_channel_webhooks", "GET", in+"/webhooks", nil)
	byHook := at + "/messages/" + call("execute_webhook", "POST", at+"?wait=true", object{"content": "x"}).str("id")
	call("update_webhook_message", "PATCH", byHook, object{"content": "y"})
	call("delete_webhook_message", "DELETE", byHook, nil)
	used := o.UseCommand(o.text, o.ana, "close", map[string]any{"a": "b"})
	call("create_interaction_response", "POST", "/interactions/"+used.ID+"/"+used.Token+"/callback?with_response=true",
		object{"type": 4, "data": object{"content": "x"}})
	original := "/webhooks/" + o.Application() + "/" + used.Token + "/messages/@original"
	call("update_original_webhook_message", "PATCH", original, object{"content": "y"})
	buttons := []object{{"type": 1, "components": []object{{"type": 2, "style": 2, "label": "A", "custom_id": "a"}}}}
	call("create_message", "POST", in+"/messages", object{"content": "x", "components": buttons})
	pressed := o.Press(o.Messages(o.text)[len(o.Messages(o.text))-1], o.ana, "a")
	call("create_interaction_response", "POST", "/interactions/"+pressed.ID+"/"+pressed.Token+"/callback?with_response=true",
		object{"type": 4, "data": object{"content": "y", "flags": 64, "components": buttons}})
	for _, op := range operationTable() {
		a, ok := answers[op.Name]
		if !ok {
			t.Errorf("%s was not called", op.Name)
			continue
		}
		if op.Codes == nil && a.status != 200 || op.Codes != nil && !slices.Contains(op.Codes, a.status) {
			t.Errorf("%s was answered with %d", op.Name, a.status)
		}
		if !atHand || a.status == 204 {
			continue
		}
		e, _ := d.operation(t, op)
		decoder := json.NewDecoder(strings.NewReader(a.body))
		decoder.UseNumber()
		var v any
		if err := decoder.Decode(&v); err != nil {
			t.Errorf("%s: %v", op.Name, err)
			continue
		}
		if wrong := d.conforms(e.Responses[strconv.Itoa(a.status)].Content["application/json"].Schema, v, op.Name); wrong != "" {
			t.Errorf("%s", wrong)
		}
	}
}
