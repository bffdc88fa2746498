package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"
	yaml "github.com/oasdiff/yaml3"
)

// file reads a file of the repository.
func file(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documents reads a file of YAML: each of its documents, as JSON would be read.
func documents(t *testing.T, name string) []any {
	t.Helper()
	var all []any
	for in := yaml.NewDecoder(strings.NewReader(file(t, name))); ; {
		var one any
		switch err := in.Decode(&one); {
		case err == io.EOF: //nolint:errorlint // as the decoder documents it
			if len(all) == 0 {
				t.Fatalf("%s is empty", name)
			}
			return all
		case err != nil:
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, one)
	}
}

// at returns what stands in a document under keys and indices, such as "spec", "containers", 0; nil where nothing does.
func at(document any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := document.(map[string]any)
			document = m[step]
		case int:
			list, _ := document.([]any)
			if step >= len(list) {
				return nil
			}
			document = list[step]
		}
	}
	return document
}

// wants compares what stands in a document with what it has to be.
func wants(t *testing.T, what string, document any, want string, path ...any) {
	t.Helper()
	if got := fmt.Sprint(at(document, path...)); got != want {
		t.Errorf("%s, %v: %s, want %s", what, path, got, want)
	}
}

// settings are the program's variables, and those that name a file with one.
func settings(t *testing.T) []string {
	t.Helper()
	served := function(t, "cmd/bridge", "servedKeys")
	for _, name := range slices.Clone(served) {
		served = append(served, name+"_FILE")
	}
	return served
}

