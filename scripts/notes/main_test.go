package main

import (
	"os"
	"testing"
)

func TestSection(t *testing.T) {
	const changelog = "# Changelog\n\n## [Unreleased]\n\nLater.\n\n## [1.2.3] - 2026-11-29\n\n### Changed\n\n- This.\n\n## [1.2.3-rc.1]\n\nFirst.\n\n## 1.2\n\n"
	for version, want := range map[string]string{
		"v1.2.3": "### Changed\n\n- This.\n", "1.2.3": "### Changed\n\n- This.\n", "v1.2.3-rc.1": "First.\n", "Unreleased": "Later.\n",
		"v1.2": "", "v1.2.4": "", "v1": "",
	} {
		got, err := section(changelog, version)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", version, got, err, want)
		}
	}
}

// The CHANGELOG is such that its sections are found.
func TestOurs(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if notes, err := section(string(changelog), "Unreleased"); err != nil || len(notes) < 100 {
		t.Errorf("%d bytes, %v", len(notes), err)
	}
}
