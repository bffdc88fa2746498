package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/bits"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/bwmarrin/discordgo"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/discord"
)

// sources reads the product's Go files of a folder, and of those below it: name in the repository → file.
func sources(t *testing.T, folder string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(inside)], err = parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", folder, len(files), err)
	}
	return files
}

// parse is sources without the names.
func parse(t *testing.T, folder string) []*ast.File {
	t.Helper()
	return slices.Collect(maps.Values(sources(t, folder)))
}

// stringsIn returns the texts that stand in a piece of a program, without the paths of imports.
func stringsIn(n ast.Node) []string {
	var out []string
	ast.Inspect(n, func(n ast.Node) bool {
		if _, imports := n.(*ast.ImportSpec); imports {
			return false
		}
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, text)
			}
		}
		return true
	})
	return out
}

// function returns a function's texts.
func function(t *testing.T, folder, name string) []string {
	t.Helper()
	for _, file := range parse(t, folder) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
				return stringsIn(f)
			}
		}
	}
	t.Fatalf("%s has no function %s", folder, name)
	return nil
}

// constants returns the constants of a folder whose names have a prefix: name → text.
func constants(t *testing.T, folder, prefix string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, file := range parse(t, folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 && strings.HasPrefix(spec.Names[0].Name, prefix) {
				if texts := stringsIn(spec.Values[0]); len(texts) == 1 {
					out[spec.Names[0].Name] = texts[0]
				}
			}
			return true
		})
	}
	if len(out) == 0 {
		t.Fatalf("%s has no constants %s…", folder, prefix)
	}
	return out
}

// same compares two lists, in whatever order.
func same(t *testing.T, what string, program, page []string) {
	t.Helper()
	program, page = slices.Sorted(slices.Values(program)), slices.Sorted(slices.Values(page))
	if diff := cmp.Diff(program, page); diff != "" {
		t.Errorf("%s: -program +page\n%s", what, diff)
	}
}

// flat puts the rows of a table's first column together.
func flat(rows [][]string) []string { return slices.Concat(rows...) }

func TestCommands(t *testing.T) {
	usage := constants(t, "cmd/bridge", "usage")["usage"]
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^  (bridge(?: [a-z]+)?)\b`).FindAllStringSubmatch(usage, -1) {
		commands = append(commands, m[1])
	}
	listed := flat(read(t, "docs/running.md").spans(t, "## The program"))
	same(t, "commands of docs/running.md", commands, slices.DeleteFunc(listed, func(s string) bool {
		return !strings.HasPrefix(s, "bridge")
	}))
	var texts []string // in which flags are, too
	for _, file := range parse(t, "cmd/bridge") {
		texts = append(texts, stringsIn(file)...)
	}
	for _, p := range pages(t) {
		for _, code := range p.code {
			m := regexp.MustCompile(`^(?:\./bin/)?(bridge(?: [a-z]+)?)\b([^#]*)`).FindStringSubmatch(code)
			if m == nil {
				continue
			}
			if !slices.Contains(commands, m[1]) {
				t.Errorf("%s: there is no command %q", p.name, m[1])
			}
			for _, flag := range regexp.MustCompile(` --?([a-z-]+)`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(texts, flag[1]) {
					t.Errorf("%s: %q: there is no flag %s", p.name, code, flag[1])
				}
			}
		}
	}
}

func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		for _, code := range p.code {
			for _, m := range regexp.MustCompile(`^make ([a-z-]+)`).FindAllStringSubmatch(code, -1) {
				if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
					t.Errorf("%s: there is no target %q", p.name, m[1])
				}
			}
		}
	}
}

// otherSlashes are the words behind a slash that are none of ours, or stand for one.
func otherSlashes() []string {
	return []string{"word", "name", "setprivacy", "newbot", "invite", "bridge", "health", "livez", "readyz", "metrics", "stats", "data", "files", "api", "say", "pocketping"}
}

