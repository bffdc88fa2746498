package discord

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// answerFor is how long an interaction can be answered; Discord says 15 minutes.
	answerFor = 15*time.Minute - 10*time.Second
	// youngFor is how long an interaction may be unknown to Discord because its first answer is under way.
	youngFor = 15 * time.Second
	// firstAnswer is how long the first answer to an interaction may take; Discord says 3 seconds.
	firstAnswer = 2500 * time.Millisecond
)

// thinking is the answer that another one follows, seen by the operator alone.
func thinking() *discordgo.InteractionResponse {
	return &discordgo.InteractionResponse{
		Type: discordgo.InteractionResponseDeferredChannelMessageWithSource,
		Data: &discordgo.InteractionResponseData{Flags: discordgo.MessageFlagsEphemeral},
	}
}

func (d *Discord) wrongPlace() *discordgo.InteractionResponse {
	return &discordgo.InteractionResponse{
		Type: discordgo.InteractionResponseChannelMessageWithSource,
		Data: &discordgo.InteractionResponseData{
			Content: words.Get().WorksInChannel.With("<#" + d.channel + ">"), Flags: discordgo.MessageFlagsEphemeral, AllowedMentions: allowed(nil),
		},
	}
}

// interact takes an interaction: a command or a press is handed to the inbox before it is answered. What is neither has no answer.
func (d *Discord) interact(ctx context.Context, in *interaction, inbox bridge.Inbox) (*discordgo.InteractionResponse, error) {
	who := member{User: in.User}
	if m := in.Member; m != nil {
		who = member{User: cmp.Or(m.User, in.User), Nick: m.Nick}
	}
	isPress := in.Type == discordgo.InteractionMessageComponent && in.Data.CustomID != "" && in.Message != nil
	if in.Type != discordgo.InteractionApplicationCommand && !isPress || flake(in.ID) == 0 || who.User == nil || in.Token == "" {
		return nil, nil
	}
	h, err := d.where(ctx)
	if err != nil {
		return nil, err
	}
	if in.GuildID != h.guild {
		return d.wrongPlace(), nil
	}
	thread, ours, err := d.threadOf(ctx, in.ChannelID)
	if err != nil {
		return nil, err
	}
	if !ours {
		return d.wrongPlace(), nil
	}
	author, ok := memberOf(who.User.ID, &who, view{testBots: d.testBots})
	if !ok {
		return nil, nil
	}
	if isPress {
		return thinking(), inbox.Accept(ctx, d.press(in, thread, author))
	}
	cmd := in.command()
	return thinking(), inbox.Accept(ctx, bridge.Update{
		ID: "interaction:" + flake(in.ID).String(), Kind: bridge.UpdateMessage, Thread: thread, Message: d.seal(in), Author: author,
		Text: strings.TrimSpace("/" + cmd.Name + " " + cmd.Args), Command: cmd, Slash: true,
	})
}

// command returns what is asked for. What was typed into the menu's fields is put together as the command is written.
func (in *interaction) command() *bridge.Command {
	cmd := &bridge.Command{Name: strings.ToLower(in.Data.Name)}
	known, ok := bridge.FindCommand(cmd.Name)
	if ok {
		cmd.Name = known.Name
	}
	given := slices.Clone(in.Data.Options)
	place := func(name string) int {
		return slices.IndexFunc(known.Options, func(o bridge.CommandOption) bool { return o.Name == name })
	}
	slices.SortStableFunc(given, func(a, b option) int { return cmp.Compare(place(a.Name), place(b.Name)) })
	for _, o := range given {
		var text string
		if json.Unmarshal(o.Value, &text) != nil {
			text = string(o.Value)
		}
		if i := place(o.Name); i >= 0 && known.Options[i].Person {
			text = "<@" + text + ">"
		}
		cmd.Args = platform.Joined(" ", cmd.Args, text)
	}
	return cmd
}

// handleCommands takes the slash commands that come by the gateway. It returns what the inbox returned, or nil when nothing comes
// any more.
func (d *Discord) handleCommands(ctx context.Context, from *eventQueue, inbox bridge.Inbox) error {
	for {
		it, none, err := from.next(ctx, time.Hour)
		if err != nil {
			return nil
		}
		if none {
			continue
		}
		if err := d.handleCommand(ctx, it.data, inbox); err != nil {
			return err
		}
	}
}

func (d *Discord) handleCommand(ctx context.Context, data json.RawMessage, inbox bridge.Inbox) error {
	var in interaction
	if err := json.Unmarshal(data, &in); err != nil && !partly(err) {
		d.log.Warn("an interaction cannot be read and is skipped", "op", opGateway)
		return nil
	}
	defer d.expect(in.ID)()
	r, err := d.interact(ctx, &in, inbox)
	if err != nil {
		// A call of Discord's that failed is this command's alone; what the inbox refuses stops the receiver.
		if platform.ReasonOf(err) != "" && ctx.Err() == nil {
			d.log.Warn("a slash command could not be taken", "op", opCallback, "err", err)
			return nil
		}
		return err
	}
	if r == nil {
		return nil
	}
	err = d.rest.do(ctx, call{
		op: opCallback, method: http.MethodPost, path: "/interactions/" + flake(in.ID).String() + "/" + in.Token + "/callback",
		body: r, pathToken: bridge.Secret(in.Token), idempotent: true,
	}, nil)
	if err != nil && codeOf(err) != discordgo.ErrCodeInteractionHasAlreadyBeenAcknowledged && ctx.Err() == nil {
		// The answer itself is then an ordinary message.
		d.log.Info("a slash command was taken and could not be acknowledged in time", "op", opCallback, "err", err)
	}
	return nil
}

