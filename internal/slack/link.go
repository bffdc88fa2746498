package slack

import (
	"net/url"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

var (
	_ bridge.Home         = (*Slack)(nil)
	_ bridge.ThreadLinker = (*Slack)(nil)
)

// HomeSetting implements bridge.Home.
func (s *Slack) HomeSetting() (name, value string) { return "SLACK_CHANNEL_ID", s.channel }

// ThreadLink implements bridge.ThreadLinker: the permanent link of the thread's first message, as chat.getPermalink gives it. Without the
// workspace's address, which auth.test tells, there is none.
func (s *Slack) ThreadLink(thread bridge.ThreadID) string {
	channel, ts, _ := strings.Cut(string(thread), "/")
	s.mu.Lock()
	home := s.home
	s.mu.Unlock()
	u, err := url.Parse(home)
	if !isTS(ts) || err != nil || u.Host == "" {
		return ""
	}
	return strings.TrimRight(home, "/") + "/archives/" + channel + "/p" + strings.Replace(ts, ".", "", 1)
}
