package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// llms.txt says what the pages say.
func TestUpToDate(t *testing.T) {
	want, err := write(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../llms.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("llms.txt is stale; make llms writes it anew: -pages +llms.txt\n%s", diff)
	}
}

func TestOutline(t *testing.T) {
	title, first, sections := outline("# A page\n\nFor [whoever](one.md)\nreads.\n\n```\n## no section\n```\n\n## One\n\n## Two\n")
	if title != "A page" || first != "For whoever reads." || !cmp.Equal(sections, []string{"One", "Two"}) {
		t.Errorf("%q, %q, %q", title, first, sections)
	}
}