// What operators can write: the table has all of it, and no page has anything else.
func TestOperatorsCommands(t *testing.T) {
	var all []string
	known := map[string]bool{}
	for _, c := range bridge.Commands() {
		all = append(all, c.Name)
		for _, name := range append(c.Aliases, c.Name) {
			known[name] = true
		}
	}
	name := regexp.MustCompile(`^[/!]([a-z]+)\b`)
	var listed []string
	operators := read(t, "docs/operators.md")
	for _, row := range operators.spans(t, "## Commands") {
		for _, span := range row {
			if m := name.FindStringSubmatch(span); m != nil && m[1] != "name" && !slices.Contains(listed, m[1]) {
				listed = append(listed, m[1])
			} else if m == nil && !known[span] {
				t.Errorf("docs/operators.md: %q is no other name of a command", span)
			}
		}
	}
	for _, cells := range operators.table(t, "## Commands") {
		for _, m := range regexp.MustCompile("`/([a-z]+)").FindAllStringSubmatch(cells[0], -1) {
			c, _ := bridge.FindCommand(m[1])
			if (cells[1] == "thread") != c.Thread {
				t.Errorf("docs/operators.md: /%s is not for %q", m[1], cells[1])
			}
		}
	}
	same(t, "commands of docs/operators.md", slices.DeleteFunc(all, func(s string) bool { return s == "name" }), listed)

	for _, p := range pages(t) {
		for _, code := range p.code {
			m := regexp.MustCompile(`^[/!] ?([a-z]+)( [^/]*)?$`).FindStringSubmatch(code)
			if m != nil && !known[m[1]] && !slices.Contains(otherSlashes(), m[1]) {
				t.Errorf("%s: there is no command %q", p.name, code)
			}
		}
	}
}

// The reasons of a presence are the program's.
func TestPresenceReasons(t *testing.T) {
	same(t, "reasons", slices.Collect(maps.Values(constants(t, "internal/presence", "reason"))),
		flat(read(t, "docs/operators.md").spans(t, "## Who is there")))
}

// otherVariables are in the pages and none of the bridge's settings.
func otherVariables() []string {
	return []string{"NAME_FILE", "BRIDGE_API_KEY", "CALLBACK_SECRET", "SSL_CERT_FILE", "APPLICATION_ID"}
}

// Variables that the pages name are read, and their defaults are the example's. That the table lists all of them is held to the program
// where the program reads them.
func TestVariables(t *testing.T) {
	served := function(t, "cmd/bridge", "servedKeys")
	known := slices.Concat(served, otherVariables())
	for _, name := range served {
		known = append(known, name+"_FILE")
	}
	for _, p := range pages(t) {
		for _, name := range regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b(?:_\*)?`).FindAllString(p.text, -1) {
			if !slices.Contains(known, name) {
				t.Errorf("%s: there is no variable %s", p.name, name)
			}
		}
		for _, code := range p.code {
			if regexp.MustCompile(`^[A-Z]{3,}$`).MatchString(code) && !slices.Contains(known, code) &&
				!slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "GOGC", "GOMEMLIMIT", "NAME", "UTC", "URL"}, code) {
				t.Errorf("%s: there is no variable %s", p.name, code)
			}
		}
	}

	example, err := godotenv.Read(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cells := range read(t, "docs/configuration.md").table(t, "## The variables") {
		name := strings.Trim(cells[0], "`")
		want := []string{"", "see →"} // of what follows from other settings
		if value := example[name]; value != "" {
			want = []string{"`" + value + "`"}
		}
		if !slices.Contains(want, cells[1]) {
			t.Errorf("docs/configuration.md: the default of %s is %q and not %q", name, want[0], cells[1])
		}
	}
}

// route is a path and how it is asked for; an empty method is any.
type route struct{ method, path string }

// leads says whether a path that is written somewhere is this route's: its parameters are whatever they are.
func (r route) leads(method, path string) bool {
	have, want := strings.Split(path, "/"), strings.Split(r.path, "/")
	if method != "" && r.method != "" && method != r.method || len(have) != len(want) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && (!strings.HasPrefix(want[i], "{") || have[i] == "") {
			return false
		}
	}
	return true
}

