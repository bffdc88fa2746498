package discord

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// forumPost is a forum's post that is made: a thread with its first message.
type forumPost struct {
	discordgo.ThreadStart
	Message post `json:"message"`
}

// OpenThread implements bridge.Platform. In a forum it is one step, a post with the session's card as its message. Elsewhere the
// card is sent to the channel, and then a thread is begun at it.
func (d *Discord) OpenThread(ctx context.Context, s *bridge.Session, o bridge.Opening) (bridge.ThreadID, string, error) {
	h, err := d.where(ctx)
	if err != nil {
		return "", "", err
	}
	card := cardPost(s, o.Buttons)
	var thread, step string
	switch {
	case h.forum:
		thread, err = d.openPost(ctx, s, o, h, card)
	case len(o.Done) == 0:
		step, err = d.openCard(ctx, o, card)
	default:
		thread, err = d.openAt(ctx, s, o.Done[0])
	}
	switch err = d.orRoom(ctx, err); codeOf(err) {
	case codeForumMessage, discordgo.ErrCodeCannotSendMessagesInVoiceChannel, discordgo.ErrCodeCannotExecuteActionOnThisChannelType:
		d.forget() // it is another kind of channel than it was
	}
	if thread == "" || err != nil {
		return "", step, err
	}
	d.mu.Lock()
	d.known.add(channel{ID: thread, Parent: d.channel, Name: platform.ThreadName(s, maxName)}, d.channel)
	d.mu.Unlock()
	return d.threadID(thread), "", nil
}

// openCard sends the card of a thread to come, and returns its message.
func (d *Discord) openCard(ctx context.Context, o bridge.Opening, card post) (string, error) {
	card = card.withNonce(nonceOf(o.Key, "card"))
	found, err := d.sentBefore(ctx, d.channel, true, card, nil, bridge.Part{Since: o.Since})
	if found != "" || err != nil {
		return found, err
	}
	return d.create(ctx, call{op: opSend, body: card, isHomeChannel: true}, d.channel, card.Nonce)
}

func threadStart(s *bridge.Session) discordgo.ThreadStart {
	return discordgo.ThreadStart{Name: platform.ThreadName(s, maxName), AutoArchiveDuration: weekInMinutes}
}

// openAt begins a thread at a message. A message has one thread at most, and its id.
func (d *Discord) openAt(ctx context.Context, s *bridge.Session, card string) (string, error) {
	id, ok := parseSnowflake(card)
	if !ok {
		return "", &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: opThread, Detail: "it is no message of Discord's"}
	}
	err := d.rest.do(ctx, call{
		op: opThread, method: http.MethodPost, path: "/channels/" + d.channel + "/messages/" + id.String() + "/threads",
		body: threadStart(s), isHomeChannel: true, idempotent: true,
	}, nil)
	if codeOf(err) == discordgo.ErrCodeThreadAlreadyCreatedForThisMessage {
		err = nil
	}
	return id.String(), err
}

// openPost makes a forum's post. Discord knows no nonce for posts: one that may be there already is looked for.
func (d *Discord) openPost(ctx context.Context, s *bridge.Session, o bridge.Opening, h homeChannel, card post) (string, error) {
	if !o.Since.IsZero() {
		if found, err := d.postedBefore(ctx, h, s, o.Since); found != "" || err != nil {
			return found, err
		}
	}
	body := forumPost{threadStart(s), card}
	if h.tag != "" {
		body.AppliedTags = []string{h.tag}
	}
	c := call{op: opPost, method: http.MethodPost, path: "/channels/" + d.channel + "/threads", body: body, isHomeChannel: true}
	var made channel
	if err := d.rest.do(ctx, c, &made); err != nil {
		if code := codeOf(err); code == codeTagNeeded || code == codeNoOpenTag {
			d.forget() // the forum's tags are others than they were
		}
		return "", err
	}
	if made.ID == "" {
		return "", unreadable(c)
	}
	return made.ID, nil
}

// postedBefore looks for a session's post among those that were made since. A post is known by the session that its card names.
func (d *Discord) postedBefore(ctx context.Context, h homeChannel, s *bridge.Session, since time.Time) (string, error) {
	me, err := d.me(ctx)
	if err != nil {
		return "", err
	}
	from := d.sentFrom(since)
	threads, err := d.threadsSince(ctx, h, from)
	if err != nil {
		return "", err
	}
	for _, t := range threads {
		if t.Owner != me || flake(t.ID) < from {
			continue
		}
		var first message
		err := d.get(ctx, opMessage, "/channels/"+t.ID+"/messages/"+t.ID, false, &first)
		switch platform.ReasonOf(err) {
		case "":
		case bridge.ReasonMessageGone, bridge.ReasonThreadGone:
			continue
		default:
			return "", err
		}
		if len(first.Embeds) > 0 && first.Embeds[0].Footer != nil && first.Embeds[0].Footer.Text == footerOf(s) {
			return t.ID, nil
		}
	}
	return "", nil
}

