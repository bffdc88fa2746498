package slack

import (
	"hash/fnv"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
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
func faceOf(seed string) string {
	faces := [...]string{
		"fox_face", "bear", "panda_face", "koala", "tiger", "lion_face", "cow", "pig", "frog", "monkey_face", "chicken", "penguin",
		"bird", "hatched_chick", "wolf", "boar", "horse", "unicorn_face", "honeybee", "butterfly", "snail", "beetle", "turtle", "octopus",
		"tropical_fish", "dolphin", "whale", "elephant", "camel", "rabbit", "mouse", "hamster", "cat", "dog", "owl", "eagle",
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(seed))
	return ":" + faces[h.Sum32()%uint32(len(faces))] + ":"
}