// expect notes that an interaction's first answer is under way; it is when the returned function is called. Until then Discord
// knows no message that could become the answer proper.
func (d *Discord) expect(id string) (answered func()) {
	underWay := make(chan bool)
	id = flake(id).String()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending[id] = underWay
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.pending[id] == underWay {
			delete(d.pending, id)
		}
		close(underWay)
	}
}

// A reply to an interaction is a reply to the message interaction/<application>/<interaction>/<token>. The token is sealed: message
// ids are stored, logged and told to others, and whoever has the token can write in the bot's name. The parts after the first reply
// to the same with /more behind it.

const (
	interactionMark = "interaction/"
	moreMark        = "/more"
)

func isInteraction(id bridge.MessageID) bool { return strings.HasPrefix(string(id), interactionMark) }

// followUp returns what the parts of a message after its first reply to: nothing, but for an answer to an interaction.
func followUp(id bridge.MessageID) bridge.MessageID {
	if !isInteraction(id) {
		return ""
	}
	return id + moreMark
}

// sealing is the cipher for tokens; every bridge with the bot's token has the same.
func (d *Discord) sealing() (cipher.AEAD, error) {
	key := sha256.Sum256([]byte("interaction\x00" + d.token.Reveal()))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (d *Discord) seal(in *interaction) bridge.MessageID {
	names := interactionMark + flake(in.ApplicationID).String() + "/" + flake(in.ID).String()
	box, err := d.sealing()
	if err != nil {
		return bridge.MessageID(names + "/")
	}
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	sealed := box.Seal(nonce, nonce, []byte(in.Token), []byte(names))
	return bridge.MessageID(names + "/" + base64.RawURLEncoding.EncodeToString(sealed))
}

// reference is an interaction that is answered.
type reference struct {
	application string
	id          snowflake
	token       bridge.Secret
	more        bool // its answer has begun
}

// unseal reads what seal wrote.
func (d *Discord) unseal(id bridge.MessageID) (ref reference, ok bool) {
	text, more := strings.CutSuffix(string(id), moreMark)
	parts := strings.Split(text, "/")
	if len(parts) != 4 {
		return reference{}, false
	}
	ref = reference{application: flake(parts[1]).String(), id: flake(parts[2]), more: more}
	sealed, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return reference{}, false
	}
	box, err := d.sealing()
	if err != nil || len(sealed) < box.NonceSize() {
		return reference{}, false
	}
	names := []byte(strings.Join(parts[:3], "/"))
	token, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], names)
	if err != nil {
		return reference{}, false
	}
	ref.token = bridge.Secret(token)
	return ref, true
}

// answer answers an interaction: the operator alone sees it. late says that this is not possible any more.
func (d *Discord) answer(ctx context.Context, thread bridge.ThreadID, p bridge.Part) (id string, late bool, err error) {
	ref, ok := d.unseal(p.ReplyTo)
	age := d.rest.clock().Sub(ref.id.time())
	if !ok || age > answerFor {
		return "", true, nil
	}
	if err := d.answered(ctx, ref.id); err != nil {
		return "", false, err
	}
	hook := "/webhooks/" + ref.application + "/" + ref.token.Reveal()
	c := call{
		op: opAnswer, method: http.MethodPatch, path: hook + "/messages/@original", pathToken: ref.token, idempotent: true,
		body: textEdit(p, buttonMark(thread)),
	}
	if ref.more {
		c.op, c.method, c.path, c.idempotent = opFollow, http.MethodPost, hook, false
		c.body = discordgo.WebhookParams{
			Content: p.Text, AllowedMentions: allowed(p.Mention), Flags: discordgo.MessageFlagsEphemeral, Components: components(p.Buttons, buttonMark(thread)),
		}
	}
	var sent executed
	err = d.rest.do(ctx, c, &sent)
	switch codeOf(err) {
	case discordgo.ErrCodeUnknownInteraction, discordgo.ErrCodeInvalidWebhookTokenProvided, discordgo.ErrCodeUnknownWebhook,
		discordgo.ErrCodeUnknownMessage:
		if age > youngFor {
			return "", true, nil
		}
		return "", false, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: c.op, Detail: "Discord does not know the interaction yet"}
	}
	if err == nil && sent.ID == "" {
		return "", false, unreadable(c)
	}
	return sent.ID, false, err
}

// answered waits until an interaction's first answer was given, if this process is about to give it.
func (d *Discord) answered(ctx context.Context, id snowflake) error {
	d.mu.Lock()
	underWay := d.pending[id.String()]
	d.mu.Unlock()
	if underWay == nil {
		return nil
	}
	timer := time.NewTimer(firstAnswer)
	defer timer.Stop()
	select {
	case <-underWay:
	case <-timer.C:
	case <-ctx.Done():
		return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opAnswer, Detail: "cancelled"}
	}
	return nil
}

// setMenu registers the slash commands with the server, unless they are there as they should be. They are the server's, since those
// for everywhere would show in other places too.
func (d *Discord) setMenu(ctx context.Context, h homeChannel) error {
	var app struct {
		ID string `json:"id"`
	}
	err := d.patiently(ctx, func() error { return d.get(ctx, opApp, "/applications/@me", true, &app) })
	if err != nil {
		return err
	}
	path := "/applications/" + flake(app.ID).String() + "/guilds/" + h.guild + "/commands"
	var there []*discordgo.ApplicationCommand
	if err = d.patiently(ctx, func() error { return d.get(ctx, opMenu, path, true, &there) }); err != nil {
		return err
	}
	want := menu()
	if menuText(there) == menuText(want) {
		return nil
	}
	return d.patiently(ctx, func() error {
		return d.rest.do(ctx, call{op: opSetMenu, method: http.MethodPut, path: path, body: want, isHomeChannel: true, idempotent: true}, nil)
	})
}
