package discord

import (
	"context"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
)

// homeChannel is what the operators' channel is.
type homeChannel struct {
	known bool
	forum bool
	guild string
	tag   string // that each of a forum's posts needs; empty: none
}

// where returns what the operators' channel is, and asks when that is not known yet.
func (d *Discord) where(ctx context.Context) (homeChannel, error) {
	d.mu.Lock()
	h := d.home
	d.mu.Unlock()
	if h.known {
		return h, nil
	}
	c, err := d.homeNow(ctx)
	if err != nil {
		return homeChannel{}, err
	}
	h, fault := homeOf(c)
	if fault != nil {
		return homeChannel{}, fault
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.home = h
	return h, nil
}

// homeNow asks for the operators' channel.
func (d *Discord) homeNow(ctx context.Context) (c channel, err error) {
	err = d.get(ctx, opChannel, "/channels/"+d.channel, true, &c)
	return c, err
}

// homeOf says what a channel is to us.
func homeOf(c channel) (homeChannel, *bridge.DeliveryError) {
	h := homeChannel{known: true, guild: c.GuildID}
	switch c.Type {
	case discordgo.ChannelTypeGuildText, discordgo.ChannelTypeGuildNews:
	case discordgo.ChannelTypeGuildForum, discordgo.ChannelTypeGuildMedia:
		h.forum = true
		if c.Flags&discordgo.ChannelFlagRequireTag != 0 {
			h.tag = c.firstTag()
		}
	default:
		return homeChannel{}, &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeDestination, Op: opChannel, Detail: adviseKind}
	}
	return h, nil
}

// forget has the next call ask what the channel is.
func (d *Discord) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.home.known = false
}
