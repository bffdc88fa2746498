package docs_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module      = "github.com/pocketping/bridge/"
	relayFolder = "internal/relay"
)

// rooms returns the packages of the relay, top down, as CONTRIBUTING.md draws them.
func rooms(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^(internal/relay/\S*) {2,}\S`).FindAllStringSubmatch(read(t, "CONTRIBUTING.md").text, -1) {
		out = append(out, strings.TrimSuffix(m[1], "/"))
	}
	return out
}

// CONTRIBUTING.md draws all the rooms of the relay, and each of them imports only what is drawn below it.
func TestRelayRooms(t *testing.T) {
	drawn := rooms(t)
	entries, err := os.ReadDir(filepath.Join(root, relayFolder))
	if err != nil {
		t.Fatal(err)
	}
	built := []string{relayFolder}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			built = append(built, relayFolder+"/"+e.Name())
		}
	}
	same(t, "the rooms of the relay", built, drawn)
	for name, file := range sources(t, relayFolder) {
		room := path.Dir(name)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			other, ours := strings.CutPrefix(imported, module)
			if ours && strings.HasPrefix(other, relayFolder) && slices.Index(drawn, other) <= slices.Index(drawn, room) {
				t.Errorf("%s imports %s, which is not drawn below %s", name, other, room)
			}
		}
	}
}

// functions returns the functions of the product, as package.Function and package.Type.Method.
func functions(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, file := range parse(t, "internal") {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := file.Name.Name + "."
			if f.Recv != nil {
				typ := f.Recv.List[0].Type
				if star, ok := typ.(*ast.StarExpr); ok {
					typ = star.X
				}
				if of, ok := typ.(*ast.Ident); ok {
					name += of.Name + "."
				}
			}
			out[name+f.Name.Name] = true
		}
	}
	return out
}

// CONTRIBUTING.md walks through the house twice, in fourteen steps at most: each step is a function that is there, and no room is come back to.
func TestWalks(t *testing.T) {
	known := functions(t)
	text := read(t, "CONTRIBUTING.md").text
	walks := regexp.MustCompile("(?m)(?:^\\d+\\. `.*\n)+").FindAllString(text, -1)
	if len(walks) != 2 {
		t.Fatalf("there are %d walks, want a visitor's text in and an operator's out", len(walks))
	}
	step := regexp.MustCompile("^(\\d+)\\. `((\\w+)\\.[\\w.]+)`")
	for _, walk := range walks {
		lines := strings.Split(strings.TrimSpace(walk), "\n")
		if len(lines) > 14 {
			t.Errorf("a walk has %d steps:\n%s", len(lines), walk)
		}
		var been []string
		for i, line := range lines {
			m := step.FindStringSubmatch(line)
			switch {
			case m == nil || m[1] != strconv.Itoa(i+1):
				t.Errorf("this is no step %d: %s", i+1, line)
				continue
			case !known[m[2]]:
				t.Errorf("step %d: there is no function %s", i+1, m[2])
			case len(been) > 0 && been[len(been)-1] != m[3] && slices.Contains(been, m[3]):
				t.Errorf("step %d comes back to %s", i+1, m[3])
			}
			been = append(been, m[3])
		}
	}
}