// threadsSince returns the channel's threads that are active, or were archived after the time of an id.
func (d *Discord) threadsSince(ctx context.Context, h homeChannel, since snowflake) ([]channel, error) {
	found, err := d.active(ctx, h)
	if err != nil {
		return nil, err
	}
	after := since.time().Add(-clockSlack)
	before := ""
	for {
		query := url.Values{"limit": {"100"}}
		if before != "" {
			query.Set("before", before)
		}
		var page threadList
		err := d.rest.do(ctx, call{
			op: opArchived, method: http.MethodGet, path: "/channels/" + d.channel + "/threads/archived/public", query: query.Encode(),
			isHomeChannel: true, idempotent: true,
		}, &page)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Threads {
			if t.Thread == nil || t.Thread.ArchiveTimestamp.Before(after) {
				return found, nil // they come with the one that was archived last in front
			}
			found = append(found, t)
		}
		if !page.More || len(page.Threads) == 0 {
			return found, nil
		}
		before = page.Threads[len(page.Threads)-1].Thread.ArchiveTimestamp.Format(time.RFC3339Nano)
	}
}

// active returns the channel's threads that are not archived.
func (d *Discord) active(ctx context.Context, h homeChannel) ([]channel, error) {
	var all threadList
	if err := d.get(ctx, opActive, "/guilds/"+h.guild+"/threads/active", true, &all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all.Threads, func(t channel) bool { return t.Parent != d.channel }), nil
}

// ThreadName implements bridge.ThreadRenamer.
func (d *Discord) ThreadName(s *bridge.Session) string { return platform.ThreadName(s, maxName) }

// longWait is from when on a new name is not worth waiting for: what is to be shown in the thread would wait too.
const longWait = 20 * time.Second

// NameOf implements bridge.ThreadNamer.
func (d *Discord) NameOf(ctx context.Context, thread bridge.ThreadID) (string, error) {
	place, isHome, fault := d.find(thread, opRename)
	if fault != nil || isHome {
		return "", platform.OrNil(fault)
	}
	var there struct {
		Name string `json:"name"`
	}
	err := d.get(ctx, opRename, "/channels/"+place, false, &there)
	return there.Name, err
}

// RenameThread implements bridge.ThreadRenamer. Discord lets a thread be renamed twice in ten minutes. One that was renamed too
// often keeps its name, as success: its card shows the new one.
func (d *Discord) RenameThread(ctx context.Context, thread bridge.ThreadID, name string) error {
	place, isHome, fault := d.find(thread, opRename)
	if fault != nil || isHome {
		return platform.OrNil(fault)
	}
	if until, _ := d.named.get(place); d.rest.now().Before(until) {
		return nil
	}
	err := d.rest.do(ctx, call{
		op: opRename, method: http.MethodPatch, path: "/channels/" + place, idempotent: true, separateLimit: true,
		body: discordgo.ChannelEdit{Name: measure.OneLine(name, maxName)},
	}, nil)
	limited, ok := limitOf(err)
	if !ok || limited.Scope != bridge.ScopeSession || limited.RetryAfter < longWait {
		return err
	}
	d.named.put(place, d.rest.now().Add(limited.RetryAfter))
	d.log.Info("a thread keeps its name: Discord allows two new ones in ten minutes", "op", opRename, "thread", place)
	return nil
}

// CloseThread implements bridge.ThreadCloser: the thread is archived. Whoever writes there opens it again. That the bot may not archive
// it is not worth holding the channel up.
func (d *Discord) CloseThread(ctx context.Context, thread bridge.ThreadID) error {
	place, isHome, fault := d.find(thread, opArchive)
	if fault != nil || isHome {
		return platform.OrNil(fault)
	}
	err := d.patchThread(ctx, place, discordgo.ChannelEdit{Archived: new(true)}, nil)
	switch {
	case platform.ReasonOf(err) == bridge.ReasonClosed:
		return nil
	case codeOf(err) == discordgo.ErrCodeMissingPermissions:
		refused := *bridge.AsDelivery(err, opArchive, "")
		refused.Reason, refused.Scope = bridge.ReasonRejected, bridge.ScopeSession
		return &refused
	}
	return err
}

// ReopenThread implements bridge.ThreadReopener. A thread that somebody locked and that the bot may not unlock is given up for a
// new one, so that what waits for it is shown.
func (d *Discord) ReopenThread(ctx context.Context, thread bridge.ThreadID) error {
	place, isHome, fault := d.find(thread, opArchive)
	if fault != nil || isHome {
		return platform.OrNil(fault)
	}
	var now channel
	err := d.patchThread(ctx, place, discordgo.ChannelEdit{Archived: new(false), Locked: new(false)}, &now)
	if codeOf(err) == discordgo.ErrCodeMissingPermissions || platform.ReasonOf(err) == bridge.ReasonClosed {
		// To unlock takes the permission Manage Threads; to open what is not locked does not.
		err = d.patchThread(ctx, place, discordgo.ChannelEdit{Archived: new(false)}, &now)
	}
	locked := err == nil && now.Thread != nil && now.Thread.Locked
	if locked || codeOf(err) == discordgo.ErrCodeMissingPermissions || platform.ReasonOf(err) == bridge.ReasonClosed {
		return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: opArchive,
			Detail: "somebody locked the thread, and the bot lacks the permission Manage Threads to unlock it"}
	}
	return d.orRoom(ctx, err)
}

