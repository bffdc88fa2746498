package main

import (
	"regexp"
	"runtime/debug"
)

// version is set by the linker; see the Makefile.
var version = ""

// revisionLen is how much of a commit's hash is shown: as much as Go shows in a version that it makes up.
const revisionLen = 12

// buildVersion is the version that was linked in, else what Go put into the program.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return versionOf(info)
	}
	return "dev"
}

// versionOf returns a module's version as go install gets it, or the tag or the commit of the clone in which the program was
// built, with +dirty where files had been changed. Where nothing is known, as in a build without git, it is dev.
func versionOf(info *debug.BuildInfo) string {
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	made := info.Main.Version
	// Go makes up a version for a commit without a tag: time and hash. The hash alone says as much.
	madeUp := regexp.MustCompile(`\d{14}-[0-9a-f]{12}(\+.*)?$`).MatchString(made)
	switch {
	case made != "" && made != "(devel)" && (revision == "" || !madeUp):
		return made
	case revision != "":
		return revision[:min(len(revision), revisionLen)] + dirty
	}
	return "dev"
}