// described returns what the OpenAPI document has. The API's own tests hold it to the routes that are served.
func described(t *testing.T) []route {
	t.Helper()
	var out []route
	in := ""
	_, text, _ := strings.Cut(openAPI(t), "\npaths:\n")
	for line := range strings.Lines(text[:regexp.MustCompile(`(?m)^\w`).FindStringIndex(text)[0]]) {
		if m := regexp.MustCompile(`^  (/\S*):[ \n]`).FindStringSubmatch(line); m != nil {
			in = m[1]
		}
		if m := regexp.MustCompile(`^    (get|put|post|delete|patch):[ \n]`).FindStringSubmatch(line); m != nil {
			out = append(out, route{strings.ToUpper(m[1]), in})
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d routes were found", len(out))
	}
	return out
}

func openAPI(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "internal/api/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// notForPrograms are the paths that the API's table leaves to the lines below it.
func notForPrograms(r route) bool {
	return strings.HasPrefix(r.path, "/files/") || strings.HasPrefix(r.path, "/webhooks/")
}

// The API's table has every path; other pages name none that is not there.
func TestRoutes(t *testing.T) {
	routes := described(t)
	var want, got []string
	for _, r := range routes {
		if !notForPrograms(r) {
			want = append(want, r.method+" "+r.path)
		}
	}
	for _, row := range read(t, "docs/http-api.md").spans(t, "## Paths") {
		var methods []string
		for _, span := range row {
			method, path, _ := strings.Cut(span, " ")
			methods = append(methods, method)
			if path, _, _ = strings.Cut(path, "?"); path != "" {
				for _, method := range methods {
					got = append(got, method+" "+path)
				}
				methods = nil
			}
		}
	}
	same(t, "paths of docs/http-api.md", want, got)

	routes = append(routes, route{"POST", "/webhooks/{platform}"}, route{"GET", "/files/{signed}"})
	count := 0
	for _, p := range pages(t) {
		for _, code := range p.code {
			for _, m := range regexp.MustCompile(
				`(?:\b(GET|PUT|POST|DELETE|PATCH) |(localhost:3001|PUBLIC_URL)|^)(/[A-Za-z0-9_{}./:-]+)`).FindAllStringSubmatch(code, -1) {
				path := strings.TrimRight(m[3], "./")
				if m[1]+m[2] == "" && !regexp.MustCompile(`^/(api|webhooks|health|livez|readyz|metrics|openapi)\b`).MatchString(path) {
					continue // a command, or a path of somebody else's
				}
				count++
				if path != "/api" && !slices.ContainsFunc(routes, func(r route) bool { return r.leads(m[1], path) }) {
					t.Errorf("%s: there is no path %s %s (in %q)", p.name, m[1], path, code)
				}
			}
		}
	}
	if count < 40 {
		t.Errorf("only %d paths were found", count)
	}
}

// The limits are the program's.
func TestLimits(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "docs/http-api.md").text, "\n## Limits\n")
	var said []string
	for _, m := range regexp.MustCompile(`\d+(?: \d{3})*`).FindAllString(section, -1) {
		said = append(said, strings.ReplaceAll(m, " ", ""))
	}
	var want []string
	for _, one := range []int{
		bridge.MaxContent, bridge.MaxEventName, bridge.MaxReason, bridge.MaxReceipts, bridge.MaxAttachments, bridge.MaxAttachmentURL, bridge.MaxID,
		http.StatusBadRequest,
	} {
		want = append(want, strconv.Itoa(one))
	}
	same(t, "limits of docs/http-api.md", want, said)
}

// What curl sends is what the API takes.
func TestRequests(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openAPI(t)))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, p := range pages(t) {
		for _, m := range regexp.MustCompile(`(?s)curl [^\n]*localhost:3001(/[a-z0-9/-]+)"?[^\n]* -d '([^']*)'`).FindAllStringSubmatch(p.text, -1) {
			count++
			var body any
			if err := json.Unmarshal([]byte(m[2]), &body); err != nil {
				t.Errorf("%s: %v in what is sent to %s", p.name, err, m[1])
				continue
			}
			method := http.MethodPost
			if x := regexp.MustCompile(`-X ([A-Z]+)`).FindStringSubmatch(m[0]); x != nil {
				method = x[1]
			}
			for name, item := range doc.Paths.Map() {
				op := item.GetOperation(method)
				if op == nil || !(route{"", name}).leads("", m[1]) {
					continue
				}
				if err := op.RequestBody.Value.Content["application/json"].Schema.Value.VisitJSON(body, openapi3.EnableJSONSchema2020()); err != nil {
					t.Errorf("%s: what is sent to %s is not what it takes: %v", p.name, m[1], err)
				}
			}
		}
	}
	if count < 6 {
		t.Errorf("only %d requests were found", count)
	}
}

// What the page on callbacks shows of their bodies is what app servers and the events webhook are told.
func TestBodies(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openAPI(t)))
	if err != nil {
		t.Fatal(err)
	}
	callbacks := read(t, "docs/callbacks.md")
	for section, schema := range map[string]string{"## The events": "TeamEvent", "## The events webhook": "Told"} {
		_, text, _ := strings.Cut(callbacks.text, "\n"+section+"\n")
		m := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(text)
		var body any
		if m == nil || json.Unmarshal([]byte(m[1]), &body) != nil {
			t.Errorf("docs/callbacks.md, %q: no body is shown", section)
			continue
		}
		if err := doc.Components.Schemas[schema].Value.VisitJSON(body, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("docs/callbacks.md, %q: %v", section, err)
		}
	}
}