// orRoom returns the error of a call, and makes room for its next attempt where the server had too many active threads.
func (d *Discord) orRoom(ctx context.Context, err error) error {
	switch codeOf(err) {
	case discordgo.ErrCodeMaximumNumberOfActiveThreadsReached, discordgo.ErrCodeMaximumNumberOfActiveAnnouncementThreadsReached:
	default:
		return err
	}
	h, asked := d.where(ctx)
	if asked != nil {
		return asked
	}
	return d.makeRoom(ctx, h, err)
}

func (d *Discord) patchThread(ctx context.Context, place string, edit discordgo.ChannelEdit, dest any) error {
	return d.rest.do(ctx, call{op: opArchive, method: http.MethodPatch, path: "/channels/" + place, body: edit, idempotent: true}, dest)
}

// sentBefore looks for a message that may have been sent already, and returns its id, or nothing. For some minutes Discord itself
// recognises it; after that it is looked for among what the place shows since it was sent.
func (d *Discord) sentBefore(ctx context.Context, place string, isHome bool, m post, files []bridge.File, p bridge.Part) (string, error) {
	since, face := p.Since, faceName(p.Face)
	if isHome {
		face = ""
	}
	// A webhook's message has no nonce: it is always looked for.
	if since.IsZero() || face == "" && d.rest.now().Sub(since) < nonceFor {
		return "", nil
	}
	faced := m
	faced.Content = facedText(p)
	me, err := d.me(ctx)
	if err != nil {
		return "", err
	}
	after, _ := d.looked.get(m.Nonce)
	for after = max(after, d.sentFrom(since)); ; {
		page, err := d.messagesAfter(ctx, place, isHome, after)
		if err != nil {
			return "", err
		}
		for _, shown := range page {
			after = max(after, flake(shown.ID))
			own := shown.Author != nil && shown.Author.ID == me && shown.WebhookID == "" && d.isSame(&shown, m, files)
			if own || face != "" && shown.WebhookID != "" && shown.Author != nil && shown.Author.Name == face && d.isSame(&shown, faced, files) {
				d.remember(shown.ID, m.Nonce)
				return shown.ID, nil
			}
		}
		if len(page) < pageOfMessages {
			return "", nil
		}
		// There may be more pages than calls are allowed at once: the next attempt goes on from here.
		if m.Nonce != "" {
			d.looked.put(m.Nonce, after)
		}
	}
}

// sentFrom returns the lowest id that something sent since then can have.
func (d *Discord) sentFrom(since time.Time) snowflake {
	skew := d.rest.clock().Sub(d.rest.now())
	return snowflakeAt(since.Add(skew - clockSlack))
}

// isSame says whether a shown message is the one that is to be sent. Its nonce tells, where Discord still has it, or we do;
// else what it shows.
func (d *Discord) isSame(shown *message, m post, files []bridge.File) bool {
	nonce, _ := d.sent.get(shown.ID)
	if nonce = cmp.Or(nonce, shown.nonce()); nonce != "" && m.Nonce != "" {
		return nonce == m.Nonce
	}
	if len(m.Embeds) > 0 {
		return len(shown.Embeds) > 0 && shown.Embeds[0].Footer != nil && shown.Embeds[0].Footer.Text == m.Embeds[0].Footer.Text
	}
	return withoutCalls(shown.content()) == withoutCalls(m.Content) &&
		slices.EqualFunc(shown.Attachments, files, func(a attachment, f bridge.File) bool { return a.Size == f.Size })
}

func withoutCalls(text string) string { return strings.TrimSpace(callLine.ReplaceAllString(text, "")) }

// pageOfMessages is how many messages are asked for at once, the most that there are.
const pageOfMessages = 100

// messagesAfter returns the oldest messages of a place that are younger than an id, a page at most, oldest first.
func (d *Discord) messagesAfter(ctx context.Context, place string, isHome bool, after snowflake) ([]message, error) {
	var page []message
	err := d.rest.do(ctx, call{
		op: opMessages, method: http.MethodGet, path: "/channels/" + place + "/messages",
		query: url.Values{"after": {after.String()}, "limit": {"100"}}.Encode(), isHomeChannel: isHome, idempotent: true,
	}, &page)
	slices.SortFunc(page, func(a, b message) int { return cmp.Compare(flake(a.ID), flake(b.ID)) })
	return page, err
}

// limitOf returns the refusal for pace that an error is.
func limitOf(err error) (*bridge.DeliveryError, bool) {
	if platform.ReasonOf(err) != bridge.ReasonRateLimited {
		return nil, false
	}
	return bridge.AsDelivery(err, "", ""), true
}
