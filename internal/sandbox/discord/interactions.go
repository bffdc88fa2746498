package discord

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// answerWithin is the time that an application has for its first answer
// (https://docs.discord.com/developers/interactions/receiving-and-responding).
const answerWithin = 3 * time.Second

// interaction is the use of a command, or the press of a button.
type interaction struct {
	id       snowflake
	kind     int // 2: a command, 3: a button
	token    string
	name     string   // of a button: its custom_id
	pressed  *message // of a button: the message that has it
	user     *User
	channel  *channel
	at       time.Time
	state    int
	failed   bool // the endpoint gave no answer that can be shown
	original *message
	answers  []*message
}

// The states of an interaction.
const (
	unanswered = iota
	answered
	deferred
)

// Interaction is the use of a command, as UseCommand and Interactions return it.
type Interaction struct {
	ID       string
	Token    string
	Name     string
	User     string
	Channel  string
	Answered bool // in time, if only by "is thinking..."
	Deferred bool // "is thinking...": the answer is still to come
	// Failed is what the app shows as "The application did not respond".
	Failed bool
	// Answers are the messages that answered it, in their order, ephemeral ones too.
	Answers []Message
}

func (s *Server) showInteraction(i *interaction) Interaction {
	out := Interaction{
		ID: i.id.String(), Token: i.token, Name: i.name, User: i.user.ID, Channel: i.channel.id.String(),
		Answered: i.state != unanswered, Deferred: i.original != nil && i.original.flags&flagLoading != 0,
		Failed: i.failed || i.state == unanswered && time.Since(i.at) > answerWithin,
	}
	for _, m := range i.answers {
		out.Answers = append(out.Answers, s.show(m))
	}
	return out
}

func (i *interaction) forget(m *message) {
	i.answers = slices.DeleteFunc(i.answers, func(one *message) bool { return one == m })
	if i.original == m {
		i.original = nil
	}
}

// Interactions returns the uses of commands so far.
func (s *Server) Interactions() []Interaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Interaction
	for _, i := range s.interactions {
		out = append(out, s.showInteraction(i))
	}
	return out
}

// Ephemeral returns the ephemeral messages of a channel or thread, the oldest first.
func (s *Server) Ephemeral(channelID string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, i := range s.interactions {
		for _, m := range i.answers {
			if m.channel.id == flake(channelID) && m.flags&flagEphemeral != 0 {
				out = append(out, s.show(m))
			}
		}
	}
	return out
}

// UseCommand uses a command of the application's that is registered, with options by name: strings, ints and bools. The
// application is told by INTERACTION_CREATE, or by its endpoint if it has one. It returns at once.
func (s *Server) UseCommand(channelID, user, name string, options map[string]any) Interaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u := s.channels[flake(channelID)], s.users[flake(user)]
	if c == nil || u == nil || c.archived {
		s.fault("control: no open channel %q or no user %q", channelID, user)
		return Interaction{}
	}
	var command commandName
	for _, raw := range s.commands[c.guild.id] {
		if one := commandOf(raw); one.Name == name && command.Name == "" {
			command = one
		}
	}
	if command.Name == "" {
		s.fault("control: the application has no command %q", name)
		return Interaction{}
	}
	i := &interaction{id: s.newID(), kind: 2, token: newToken(160), name: name, user: u, channel: c, at: time.Now()}
	given := make([]object, 0, len(options))
	for _, name := range slices.Sorted(maps.Keys(options)) {
		kind := 3
		switch options[name].(type) {
		case int:
			kind = 4
		case bool:
			kind = 5
		}
		given = append(given, object{"name": name, "type": kind, "value": options[name]})
	}
	data := object{"id": command.ID, "name": name, "type": 1, "guild_id": c.guild.id}
	data.set("options", given, len(given) > 0)
	s.begin(i, data, nil)
	return s.showInteraction(i)
}

// begin tells the application of an interaction: by INTERACTION_CREATE, or by its endpoint if it has one.
func (s *Server) begin(i *interaction, data, more object) {
	s.interactions = append(s.interactions, i)
	c := i.channel
	member := s.wireMember(i.user, true)
	member["permissions"] = strconv.FormatUint(uint64(allPermissions), 10)
	payload := object{
		"id": i.id, "application_id": s.appID, "type": i.kind, "data": data, "guild_id": c.guild.id,
		"guild":      object{"id": c.guild.id, "locale": "en-US", "features": []string{}},
		"channel_id": c.id, "channel": s.wireChannel(c), "member": member, "token": i.token, "version": 1,
		"app_permissions": strconv.FormatUint(uint64(allPermissions), 10), "locale": "en-GB", "guild_locale": "en-US",
		"entitlements": []object{}, "authorizing_integration_owners": object{"0": c.guild.id}, "context": 0,
		"attachment_size_limit": s.options.MaxUpload,
	}
	maps.Copy(payload, more)
	if s.endpoint == "" {
		s.dispatch("INTERACTION_CREATE", 0, payload)
	} else {
		endpoint := s.endpoint
		s.back.Go(func() { s.deliver(endpoint, i, payload) })
	}
	s.back.Change()
}