// Each of the two tables has all types of its direction.
func TestEventTypes(t *testing.T) {
	// A type whose constant nobody uses is of the contract, and not told yet.
	used := map[string]bool{}
	declared := constants(t, "internal/bridge", "Type")
	for _, folder := range []string{"cmd", "internal"} {
		for _, file := range parse(t, folder) {
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					used[declared[s.Sel.Name]] = true
				}
				return true
			})
		}
	}
	var out, later []string
	for _, one := range bridge.TeamTypes() {
		if used[string(one)] {
			out = append(out, string(one))
		} else {
			later = append(later, string(one))
		}
	}
	callbacks := read(t, "docs/callbacks.md")
	same(t, "types of docs/callbacks.md", out, flat(callbacks.spans(t, "## The events")))
	var said []string
	if m := regexp.MustCompile(`not told yet:([^.]*)\.`).FindStringSubmatch(callbacks.text); m != nil {
		said = strings.FieldsFunc(m[1], func(r rune) bool { return !unicode.IsLetter(r) && r != '_' })
	}
	same(t, "types that are not told yet", later, said)

	same(t, "types of TeamEvent in the OpenAPI document", append(out, "test"), schemaTypes(t, "TeamEvent"))
	same(t, "types of docs/http-api.md", schemaTypes(t, "AppEvent"), flat(read(t, "docs/http-api.md").spans(t, "## Events")))
}

// schemaTypes returns the types of events that a schema of the OpenAPI document tells apart.
func schemaTypes(t *testing.T, name string) []string {
	t.Helper()
	_, schema, ok := strings.Cut(openAPI(t), "\n    "+name+":\n")
	if !ok {
		t.Fatalf("the OpenAPI document has no %s", name)
	}
	schema = schema[:regexp.MustCompile(`(?m)^    \w`).FindStringIndex(schema)[0]]
	var out []string
	for _, m := range regexp.MustCompile(`type: \{const: (\w+)\}`).FindAllStringSubmatch(schema, -1) {
		out = append(out, m[1])
	}
	return out
}

// The six types of the existing server are marked, and no other.
func TestExistingTypes(t *testing.T) {
	var want, got []string
	for _, one := range bridge.ExistingTypes() {
		want = append(want, string(one))
	}
	for _, cells := range read(t, "docs/callbacks.md").table(t, "## The events") {
		if strings.Contains(cells[2], "existing server") {
			got = append(got, strings.Trim(cells[0], "`"))
		}
	}
	same(t, "the existing server's types", want, got)
}

// Words that are spelt like those of the wire stand somewhere in the program, its API's description or Slack's manifest.
func TestWords(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(?:_[a-z]+)+$`)
	known := map[string]bool{}
	note := func(text string) {
		for _, one := range regexp.MustCompile(`[a-z]+(?:_[a-z]+)+`).FindAllString(text, -1) {
			known[one] = true
		}
	}
	for _, folder := range []string{"cmd", "internal"} {
		for _, file := range parse(t, folder) {
			for _, text := range stringsIn(file) {
				note(text)
			}
			for _, tag := range tags(file) {
				note(tag)
			}
		}
	}
	manifest, err := os.ReadFile(filepath.Join(root, "deploy/slack-manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	note(openAPI(t))
	note(string(manifest))
	count := 0
	for _, p := range pages(t) {
		for _, code := range p.code {
			if word.MatchString(code) {
				count++
				if !known[code] {
					t.Errorf("%s: nothing is called %s", p.name, code)
				}
			}
		}
	}
	if count < 80 {
		t.Errorf("only %d words were found", count)
	}
}

// tags returns the tags of a file's structs.
func tags(file *ast.File) []string {
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok && f.Tag != nil {
			out = append(out, f.Tag.Value)
		}
		return true
	})
	return out
}

// metrics returns the series of the program: name → labels.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, file := range parse(t, "internal/metrics") {
		// Functions within functions that make several series with the same labels.
		makers := map[string][]string{}
		ast.Inspect(file, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok {
				for i := range a.Rhs {
					if f, ok := a.Rhs[i].(*ast.FuncLit); ok {
						makers[a.Lhs[i].(*ast.Ident).Name] = lists(f)
					}
				}
			}
			return true
		})
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, labels := "", lists(call)
			for i, arg := range call.Args {
				texts := stringsIn(arg)
				if i == 0 && len(texts) > 0 && strings.HasPrefix(texts[0], "bridge_") {
					name = texts[0]
				}
				if lit, ok := arg.(*ast.BasicLit); ok && i > 1 {
					labels = append(labels, strings.Trim(lit.Value, `"`))
				}
			}
			if f, ok := call.Fun.(*ast.Ident); ok {
				labels = append(labels, makers[f.Name]...)
			}
			if name != "" && len(out[name]) == 0 {
				out[name] = labels
			}
			return true
		})
	}
	return out
}

