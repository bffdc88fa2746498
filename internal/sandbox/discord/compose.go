package discord

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// maxText is the longest content of a bot's message, in characters; 4000 is for people who pay
// (https://docs.discord.com/developers/resources/message#create-message).
const maxText = 2000

// form is the body of a message: to be sent, edited, posted by a webhook, or answered to a command.
type form struct {
	Content         *string          `json:"content"`
	Embeds          *[]Embed         `json:"embeds"`
	AllowedMentions *allowedMentions `json:"allowed_mentions"`
	Attachments     *[]attachment    `json:"attachments"`
	Components      *[]component     `json:"components"`
	Flags           *int             `json:"flags"`
	Nonce           json.RawMessage  `json:"nonce"`
	EnforceNonce    bool             `json:"enforce_nonce"`
	Reference       *struct {
		Message     string  `json:"message_id"`
		Channel     *string `json:"channel_id"`
		FailIfNone  *bool   `json:"fail_if_not_exists"`
		ReferenceTo *string `json:"guild_id"`
	} `json:"message_reference"`
	Username    *string  `json:"username"`
	AvatarURL   *string  `json:"avatar_url"`
	ThreadName  *string  `json:"thread_name"`
	AppliedTags []string `json:"applied_tags"`
}

type attachment struct {
	ID          json.RawMessage `json:"id"`
	Filename    *string         `json:"filename"`
	Description *string         `json:"description"`
	IsSpoiler   *bool           `json:"is_spoiler"`
}

// text returns a field that may be missing or null.
func text(field *string) string {
	if field == nil {
		return ""
	}
	return *field
}

// fill gives a message what the form says, for a new message and an edited one alike, and checks it as Discord does. prefix is
// where the form stands in the body.
func (s *Server) fill(m *message, f *form, uploads []upload, prefix ...string) error {
	at := func(names ...string) []string { return append(slices.Clone(prefix), names...) }
	if f.Content != nil {
		m.text = strings.TrimSpace(*f.Content)
		if utf8.RuneCountInString(m.text) > maxText {
			return invalidForm(tooLong(maxText, at("content")...))
		}
	}
	if f.Embeds != nil {
		if err := checkEmbeds(*f.Embeds, at); err != nil {
			return err
		}
		m.embeds = *f.Embeds
	}
	if r := f.AllowedMentions.check(); r != nil {
		return r
	}
	if f.Components != nil {
		rows, problem := buttonsOf(*f.Components, at)
		if problem != nil {
			return problem
		}
		m.buttons = rows
	}
	if err := s.attach(m, f, uploads, at); err != nil {
		return err
	}
	if m.text == "" && len(m.embeds) == 0 && len(m.files) == 0 {
		return errEmpty()
	}
	return nil
}

// attach gives a message its files: of those that it has, the ones that attachments names, or all if there is none; then those
// that are uploaded.
func (s *Server) attach(m *message, f *form, uploads []upload, at func(...string) []string) error {
	about := make(map[string]attachment)
	if f.Attachments != nil {
		kept := make([]*file, 0, len(m.files))
		for i, a := range *f.Attachments {
			id := strings.Trim(string(a.ID), `"`)
			j := slices.IndexFunc(m.files, func(f *file) bool { return f.id == flake(id) })
			switch {
			case j >= 0:
				kept = append(kept, m.files[j])
			case slices.ContainsFunc(uploads, func(u upload) bool { return u.index == id }):
				about[id] = a
			default:
				return invalidForm(problem{
					at("attachments", strconv.Itoa(i)), "ATTACHMENT_NOT_FOUND", "The attachment was not found.",
				})
			}
		}
		s.dropFiles(slices.DeleteFunc(slices.Clone(m.files), func(f *file) bool { return slices.Contains(kept, f) }))
		m.files = kept
	}
	for _, u := range uploads {
		given := File{Name: u.name, Type: u.kind, Content: u.content}
		a := about[u.index]
		if a.Filename != nil {
			given.Name = *a.Filename
		}
		if a.IsSpoiler != nil && *a.IsSpoiler {
			given.Name = "SPOILER_" + given.Name
		}
		given.Description = text(a.Description)
		made := s.newFile(given)
		if m.channel != nil { // an edit
			made.channel = m.channel.id
			s.files[made.id] = made
		}
		m.files = append(slices.Clone(m.files), made)
	}
	if len(m.files) > 10 {
		return invalidForm(tooLong(10, at("attachments")...))
	}
	return nil
}

