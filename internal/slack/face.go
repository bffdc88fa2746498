package slack

import (
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// shownUnder returns the name and the icon that a message is shown under: those of whoever speaks, else those of the configuration. They
// take the scope chat:write.customize; without it Slack shows the app's own (https://docs.slack.dev/reference/scopes/chat.write.customize).
func (s *Slack) shownUnder(f bridge.Face) (name, icon string) {
	if name = measure.OneLine(f.Name, maxUsername); name == "" {
		return s.config.Username, s.config.IconEmoji
	}
	return name, faceOf(f.Seed)
}

// faceOf returns an emoji for a person, always the same.
func faceOf(seed string) string { return ":" + platform.AnimalOf(seed).Name + ":" }