// lists returns what stands in the lists of texts of a piece of a program.
func lists(n ast.Node) []string {
	var out []string
	ast.Inspect(n, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if a, ok := lit.Type.(*ast.ArrayType); ok {
			if of, ok := a.Elt.(*ast.Ident); ok && of.Name == "string" {
				out = append(out, stringsIn(lit)...)
			}
		}
		return true
	})
	return out
}

// The table of metrics has all series with all labels; other pages name none that is not there, and no label of none.
func TestMetrics(t *testing.T) {
	all := metrics(t)
	listed := map[string][]string{}
	running := read(t, "docs/running.md")
	span := regexp.MustCompile("`([^`]+)`")
	for _, cells := range running.table(t, "## Metrics") {
		var labels []string
		for _, m := range span.FindAllStringSubmatch(cells[1], -1) {
			labels = append(labels, m[1])
		}
		for _, m := range span.FindAllStringSubmatch(cells[0], -1) {
			listed[m[1]] = labels
		}
	}
	if diff := cmp.Diff(all, listed); diff != "" {
		t.Errorf("metrics of docs/running.md: -program +page\n%s", diff)
	}
	for _, p := range pages(t) {
		for _, m := range regexp.MustCompile(`\b(bridge_[a-z_]+[a-z])(?:\{(\w+)=)?`).FindAllStringSubmatch(p.text, -1) {
			name := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
			labels, ok := all[name]
			if !ok && m[1] != "bridge_log" {
				t.Errorf("%s: there is no metric %s", p.name, m[1])
			}
			if m[2] != "" && !slices.Contains(labels, m[2]) {
				t.Errorf("%s: %s has no label %s", p.name, m[1], m[2])
			}
		}
	}
}

// The address that adds the bot to a server asks for the permissions that the page lists.
func TestDiscordPermissions(t *testing.T) {
	known := map[string]int64{
		"View Channels": discordgo.PermissionViewChannel, "Send Messages": discordgo.PermissionSendMessages,
		"Create Public Threads": discordgo.PermissionCreatePublicThreads, "Send Messages in Threads": discordgo.PermissionSendMessagesInThreads,
		"Manage Threads": discordgo.PermissionManageThreads, "Embed Links": discordgo.PermissionEmbedLinks,
		"Attach Files": discordgo.PermissionAttachFiles, "Add Reactions": discordgo.PermissionAddReactions,
		"Mention @everyone, @here, and All Roles": discordgo.PermissionMentionEveryone,
		"Read Message History":                    discordgo.PermissionReadMessageHistory,
		"Manage Webhooks":                         discordgo.PermissionManageWebhooks,
	}
	p := read(t, "docs/discord.md")
	var want int64
	for _, cells := range p.table(t, "## 2. Into your server") {
		bit, ok := known[cells[0]]
		if !ok {
			t.Errorf("there is no permission %q", cells[0])
		}
		want |= bit
	}
	m := regexp.MustCompile(`&permissions=([0-9]+)`).FindStringSubmatch(p.text)
	if m == nil {
		t.Fatal("docs/discord.md has no address with permissions")
	}
	if got, err := strconv.ParseInt(m[1], 10, 64); err != nil || got != want || bits.OnesCount64(uint64(got)) != len(known) {
		t.Errorf("the address asks for %s, the table is %d", m[1], want)
	}
	if want != discord.Permissions {
		t.Errorf("the table is %d, and bridge init asks for %d", want, discord.Permissions)
	}
}

// The scopes of Slack are the manifest's.
func TestSlackScopes(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join(root, "deploy/slack-manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(manifest), "\n    bot:\n")
	var want []string
	for line := range strings.Lines(text) {
		m := regexp.MustCompile(`^      - (\S+)`).FindStringSubmatch(line)
		if m == nil {
			break
		}
		want = append(want, m[1])
	}
	same(t, "scopes of docs/slack.md", want, flat(read(t, "docs/slack.md").spans(t, "## What the app may do")))
}
