// Package docs_test holds the documentation to the program: README.md and the pages of this folder. What they name has to be there, and
// what their lists claim to have whole has to be whole. It reads files alone.
package docs_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const root = ".."

// page is one page of the documentation.
type page struct {
	name string // in the repository
	text string
	// prose is the text with its code blocks and code spans left out, line by line.
	prose string
	// code are the code spans and the lines of code blocks.
	code []string
}

// read reads a page.
func read(t *testing.T, name string) page {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	p := page{name: name, text: string(data)}
	var prose strings.Builder
	block, indented := false, false
	for line := range strings.SplitSeq(p.text, "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "```"):
			block = !block
		case block:
			p.code = append(p.code, line)
		case strings.HasPrefix(line, "    ") && (indented || strings.HasSuffix(prose.String(), "\n\n")):
			indented = true
			p.code = append(p.code, trimmed)
			continue
		default:
			indented = false
			prose.WriteString(line)
		}
		prose.WriteString("\n")
	}
	// A span may go over the end of a line.
	span := regexp.MustCompile("`[^`]+`")
	for _, one := range span.FindAllString(prose.String(), -1) {
		p.code = append(p.code, strings.Join(strings.Fields(strings.ReplaceAll(strings.Trim(one, "`"), `\|`, "|")), " "))
	}
	p.prose = span.ReplaceAllString(prose.String(), "`…`")
	return p
}

// pages returns the README and the pages of this folder.
func pages(t *testing.T) []page {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d pages, %v", len(names), err)
	}
	all := []page{read(t, "README.md")}
	for _, name := range names {
		all = append(all, read(t, "docs/"+name))
	}
	return all
}

// spans returns the code spans of the first cells of a section's table, row by row.
func (p page) spans(t *testing.T, section string) [][]string {
	t.Helper()
	var rows [][]string
	for _, cells := range p.table(t, section) {
		var found []string
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			found = append(found, m[1])
		}
		rows = append(rows, found)
	}
	return rows
}

// table returns the cells of a section's first table, without its head. The section is named by its heading's line.
func (p page) table(t *testing.T, section string) [][]string {
	t.Helper()
	_, text, ok := strings.Cut(p.text, "\n"+section+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", p.name, section)
	}
	if end := regexp.MustCompile(`(?m)^#`).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	var rows [][]string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			if len(rows) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		cells = cells[1 : len(cells)-1]
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|")
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("%s, %q: there is no table", p.name, section)
	}
	return rows[2:]
}

// anchors returns what the headings of a text can be linked to by, as GitHub makes it.
func anchors(p page) []string {
	var out []string
	seen := map[string]int{}
	for line := range strings.Lines(p.prose) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		var slug strings.Builder
		for _, r := range strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#"))) {
			switch {
			case r == ' ':
				slug.WriteByte('-')
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				slug.WriteRune(r)
			}
		}
		name := slug.String()
		if n := seen[name]; n > 0 {
			name += "-" + string(rune('0'+n))
		}
		seen[slug.String()]++
		out = append(out, name)
	}
	return out
}

// Every link leads to a file or a heading that is there, and every page is linked to from the README.
func TestLinks(t *testing.T) {
	all := pages(t)
	for _, name := range []string{"CHANGELOG.md", "CONTRIBUTING.md", "clients/node/README.md", "llms.txt"} {
		all = append(all, read(t, name))
	}
	linked := map[string]bool{"README.md": true}
	count := 0
	for _, p := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)|<img src="([^"]+)"|href="([^"]+)"`).FindAllStringSubmatch(p.prose, -1) {
			count++
			target := m[1] + m[2] + m[3]
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: %q is no link", p.name, target)
				continue
			}
			if u.Scheme != "" {
				if u.Scheme != "https" || u.Host == "" {
					t.Errorf("%s: %q leads nowhere", p.name, target)
				}
				continue
			}
			to := p
			if u.Path != "" {
				name := path.Join(path.Dir(p.name), u.Path)
				if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.IsDir() {
					t.Errorf("%s: %q leads to no file", p.name, target)
					continue
				}
				if p.name == "README.md" {
					linked[name] = true
				}
				if !strings.HasSuffix(name, ".md") {
					continue
				}
				to = read(t, name)
			}
			if u.Fragment != "" && !slices.Contains(anchors(to), u.Fragment) {
				t.Errorf("%s: %q: %s has no such heading; it has %q", p.name, target, to.name, anchors(to))
			}
		}
	}
	if count < 60 {
		t.Errorf("only %d links were found", count)
	}
	for _, p := range pages(t) {
		if !linked[p.name] {
			t.Errorf("the README does not link to %s", p.name)
		}
	}
}

// The README is for a newcomer, who reads nine thousand bytes at most. The first line of every other page says whom it is for.
func TestReaders(t *testing.T) {
	for _, p := range pages(t) {
		if p.name == "README.md" {
			if len(p.text) > 9000 {
				t.Errorf("the README has %d bytes", len(p.text))
			}
			continue
		}
		if !regexp.MustCompile(`^# [^\n]+\n\nFor [^\n]+`).MatchString(p.text) {
			t.Errorf("%s does not begin with a title and whom it is for (“For …”)", p.name)
		}
	}
}

// What a program shall read can be read: JSON by itself and in what curl sends.
func TestJSON(t *testing.T) {
	count := 0
	for _, p := range pages(t) {
		var found []string
		for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(p.text, -1) {
			found = append(found, m[1])
		}
		for _, m := range regexp.MustCompile(`(?s) -d '([^']*)'`).FindAllStringSubmatch(p.text, -1) {
			found = append(found, m[1])
		}
		for _, text := range found {
			count++
			if !json.Valid([]byte(text)) {
				t.Errorf("%s: this is no JSON:\n%s", p.name, text)
			}
		}
	}
	if count < 8 {
		t.Errorf("only %d pieces of JSON were found", count)
	}
}
