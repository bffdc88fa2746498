package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table of threats names tests that there are, and the actors of the attacks.
func TestThreats(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(data), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var actors []string
	for _, cells := range read(t, "docs/security.md").table(t, "## Threats") {
		if who := regexp.MustCompile(`^\*\*(.+?)\*\*`).FindStringSubmatch(cells[0]); who != nil {
			actors = append(actors, strings.ToLower(who[1]))
		} else {
			t.Errorf("nobody in %q", cells[0])
		}
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", cells[0])
		}
		for _, m := range named {
			if !tests[m[1]] {
				t.Errorf("there is no test %s", m[1])
			}
		}
	}
	source := read(t, "cmd/bridge/attack_test.go").text
	_, list, _ := strings.Cut(source, "// Who attacks")
	list, _, _ = strings.Cut(list, "\n)")
	attackers := regexp.MustCompile(`= "([^"]+)"`).FindAllStringSubmatch(list, -1)
	if len(attackers) < 10 {
		t.Errorf("%d attackers", len(attackers))
	}
	for _, m := range attackers {
		if !slices.Contains(actors, strings.ToLower(m[1])) {
			t.Errorf("%s attacks, and is not in the table", m[1])
		}
	}
}
