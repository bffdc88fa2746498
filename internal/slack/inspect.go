package slack

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
)

var _ bridge.Inspector = (*Slack)(nil)

// Inspect implements bridge.Inspector: who the bot is, which scopes the app has, what the channel is, and whether a socket would be
// given. Slack promises one socket a minute, which is Listen's where it receives.
func (s *Slack) Inspect(ctx context.Context, receives bool) (in bridge.Inspection) {
	switch {
	case s.config.AppToken != "":
		in.Hears = "socket"
	case s.config.SigningSecret != "":
		in.Hears = "events"
	}
	var me struct {
		Name string `json:"user"`
		Team string `json:"team"`
	}
	header, err := s.doWithHeader(ctx, opMe, &me, func(ctx context.Context) error { return only(s.api.AuthTestContext(ctx)) })
	if err != nil {
		in.Lacks = append(in.Lacks, s.lack("SLACK_BOT_TOKEN", err))
		return in
	}
	in.Bot = "@" + me.Name
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		in.Clock = time.Since(at)
	}
	scopes := scopesOf(header)
	if missing := lacking(scopes, s.config); len(missing) > 0 {
		in.Lacks = append(in.Lacks, "SLACK_BOT_TOKEN: the app lacks the scopes "+strings.Join(missing, ", ")+"; add them under OAuth & Permissions "+
			"and install it again, or make it anew from deploy/slack-manifest.yaml")
	}
	var lacks []string
	in.Place, lacks = s.channelLacks(ctx, in.Bot, scopes)
	if in.Place != "" && me.Team != "" {
		in.Place += " of " + me.Team
	}
	in.Lacks = append(in.Lacks, lacks...)
	if s.config.AppToken != "" && !receives {
		err := s.do(ctx, opSocket, nil, func(ctx context.Context) error {
			_, _, err := s.api.StartSocketModeContext(ctx)
			return err
		})
		if err != nil {
			in.Lacks = append(in.Lacks, s.lack("SLACK_APP_TOKEN", err))
		}
	}
	return in
}

// channelLacks looks at the channel: by what Slack says of it where the app may ask, else by reading in it.
func (s *Slack) channelLacks(ctx context.Context, self string, scopes []string) (place string, lacks []string) {
	var c struct {
		Channel struct {
			Name     string `json:"name"`
			Member   bool   `json:"is_member"`
			Archived bool   `json:"is_archived"`
			Private  bool   `json:"is_private"`
			Direct   bool   `json:"is_im"`
		} `json:"channel"`
	}
	const setting = "SLACK_CHANNEL_ID"
	err := s.read(ctx, opChannel, &c, func(ctx context.Context) error {
		return only(s.api.GetConversationInfoContext(ctx, &slackapi.GetConversationInfoInput{ChannelID: s.channel}))
	})
	if d := bridge.AsDelivery(err, "", ""); d != nil && strings.HasPrefix(d.Detail, "missing_scope") {
		if _, err := s.page(ctx, query{}, func(*message) bool { return true }); err != nil {
			return "", []string{s.lack(setting, err)}
		}
		return "the channel " + s.channel, nil
	}
	if err != nil {
		return "", []string{s.lack(setting, err)}
	}
	place = "#" + c.Channel.Name
	if c.Channel.Direct {
		return "a direct conversation", nil
	}
	switch {
	case c.Channel.Archived:
		lacks = append(lacks, setting+": "+place+" is archived; take it out of the archive, or name another channel")
	case !c.Channel.Member && (c.Channel.Private || !slices.Contains(scopes, "channels:join")):
		lacks = append(lacks, setting+": "+self+" is not in "+place+"; write /invite "+self+" there")
	}
	return place, lacks
}

// lack says why something could not be asked for: Slack refuses it, or cannot be reached.
func (s *Slack) lack(setting string, err error) string {
	d := bridge.AsDelivery(err, "", "it could not be asked")
	switch d.Reason {
	case bridge.ReasonRateLimited:
		return setting + ": Slack does not say now whether it is right (" + d.Detail + "); ask again in a minute"
	case bridge.ReasonTransient, bridge.ReasonUnconfirmed:
		host := s.base
		if u, err := url.Parse(host); err == nil {
			host = u.Host
		}
		return "SLACK_API_URL: Slack cannot be asked (" + d.Detail + "); see that this machine reaches " + host
	}
	return setting + ": " + d.Detail
}