// SetInteractionsEndpoint has interactions posted to an address instead of the gateway, as the application's settings do; an
// empty one takes it back. As the settings do it first asks the endpoint: a signed ping is to be answered with a pong, one with
// a wrong signature with 401.
func (s *Server) SetInteractionsEndpoint(ctx context.Context, endpoint string) error {
	if endpoint != "" {
		ping := object{"id": s.Application(), "application_id": s.Application(), "type": 1, "token": newToken(32), "version": 1}
		for _, valid := range []bool{true, false} {
			status, body, err := s.post(ctx, endpoint, ping, valid)
			if err != nil {
				return err
			}
			var pong struct{ Type int }
			switch {
			case !valid && status != http.StatusUnauthorized:
				return fmt.Errorf("the endpoint answered a wrong signature with %d", status)
			case valid && (status != http.StatusOK || json.Unmarshal(body, &pong) != nil || pong.Type != 1):
				return fmt.Errorf("the endpoint answered a ping with %d", status)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = endpoint
	return nil
}

// post posts an interaction, signed as Discord does: Ed25519 over the timestamp and the body
// (https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint).
func (s *Server) post(ctx context.Context, endpoint string, payload object, valid bool) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	body, err := json.Marshal(payload)
	if err != nil {
		return 0, nil, fmt.Errorf("interaction: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("interaction: the endpoint's address cannot be read")
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	signature := ed25519.Sign(s.key, append([]byte(at), body...))
	if !valid {
		signature[0] ^= 1
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Discord-Interactions/1.0 (+https://discord.com)")
	r.Header.Set("X-Signature-Ed25519", hex.EncodeToString(signature))
	r.Header.Set("X-Signature-Timestamp", at)
	response, err := s.options.InteractionClient.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("interaction: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return 0, nil, fmt.Errorf("interaction: %w", err)
	}
	return response.StatusCode, answer, nil
}

// deliver posts the use of a command to the endpoint and takes its answer: 200 with one, or 202 if it comes by the callback.
func (s *Server) deliver(endpoint string, i *interaction, payload object) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.back.Go(func() {
		select {
		case <-s.back.Closed():
			cancel()
		case <-ctx.Done():
		}
	})
	status, body, err := s.post(ctx, endpoint, payload, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.back.Change()
	switch {
	case err != nil || status != http.StatusOK && status != http.StatusAccepted:
		i.failed = i.state == unanswered
	case status == http.StatusOK && i.state == unanswered:
		q := &request{op: &operation{Name: "create_interaction_response", Body: "InteractionCallback"}, body: body}
		var problems []problem
		var value any
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		err := decoder.Decode(&value)
		if err == nil {
			err = s.checker.value(s.checker.shapes[q.op.Body], value, nil, &problems)
		}
		if err != nil || len(problems) > 0 {
			s.fault("the endpoint's answer to an interaction: %v", err)
			i.failed = true
			return
		}
		if _, err := s.respond(i, q); err != nil {
			s.back.Keep(err)
			i.failed = true
		}
	}
}

// createResponse takes the first answer to the use of a command.
func (s *Server) createResponse(q *request) (any, error) {
	for _, i := range s.interactions {
		if i.id != q.id("interaction_id") || i.token != q.vars["interaction_token"] {
			continue
		}
		switch {
		case i.state != unanswered:
			return nil, refuse(http.StatusBadRequest, 40060, "Interaction has already been acknowledged.")
		case i.failed || time.Since(i.at) > answerWithin:
			return nil, errUnknown(10062, "interaction")
		}
		m, err := s.respond(i, q)
		if err != nil {
			return nil, err
		}
		if q.query["with_response"] != "true" || m == i.pressed {
			return reply{http.StatusNoContent, nil}, nil
		}
		return reply{http.StatusOK, object{
			"interaction": object{
				"id": i.id, "type": i.kind, "response_message_id": m.id, "response_message_loading": m.flags&flagLoading != 0,
				"response_message_ephemeral": m.flags&flagEphemeral != 0,
			},
			"resource": object{"type": 4, "message": s.wireMessage(m, true)},
		}}, nil
	}
	return nil, errUnknown(10062, "interaction")
}

// respond gives the use of a command its first answer.
func (s *Server) respond(i *interaction, q *request) (*message, error) {
	var body struct {
		Type int   `json:"type"`
		Data *form `json:"data"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	if body.Data == nil {
		body.Data = new(form)
	}
	if i.kind == 3 && (body.Type == 6 || body.Type == 7) {
		return s.updatePressed(i, body.Type, body.Data, q)
	}
	m := s.answering(i)
	var err error
	if m.flags, err = body.Data.flags(q.op.Name, flagNoEmbeds|flagEphemeral|flagSilent); err != nil {
		return nil, err
	}
	switch body.Type {
	case 4: // CHANNEL_MESSAGE_WITH_SOURCE
		if err := s.fill(m, body.Data, q.uploads, "data"); err != nil {
			return nil, err
		}
		i.state = answered
	case 5: // DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE: only the flags count
		m.flags |= flagLoading
		i.state = deferred
	default:
		return nil, stage.Faultf("create_interaction_response: the sandbox does not serve the type %d here", body.Type)
	}
	i.original = m
	s.keepAnswer(i, m, body.Data)
	return m, nil
}

// followUp adds a message to the answers.
func (s *Server) followUp(i *interaction, f *form, q *request) (*message, error) {
	m := s.answering(i)
	var err error
	if m.flags, err = f.flags(q.op.Name, flagNoEmbeds|flagEphemeral|flagSilent); err != nil {
		return nil, err
	}
	if err := s.fill(m, f, q.uploads); err != nil {
		return nil, err
	}
	s.keepAnswer(i, m, f)
	return m, nil
}

func (s *Server) answering(i *interaction) *message {
	return &message{author: s.bot, kind: CommandAnswer, from: i}
}

// keepAnswer puts an answer where it belongs: into the channel, or only before the eyes of who used the command.
func (s *Server) keepAnswer(i *interaction, m *message, f *form) {
	i.answers = append(i.answers, m)
	if m.flags&flagEphemeral != 0 {
		m.id, m.channel = s.newID(), i.channel
		for _, f := range m.files {
			f.channel, f.ephemeral = i.channel.id, true
			s.files[f.id] = f
		}
		return
	}
	m.pings = s.pings(m, i.channel, f.AllowedMentions, true)
	s.publish(i.channel, m)
}

func (s *Server) listCommands(q *request) (any, error) {
	if err := s.mine(q); err != nil {
		return nil, err
	}
	return append([]json.RawMessage{}, s.commands[q.id("guild_id")]...), nil
}

// mine refuses another application's id, and a guild that the bot is not in.
func (s *Server) mine(q *request) error {
	if q.id("application_id") != s.appID {
		return refuse(http.StatusForbidden, 20012, "You are not authorized to perform this action on this application")
	}
	_, err := s.guildFor(q)
	return err
}

// setCommands overwrites the commands of a guild. A command that was there under the name keeps its id.
func (s *Server) setCommands(q *request) (any, error) {
	if err := s.mine(q); err != nil {
		return nil, err
	}
	var given []object
	if err := q.decode(&given); err != nil {
		return nil, err
	}
	guild := q.id("guild_id")
	old := make(map[string]string)
	for _, raw := range s.commands[guild] {
		old[commandOf(raw).Name] = commandOf(raw).ID
	}
	out, seen := make([]json.RawMessage, 0, len(given)), make(map[string]bool)
	for n, o := range given {
		name, _ := o["name"].(string)
		if r := commandFit(o, n); r != nil {
			return nil, r
		}
		if seen[name] {
			return nil, invalidForm(problem{
				[]string{strconv.Itoa(n)}, "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique",
			})
		}
		seen[name] = true
		id := old[name]
		if id == "" {
			id = s.newID().String()
		}
		if o["type"] == nil {
			o["type"] = 1
		}
		o["id"], o["application_id"], o["version"], o["nsfw"] = id, s.appID, s.newID(), false
		if _, ok := o["default_member_permissions"]; !ok {
			o["default_member_permissions"] = nil
		}
		o.set("guild_id", guild, guild != 0)
		raw, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		out = append(out, raw)
	}
	s.commands[guild] = out
	return out, nil
}

// commandFit refuses a command that Discord does not take: "CHAT_INPUT command names and command option names must match the
// following regex ^[-_'\p{L}\p{N}...]{1,32}$ [...] you must use the lowercase variant of any letters".
func commandFit(o object, n int) *refusal {
	if kind, ok := o["type"].(float64); ok && kind != 1 {
		return nil
	}
	name, _ := o["name"].(string)
	if !isCommandName(name) {
		return invalidForm(problem{
			[]string{strconv.Itoa(n), "name"}, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid",
		})
	}
	if description, _ := o["description"].(string); description == "" {
		return invalidForm(missing(strconv.Itoa(n), "description"))
	}
	return nil
}
