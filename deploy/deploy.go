// Package deploy has those of the files in its folder that the program shows.
package deploy

import _ "embed" // for the manifest

// SlackManifest is the manifest of the bridge's Slack app.
//
//go:embed slack-manifest.yaml
var SlackManifest string
