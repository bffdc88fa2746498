package slack

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	maxNames    = 5000
	nameAge     = time.Hour
	nobodyAge   = time.Minute     // of an id whose name could not be learnt
	namesWithin = 4 * time.Second // for all names of a message; what is not known by then is shown as its id
)

// name is what a user or a channel is called.
type name struct {
	is    string // empty: not known
	until time.Time
}

// lookUp returns what users and channels are called, as far as that is known or can be learnt soon.
func (s *Slack) lookUp(ctx context.Context, ids []string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, namesWithin)
	defer cancel()
	out := map[string]string{}
	for _, id := range ids {
		s.mu.Lock()
		known := s.names[id]
		s.mu.Unlock()
		if time.Now().After(known.until) && ctx.Err() == nil {
			known = s.learn(ctx, id, known.is)
		}
		if known.is != "" {
			out[id] = known.is
		}
	}
	return out
}

// learn asks Slack what somebody is called. A name from before is better than none.
func (s *Slack) learn(ctx context.Context, id, before string) name {
	is, err := s.ask(ctx, id)
	known := name{is: cmp.Or(is, before), until: time.Now().Add(nameAge)}
	if err != nil {
		known.until = time.Now().Add(nobodyAge)
		s.log.Debug("a name could not be learnt", "op", opUser, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) >= maxNames {
		clear(s.names)
	}
	s.names[id] = known
	return known
}

func (s *Slack) ask(ctx context.Context, id string) (string, error) {
	if strings.HasPrefix(id, "C") || strings.HasPrefix(id, "G") {
		var c struct {
			Channel struct {
				Name string `json:"name"`
			} `json:"channel"`
		}
		err := s.read(ctx, opChannel, &c, func(ctx context.Context) error {
			return only(s.api.GetConversationInfoContext(ctx, &slackapi.GetConversationInfoInput{ChannelID: id}))
		})
		return measure.OneLine(c.Channel.Name, platform.MaxLine), err
	}
	var u struct {
		User struct {
			Name     string `json:"name"`
			RealName string `json:"real_name"`
			Profile  struct {
				DisplayName string `json:"display_name"`
				RealName    string `json:"real_name"`
			} `json:"profile"`
		} `json:"user"`
	}
	err := s.read(ctx, opUser, &u, func(ctx context.Context) error { return only(s.api.GetUserInfoContext(ctx, id)) })
	return firstName(u.User.Profile.DisplayName, u.User.Profile.RealName, u.User.RealName, u.User.Name), err
}

// firstName returns the first of some names of which something is to be seen, in a line.
func firstName(names ...string) string {
	for _, is := range names {
		if is = measure.OneLine(is, platform.MaxLine); !measure.IsBlank(is) {
			return is
		}
	}
	return ""
}

// complete returns what the event does not tell of its files: Slack leaves out what is another workspace's
// (https://docs.slack.dev/reference/objects/file-object, file_access: check_file_info). What cannot be learnt soon stays unknown.
func (s *Slack) complete(ctx context.Context, e *message) map[string]file {
	ctx, cancel := context.WithTimeout(ctx, namesWithin)
	defer cancel()
	out := map[string]file{}
	for _, m := range []*message{e, e.Message} {
		if m == nil {
			continue
		}
		for _, f := range m.Files {
			if f.ID == "" || !f.isPartial() || len(out) >= maxNamed || ctx.Err() != nil {
				continue
			}
			of, err := s.info(ctx, f.ID)
			if err != nil {
				s.log.Warn("what a file is could not be learnt; it is passed on without its name", "op", opFile, "err", err)
				continue
			}
			out[f.ID] = of.File.file
		}
	}
	return out
}

// ensureIdentity learns who the bot is, unless that is known or was asked for a moment ago.
func (s *Slack) ensureIdentity(ctx context.Context) {
	now := time.Now()
	s.mu.Lock()
	asks := s.me.user == "" && !now.Before(s.askMe)
	if asks {
		s.askMe = now.Add(meAgain)
	}
	s.mu.Unlock()
	if !asks {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesWithin)
	defer cancel()
	if _, err := s.learnIdentity(ctx); err != nil {
		s.log.Warn("who the bot is is not known yet", "op", opMe, "err", err)
	}
}

// meAgain lies between two attempts to learn who we are while requests wait for it.
const meAgain = 30 * time.Second

// learnIdentity learns who the bot is, and returns its scopes; none where Slack does not tell them.
func (s *Slack) learnIdentity(ctx context.Context) ([]string, error) {
	var me struct {
		User string `json:"user_id"`
		Bot  string `json:"bot_id"`
		URL  string `json:"url"` // the workspace's
	}
	header, err := s.doWithHeader(ctx, opMe, &me, func(ctx context.Context) error { return only(s.api.AuthTestContext(ctx)) })
	if err != nil {
		return nil, repeatable(err)
	}
	s.mu.Lock()
	s.me, s.home = identity{user: me.User, bot: me.Bot}, me.URL
	s.mu.Unlock()
	return scopesOf(header), nil
}

// scopesOf are the scopes that Slack tells with an answer.
func scopesOf(header http.Header) []string {
	return strings.FieldsFunc(header.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
}

// view is what is known for reading an event, without names.
func (s *Slack) view() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	return view{channel: s.channel, me: s.me, testBots: platform.IDs(s.config.TestBotIDs), shares: maps.Clone(s.shares)}
}
