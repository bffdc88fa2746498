package discord

import (
	"context"
	"encoding/json"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// directory is what is known of the server: which of its channels are threads of the operators', and names. It is used under the
// adapter's lock; its zero value is empty. What it does not know can be asked for.
type directory struct {
	ours  map[string]bool   // a channel → whether it is a thread of the operators'
	names map[string]string // of channels and threads
	roles map[string]string
}

// maxKnown is how many channels are known at most; then it begins anew.
const maxKnown = 20_000

// add notes a channel or thread.
func (k *directory) add(c channel, home string) {
	if k.ours == nil || len(k.ours) >= maxKnown {
		k.ours, k.names = map[string]bool{}, map[string]string{}
	}
	k.ours[c.ID] = k.ours[c.ID] || c.Parent == home
	if c.Name != "" {
		k.names[c.ID] = c.Name
	}
}

func (k *directory) addRole(r role) {
	if r.ID == "" {
		return
	}
	if k.roles == nil {
		k.roles = map[string]string{}
	}
	k.roles[r.ID] = r.Name
}

// learn takes what the gateway tells of the server. Of other servers it learns nothing.
func (d *Discord) learn(kind string, data json.RawMessage) {
	var g struct {
		ID       string    `json:"id"`
		GuildID  string    `json:"guild_id"`
		Channels []channel `json:"channels"`
		Threads  []channel `json:"threads"`
		Roles    []role    `json:"roles"`
		Role     role      `json:"role"`
	}
	switch kind {
	case "GUILD_CREATE", "THREAD_LIST_SYNC", "GUILD_ROLE_CREATE", "GUILD_ROLE_UPDATE":
		if err := json.Unmarshal(data, &g); err != nil && !partly(err) {
			return
		}
		if kind == "GUILD_CREATE" {
			g.GuildID = g.ID
		}
	case "CHANNEL_CREATE", "CHANNEL_UPDATE", "THREAD_CREATE", "THREAD_UPDATE":
		var c channel
		if json.Unmarshal(data, &c) != nil || c.ID == "" {
			return
		}
		g.GuildID, g.Channels = c.GuildID, []channel{c}
	default:
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.GuildID != d.home.guild {
		return
	}
	for _, c := range append(g.Channels, g.Threads...) {
		d.known.add(c, d.channel)
		if c.ID != d.channel {
			continue
		}
		c.GuildID = g.GuildID // not told inside of a server
		if h, fault := homeOf(c); fault == nil {
			d.home = h // its kind or its tags may be others now
		}
	}
	for _, r := range append(g.Roles, g.Role) {
		d.known.addRole(r)
	}
}

// threadOf returns the thread that a channel of the server is; ours is false for any other channel.
func (d *Discord) threadOf(ctx context.Context, id string) (thread bridge.ThreadID, ours bool, err error) {
	if id == d.channel {
		return d.threadID(""), true, nil
	}
	d.mu.Lock()
	ours, known := d.known.ours[id]
	d.mu.Unlock()
	if known || flake(id) == 0 {
		return d.threadID(id), ours, nil
	}
	var c channel
	err = d.patiently(ctx, func() error { return d.get(ctx, opChannel, "/channels/"+flake(id).String(), false, &c) })
	switch {
	case err == nil:
		c.ID = id
	case platform.ReasonOf(err) == bridge.ReasonThreadGone, codeOf(err) == discordgo.ErrCodeMissingAccess, codeOf(err) == discordgo.ErrCodeMissingPermissions:
		c = channel{ID: id}
	default:
		return "", false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.add(c, d.channel)
	return d.threadID(id), d.known.ours[id], nil
}

// resolver returns the names that are known.
func (d *Discord) resolver() resolver {
	named := func(from func(id string) string) func(string) string {
		return func(id string) string {
			d.mu.Lock()
			defer d.mu.Unlock()
			return from(id)
		}
	}
	return resolver{
		user:    func(id string) string { name, _ := d.nicks.get(id); return name },
		role:    named(func(id string) string { return d.known.roles[id] }),
		channel: named(func(id string) string { return d.known.names[id] }),
	}
}

// nameOf returns the name that the server shows of a message's author, empty where that is not known. Live messages tell it;
// those that are read later do not, and it is asked for once.
func (d *Discord) nameOf(ctx context.Context, m *message, guildID string) string {
	if m.Author == nil || m.WebhookID != "" {
		return ""
	}
	who := m.Member
	if who == nil {
		name, known := d.nicks.get(m.Author.ID)
		if known || m.Author.Bot || flake(m.Author.ID) == 0 {
			return name
		}
		who = new(member)
		err := d.get(ctx, opMember, "/guilds/"+guildID+"/members/"+flake(m.Author.ID).String(), false, who)
		if err != nil && codeOf(err) == 0 {
			return "" // no answer of Discord's: the message tells a name too, and the next asks again
		}
	}
	name := platform.FirstOf(who.Nick, m.Author.GlobalName, m.Author.Name)
	d.nicks.put(m.Author.ID, name)
	return name
}