// What is deployed names no variable that the program does not read.
func TestDeployVariables(t *testing.T) {
	known := append(settings(t), "YOUR_API_KEY")
	for _, name := range []string{
		"docker-compose.yml", "docker-compose.embedded.yml", "deploy/kubernetes.yaml", "deploy/systemd/bridge.service",
		"deploy/systemd/bridge.env", "deploy/Caddyfile", "deploy/nginx.conf", "deploy/monitoring/alerts.yaml",
	} {
		count := 0
		for _, variable := range regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b`).FindAllString(file(t, name), -1) {
			if count++; !slices.Contains(known, variable) && !slices.Contains([]string{"AF_INET", "AF_INET6", "AF_UNIX"}, variable) {
				t.Errorf("%s: there is no variable %s", name, variable)
			}
		}
		if count == 0 {
			t.Errorf("%s names no variable", name)
		}
	}
	example, err := godotenv.Read(filepath.Join(root, "deploy/systemd/bridge.env"))
	if err != nil || len(example) == 0 {
		t.Errorf("bridge.env: %d variables, %v", len(example), err)
	}
	for name, value := range example {
		if value != "" || !slices.Contains(known, name) {
			t.Errorf("bridge.env: %s=%s", name, value)
		}
	}
}

// Both compose files hand every setting to the bridge. Nothing that somebody has set is dropped, but for what the file says.
func TestCompose(t *testing.T) {
	embedded, redis := documents(t, "docker-compose.embedded.yml")[0], documents(t, "docker-compose.yml")[0]
	given, _ := at(embedded, "services", "bridge", "environment").(map[string]any)
	fixed := map[string]string{
		"API_KEY": "${API_KEY:-}", "API_KEY_FILE": "${API_KEY_FILE:+/run/secrets/api_key}", "DATA_DIR": "/data", "PORT": "3001", "BIND": "",
	}
	want := []string{"API_KEY_FILE"}
	for _, name := range function(t, "cmd/bridge", "servedKeys") {
		if !slices.Contains(want, name) && name != "REDIS_URL" {
			want = append(want, name)
		}
	}
	var got []string
	for name, value := range given {
		got = append(got, name)
		if text, isFixed := fixed[name]; isFixed != (value != nil) || isFixed && value != text {
			t.Errorf("docker-compose.embedded.yml: %s is %v, want %q", name, value, text)
		}
	}
	same(t, "variables of docker-compose.embedded.yml", want, got)

	wants(t, "compose with Redis", redis, "map[file:docker-compose.embedded.yml service:bridge]", "services", "bridge", "extends")
	wants(t, "compose with Redis", redis, "map[REDIS_URL:${REDIS_URL:-redis://redis:6379/0}]", "services", "bridge", "environment")
	wants(t, "compose with Redis", redis, "[redis-server --appendonly yes --maxmemory-policy noeviction]", "services", "redis", "command")
	wants(t, "compose", embedded, "map[VERSION:${VERSION:-}]", "services", "bridge", "build", "args")
	wants(t, "compose", embedded, "[CMD /bridge health]", "services", "bridge", "healthcheck", "test")
	for what, document := range map[string]any{"compose": embedded, "compose with Redis": redis} {
		wants(t, what, document, "${API_KEY_FILE:-/dev/null}", "secrets", "api_key", "file")
		volumes, _ := at(document, "volumes").(map[string]any)
		if _, there := volumes["bridge-data"]; !there {
			t.Errorf("%s has no volume bridge-data", what)
		}
	}
	dockerfile := file(t, "deploy/Dockerfile")
	for _, line := range []string{"ENTRYPOINT [\"/bridge\"]", "COPY --from=build /out/bridge /bridge", "USER 65532:65532", "DATA_DIR=/data", "ARG TARGETOS TARGETARCH VERSION="} {
		if !strings.Contains(dockerfile, line) {
			t.Errorf("the Dockerfile has no %s", line)
		}
	}
}

// commandsOf are the program's subcommands.
func commandsOf(t *testing.T) []string {
	t.Helper()
	out := []string{"serve"}
	for _, m := range regexp.MustCompile(`(?m)^  bridge ([a-z]+)\b`).FindAllStringSubmatch(constants(t, "cmd/bridge", "usage")["usage"], -1) {
		out = append(out, m[1])
	}
	return out
}

// What the program is made of gets into the image's build: .dockerignore leaves everything else out.
func TestImageSources(t *testing.T) {
	var kept []string
	for line := range strings.Lines(file(t, ".dockerignore")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			kept = append(kept, name)
		}
	}
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{with .Module}}{{if .Main}}{{$.Dir}}|{{join $.GoFiles \",\"}}|{{join $.EmbedFiles \",\"}}{{end}}{{end}}{{end}}",
		"./cmd/bridge")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if len(parts) != 3 {
			continue
		}
		folder, err := filepath.Rel(top, parts[0])
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsFuncSeq(parts[1]+","+parts[2], func(r rune) bool { return r == ',' }) {
			files++
			name = filepath.Join(folder, name)
			if !slices.ContainsFunc(kept, func(k string) bool { return name == k || strings.HasPrefix(name, k+"/") }) {
				t.Errorf("%s is left out of the image's build", name)
			}
		}
	}
	if files < 100 {
		t.Errorf("%d files", files)
	}
}

func TestKubernetes(t *testing.T) {
	objects := map[string]any{}
	for _, one := range documents(t, "deploy/kubernetes.yaml") {
		objects[fmt.Sprint(at(one, "kind"), "/", at(one, "metadata", "name"))] = one
	}
	bridge := objects["Deployment/bridge"]
	container := at(bridge, "spec", "template", "spec", "containers", 0)
	wants(t, "Deployment", bridge, "2", "spec", "replicas")
	wants(t, "Deployment", bridge, "65532", "spec", "template", "spec", "securityContext", "runAsUser")
	if grace, _ := at(bridge, "spec", "template", "spec", "terminationGracePeriodSeconds").(int); grace < 25 {
		t.Errorf("the bridge has %d seconds to end", grace)
	}
	if command, _ := at(container, "args", 0).(string); !slices.Contains(commandsOf(t), command) {
		t.Errorf("there is no command %q", command)
	}
	routes := described(t)
	for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		wants(t, "Deployment", container, path, probe, "httpGet", "path")
		if !slices.ContainsFunc(routes, func(r route) bool { return r.leads("GET", path) }) {
			t.Errorf("there is no path %s", path)
		}
	}
	known := settings(t)
	list, _ := at(container, "env").([]any)
	for _, one := range list {
		if name, _ := at(one, "name").(string); !slices.Contains(known, name) {
			t.Errorf("there is no variable %q", name)
		}
	}
	wants(t, "StatefulSet", objects["StatefulSet/bridge-redis"], "[redis-server --dir /data --appendonly yes --maxmemory-policy noeviction]",
		"spec", "template", "spec", "containers", 0, "args")
	// What selects, selects what is there; the store's address is the service's.
	for kind, name := range map[string]string{"Service/bridge": "bridge", "Service/bridge-redis": "bridge-redis"} {
		wants(t, kind, objects[kind], name, "spec", "selector", "app.kubernetes.io/name")
	}
	wants(t, "PodDisruptionBudget", objects["PodDisruptionBudget/bridge"], "bridge", "spec", "selector", "matchLabels", "app.kubernetes.io/name")
	wants(t, "Deployment", bridge, "bridge", "spec", "template", "metadata", "labels", "app.kubernetes.io/name")
	wants(t, "StatefulSet", objects["StatefulSet/bridge-redis"], "bridge-redis", "spec", "template", "metadata", "labels", "app.kubernetes.io/name")
	wants(t, "Deployment", container, "map[name:REDIS_URL value:redis://bridge-redis:6379/0]", "env", 0)
	if len(objects) != 5 {
		t.Errorf("%d objects", len(objects))
	}
}

func TestUnit(t *testing.T) {
	unit := file(t, "deploy/systemd/bridge.service")
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Errorf("the unit has no %s", name)
			return ""
		}
		return m[1]
	}
	program, command, _ := strings.Cut(value("ExecStart"), " ")
	if !slices.Contains(commandsOf(t), command) {
		t.Errorf("there is no command %q", command)
	}
	if value("KillSignal") != "SIGTERM" || value("TimeoutStopSec") != "25" || value("Environment") != "DATA_DIR=/var/lib/"+value("StateDirectory") {
		t.Error("it does not end as the program does, or its folder is not the program's")
	}
	// The packages put everything where the unit looks for it, and goreleaser takes nothing that is not there.
	release := documents(t, ".goreleaser.yaml")[0]
	packages := at(release, "nfpms", 0)
	if dir := at(packages, "bindir"); fmt.Sprint(dir, "/", at(release, "builds", 0, "binary")) != program {
		t.Errorf("the program is installed in %v, and %s is started", dir, program)
	}
	var sources, targets []string
	contents, _ := at(packages, "contents").([]any)
	for _, one := range contents {
		sources, targets = append(sources, at(one, "src").(string)), append(targets, at(one, "dst").(string))
	}
	for _, name := range []string{value("EnvironmentFile"), "/usr/lib/systemd/system/bridge.service"} {
		if !slices.Contains(targets, name) {
			t.Errorf("the packages do not install %s", name)
		}
	}
	if m := regexp.MustCompile(`/usr/share/\S+`).FindString(file(t, "deploy/systemd/bridge.env")); !slices.Contains(targets, m) {
		t.Errorf("bridge.env speaks of %q, which the packages do not install", m)
	}
	files, _ := at(release, "archives", 0, "files").([]any)
	scripts, _ := at(packages, "scripts").(map[string]any)
	for _, name := range files {
		sources = append(sources, name.(string))
	}
	for _, name := range scripts {
		sources = append(sources, name.(string))
	}
	sources = append(sources, fmt.Sprint(at(release, "builds", 0, "main")))
	for _, pattern := range sources {
		if found, err := filepath.Glob(filepath.Join(root, pattern)); err != nil || len(found) == 0 {
			t.Errorf(".goreleaser.yaml: there is no %s (%v)", pattern, err)
		}
	}
	if len(sources) < 15 || !regexp.MustCompile(`(?m)^var version = ""$`).MatchString(file(t, "cmd/bridge/version.go")) {
		t.Errorf("%d files, or no variable for the version", len(sources))
	}
}

// The alerts and the dashboard name metrics and labels that the program has.
func TestMonitoring(t *testing.T) {
	all := metrics(t)
	usual := []string{"process_resident_memory_bytes"}
	labels := []string{"job", "instance", "le"}
	for _, of := range all {
		labels = append(labels, of...)
	}
	var expressions []string
	rules, _ := at(documents(t, "deploy/monitoring/alerts.yaml")[0], "groups", 0, "rules").([]any)
	tests := file(t, "deploy/monitoring/alerts.test.yaml")
	documents(t, "deploy/monitoring/alerts.test.yaml")
	for _, rule := range rules {
		name := fmt.Sprint(at(rule, "alert"))
		expressions = append(expressions, fmt.Sprint(at(rule, "expr")))
		// Each is seen to be silent where it is quiet, and to fire.
		if strings.Count(tests, "alertname: "+name+"}") < 1 || strings.Count(tests, "alertname: "+name+"\n") < 1 {
			t.Errorf("alerts.test.yaml does not show when %s fires and when it does not", name)
		}
		if !strings.Contains(file(t, "docs/running.md"), "`"+name+"`") {
			t.Errorf("docs/running.md does not name %s", name)
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	in := json.NewDecoder(bytes.NewReader([]byte(file(t, "deploy/monitoring/grafana-dashboard.json"))))
	if err := in.Decode(&dashboard); err != nil || len(dashboard.Panels) < 10 {
		t.Fatalf("the dashboard has %d panels, %v", len(dashboard.Panels), err)
	}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("%s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	for _, m := range regexp.MustCompile(`series: '([^']*)'`).FindAllStringSubmatch(tests, -1) {
		expressions = append(expressions, m[1])
	}
	for _, expression := range expressions {
		found := regexp.MustCompile(`\b((?:bridge|process|go)_[a-z_]*[a-z])\b[^,(]?`).FindAllStringSubmatch(expression, -1)
		if len(found) == 0 && expression != "" {
			t.Errorf("%q names no metric", expression)
		}
		for _, m := range found {
			name := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
			if _, there := all[name]; !there && !slices.Contains(usual, name) && !slices.Contains(labels, name) {
				t.Errorf("%q: there is no metric %s", expression, name)
			}
		}
		for _, m := range regexp.MustCompile(`(bridge_\w+)\{([^}]*)\}`).FindAllStringSubmatch(expression, -1) {
			name := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
			for _, label := range regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(append([]string{"job", "instance", "le"}, all[name]...), label[1]) {
					t.Errorf("%q: %s has no label %s", expression, name, label[1])
				}
			}
		}
	}
	for _, m := range regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)|\$labels\.(\w+)|"legendFormat": "\{\{(\w+)\}\}`).FindAllStringSubmatch(
		file(t, "deploy/monitoring/alerts.yaml")+file(t, "deploy/monitoring/grafana-dashboard.json"), -1) {
		for label := range strings.FieldsFuncSeq(m[1]+m[2]+m[3], func(r rune) bool { return r == ',' || r == ' ' }) {
			if !slices.Contains(labels, label) {
				t.Errorf("%q: no metric has a label %s", m[0], label)
			}
		}
	}
	if len(expressions) < 40 {
		t.Errorf("only %d expressions were found", len(expressions))
	}
}