// checkEmbeds holds embeds against what the definition does not say: they are not empty, their addresses are http, and all their
// texts together have at most 6000 characters (https://docs.discord.com/developers/resources/message#embed-object-embed-limits).
func checkEmbeds(embeds []Embed, at func(...string) []string) error {
	var problems []problem
	total := 0
	for i, e := range embeds {
		in := func(names ...string) []string { return at(append([]string{"embeds", strconv.Itoa(i)}, names...)...) }
		address := func(url string, names ...string) {
			if url != "" && !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") &&
				!strings.HasPrefix(url, "attachment://") {
				problems = append(problems, problem{
					in(names...), "URL_TYPE_INVALID_SCHEME", fmt.Sprintf("Scheme %q is not supported. Scheme must be one of ('http', 'https').",
						strings.SplitN(url, ":", 2)[0]),
				})
			}
		}
		texts := []string{e.Title, e.Description}
		address(e.URL, "url")
		if e.Author != nil {
			texts = append(texts, e.Author.Name)
			address(e.Author.URL, "author", "url")
			address(e.Author.IconURL, "author", "icon_url")
		}
		if e.Footer != nil {
			texts = append(texts, e.Footer.Text)
			address(e.Footer.IconURL, "footer", "icon_url")
		}
		for name, image := range map[string]*EmbedImage{"image": e.Image, "thumbnail": e.Thumbnail} {
			if image != nil {
				address(image.URL, name, "url")
			}
		}
		for j, f := range e.Fields {
			texts = append(texts, f.Name, f.Value)
			for name, value := range map[string]string{"name": f.Name, "value": f.Value} {
				if strings.TrimSpace(value) == "" {
					problems = append(problems, missing(in("fields", strconv.Itoa(j), name)...))
				}
			}
		}
		for _, text := range texts {
			total += utf8.RuneCountInString(text)
		}
		if strings.Join(texts, "") == "" && e.Image == nil && e.Thumbnail == nil {
			problems = append(problems, missing(in("description")...))
		}
	}
	if total > 6000 {
		problems = append(problems, problem{
			at("embeds"), "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000",
		})
	}
	if len(problems) > 0 {
		return invalidForm(problems...)
	}
	return nil
}

// flags returns the flags that a message may be given.
func (f *form) flags(operation string, allowed int) (int, error) {
	if f.Flags == nil {
		return 0, nil
	}
	if *f.Flags&^allowed != 0 {
		return 0, stage.Faultf("%s: the flags %d cannot be set", operation, *f.Flags&^allowed)
	}
	return *f.Flags, nil
}

// sendable checks that the bot may write to a channel, and returns what has to happen to it first.
func (s *Server) sendable(c *channel) error {
	need := SendMessages
	if c.kind.thread() {
		need = SendMessagesInThreads
	}
	switch {
	case c.kind == Forum || c.kind == Category:
		return refuse(http.StatusBadRequest, 50008, "Cannot send messages in a non-text channel")
	case !c.may(need):
		return errPermission()
	}
	return s.open(c)
}

// open checks that a thread takes messages. "Sending a message will automatically unarchive the thread, unless the thread has
// been locked by a moderator." It may not do so if the guild is full.
func (s *Server) open(c *channel) error {
	switch {
	case c.archived && c.locked:
		return errArchived()
	case c.locked && !c.may(ManageThreads):
		return errLocked()
	case c.archived && c.guild.active >= s.options.ActiveThreads:
		return errThreads()
	}
	return nil
}

// publish puts a message that the bot or a webhook wrote into its channel and tells of it.
func (s *Server) publish(c *channel, m *message) {
	if c.archived {
		s.setArchived(c, false)
	}
	s.join(c, m.author)
	s.tellMessage("MESSAGE_CREATE", s.add(c, m))
}

// nonceKey is what a nonce is unique in: "If another message was created by the same author with the same nonce, that message
// will be returned". The bot is the only author here.
type nonceKey string

type nonceUse struct {
	channel, message snowflake
	at               time.Time
}

// repeated returns the message that was created with a nonce in the past few minutes.
func (s *Server) repeated(key nonceKey) *message {
	old := time.Now().Add(-s.options.NonceLife)
	for len(s.nonceOrder) > 0 {
		first := s.nonceOrder[0]
		if use, ok := s.nonces[first]; ok && use.at.After(old) {
			break
		}
		delete(s.nonces, first)
		s.nonceOrder = s.nonceOrder[1:]
	}
	use, ok := s.nonces[key]
	if !ok || s.channels[use.channel] == nil {
		return nil
	}
	return s.channels[use.channel].find(use.message)
}

func (s *Server) remember(key nonceKey, m *message) {
	if _, again := s.nonces[key]; again {
		s.nonceOrder = slices.DeleteFunc(s.nonceOrder, func(k nonceKey) bool { return k == key })
	}
	s.nonces[key] = nonceUse{m.channel.id, m.id, time.Now()}
	s.nonceOrder = append(s.nonceOrder, key)
}

// withNonce returns a message with its nonce, which only the answer to its creation and its first event have.
func (s *Server) withNonce(m *message) object {
	o := s.wireMessage(m, true)
	o.set("nonce", m.nonce, m.nonce != "" && !m.number)
	o.set("nonce", json.RawMessage(m.nonce), m.nonce != "" && m.number)
	return o
}

// given returns a nonce of the form, and whether it is a number.
func (f *form) given() (string, bool) {
	raw := bytes.TrimSpace(f.Nonce)
	var text string
	if len(raw) == 0 || string(raw) == "null" {
		return "", false
	}
	if json.Unmarshal(raw, &text) == nil {
		return text, false
	}
	return string(raw), true
}
