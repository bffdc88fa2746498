// Command llms writes llms.txt, in the manner of https://llmstxt.org: what the documentation has, page by page, for programs that read
// it. Everything in it comes from the pages: the README's first paragraph, the pages that it links to, in its order, and of each page
// its title, its first line and its sections. It runs in the repository's folder; make llms does so.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	text, err := write(os.DirFS("."))
	if err == nil {
		err = os.WriteFile("llms.txt", []byte(text), 0o644) //nolint:gosec // a page for everybody
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "llms:", err)
		os.Exit(1)
	}
}

// write returns what llms.txt is to be, from the pages of the repository.
func write(repository fs.FS) (string, error) {
	readme, err := fs.ReadFile(repository, "README.md")
	if err != nil {
		return "", err
	}
	title, first, _ := outline(string(readme))
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n\n> %s\n\n## Documentation\n\n", title, first)
	for _, name := range linked(string(readme)) {
		page, err := fs.ReadFile(repository, name)
		if err != nil {
			return "", err
		}
		title, first, sections := outline(string(page))
		fmt.Fprintf(&out, "- [%s](%s): %s", title, name, first)
		if len(sections) > 0 {
			fmt.Fprintf(&out, " Sections: %s.", strings.Join(sections, "; "))
		}
		out.WriteString("\n")
	}
	out.WriteString(`
## Exact

- [OpenAPI document](internal/api/openapi.yaml): every path, field and event of the HTTP API, with examples.
- [.env.example](.env.example): every variable, at its default.
- [CHANGELOG.md](CHANGELOG.md): what has changed.
- [CONTRIBUTING.md](CONTRIBUTING.md): how the code is built and tested.
`)
	return out.String(), nil
}

// linked returns the pages under docs that a text links to, each once.
func linked(text string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`\]\((docs/[a-z-]+\.md)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// outline returns a page's title, its first paragraph in one line, and the titles of its sections.
func outline(text string) (title, first string, sections []string) {
	code := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		name, section := strings.CutPrefix(line, "## ")
		switch {
		case code:
		case section:
			sections = append(sections, name)
		case title == "":
			title, _ = strings.CutPrefix(line, "# ")
		}
	}
	_, rest, _ := strings.Cut(text, "\n\n")
	paragraph, _, _ := strings.Cut(rest, "\n\n")
	paragraph = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(paragraph, "$1") // links lead elsewhere from here
	return title, strings.Join(strings.Fields(paragraph), " "), sections
}
