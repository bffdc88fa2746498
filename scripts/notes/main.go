// Command notes prints what CHANGELOG.md says of a version, for the notes of its release:
//
//	go run ./scripts/notes v1.2.3
//
// A version of which the CHANGELOG says nothing is an error: such a tag is not to be released.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/notes VERSION")
		os.Exit(2)
	}
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err == nil {
		var notes string
		if notes, err = section(string(changelog), os.Args[1]); err == nil {
			_, err = fmt.Print(notes)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notes:", err)
		os.Exit(1)
	}
}

// section returns what stands under a version's heading, "## [1.2.3]" with or without its date.
func section(changelog, version string) (string, error) {
	version = strings.TrimPrefix(version, "v")
	var out strings.Builder
	found := false
	for line := range strings.Lines(changelog) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			if found {
				break
			}
			name, _, _ := strings.Cut(strings.TrimLeft(strings.TrimSpace(heading), "["), "]")
			name, _, _ = strings.Cut(name, " ")
			found = name == version
		} else if found {
			out.WriteString(line)
		}
	}
	notes := strings.TrimSpace(out.String())
	if notes == "" {
		return "", fmt.Errorf("CHANGELOG.md says nothing of %s; give it a heading: ## [%s]", version, version)
	}
	return notes + "\n", nil
}
