package slack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of blocks (https://docs.slack.dev/reference/block-kit/blocks), in characters and pieces.
const (
	maxBlocks      = 50
	maxSection     = 3000
	maxField       = 2000
	maxFields      = 10
	maxHeader      = 150
	maxContext     = 10
	maxActions     = 25
	maxButton      = 75
	maxBlockID     = 255
	maxImageURL    = 3000
	maxImageAlt    = 2000
	maxMarkdown    = 12000
	maxBlocksText  = 13200 // of all blocks together; not documented, seen in github.com/slackapi/bolt-js/issues/2509
	tooLongMessage = "must be less than %d characters [json-pointer:%s]"
)

// reader goes through blocks: it collects what is wrong, who is pinged, how long the text is, and what a person sees.
type reader struct {
	s     *Server
	wrong []string
	pings []string
	total int
	ids   map[string]bool
	seen  strings.Builder
	// buttons are those of the blocks, in their order; actions the action_ids of the block that is read.
	buttons []Button
	actions map[string]bool
}

type block = map[string]any

func (r *reader) fail(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *reader) say(text string) {
	if r.seen.Len() > 0 {
		r.seen.WriteByte('\n')
	}
	r.seen.WriteString(text)
}

// readBlocks checks blocks as Slack does, and returns them as they are kept, with those whom they ping. Empty blocks are none.
func (s *Server) readBlocks(raw string) (kept string, pings []string, err error) {
	if raw == "" {
		return "", nil, nil
	}
	var blocks []block
	if json.Unmarshal([]byte(raw), &blocks) != nil {
		return "", nil, refuse("invalid_blocks_format")
	}
	if len(blocks) == 0 {
		return "", nil, nil
	}
	r := &reader{s: s, ids: make(map[string]bool)}
	if len(blocks) > maxBlocks {
		r.fail("no more than %d items allowed [json-pointer:/blocks]", maxBlocks)
	}
	for i, b := range blocks {
		r.block(b, fmt.Sprintf("/blocks/%d", i))
		if _, ok := b["block_id"]; !ok {
			b["block_id"] = fmt.Sprintf("s%04x", i)
		}
	}
	if len(r.wrong) > 0 {
		return "", nil, refuse("invalid_blocks", r.wrong...)
	}
	if r.total > maxBlocksText {
		return "", nil, refuse("msg_blocks_too_long")
	}
	out, err := json.Marshal(blocks)
	return string(out), r.pings, err
}

// plainBlocks returns what a person sees of stored blocks, a line for each.
func (s *Server) plainBlocks(raw []byte) string {
	var blocks []block
	if json.Unmarshal(raw, &blocks) != nil {
		return ""
	}
	r := &reader{s: s, ids: make(map[string]bool)}
	for _, b := range blocks {
		r.block(b, "")
	}
	return r.seen.String()
}

func (r *reader) block(b block, at string) {
	if id, ok := b["block_id"].(string); ok {
		if utf8.RuneCountInString(id) > maxBlockID {
			r.fail(tooLongMessage, maxBlockID+1, at+"/block_id")
		}
		if r.ids[id] {
			r.fail("`block_id` already exists [json-pointer:%s/block_id]", at)
		}
		r.ids[id] = true
	}
	switch kind, _ := b["type"].(string); kind {
	case "section":
		r.section(b, at)
	case "header":
		if shown, ok := r.text(b["text"], at+"/text", maxHeader, "plain_text"); ok {
			r.say(shown)
		}
	case "context":
		var line []string
		for i, e := range r.list(b["elements"], at+"/elements", maxContext) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			if e["type"] == "image" {
				r.image(e, at)
				continue
			}
			if shown, ok := r.text(e, at, maxSection, "plain_text", "mrkdwn"); ok {
				line = append(line, shown)
			}
		}
		r.say(strings.Join(line, " "))
	case "divider":
	case "image":
		r.image(b, at)
		if b["title"] != nil {
			if shown, ok := r.text(b["title"], at+"/title", 2000, "plain_text"); ok {
				r.say(shown)
			}
		}
	case "actions":
		r.actions = make(map[string]bool)
		for i, e := range r.list(b["elements"], at+"/elements", maxActions) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			if e["type"] != "button" {
				r.fail("the sandbox serves no element %q [json-pointer:%s/type]", e["type"], at)
				continue
			}
			r.button(e, at)
		}
	case "markdown":
		text, _ := b["text"].(string)
		if n := utf8.RuneCountInString(text); n == 0 || n > maxMarkdown {
			r.fail(tooLongMessage, maxMarkdown+1, at+"/text")
		}
		r.total += utf8.RuneCountInString(text)
		r.pings = r.s.pingsOf(text, r.pings)
		r.say(r.s.plainText(text, true))
	case "rich_text":
		var b2 strings.Builder
		for i, e := range r.list(b["elements"], at+"/elements", 0) {
			r.rich(e, fmt.Sprintf("%s/elements/%d", at, i), &b2)
		}
		r.say(strings.TrimSuffix(b2.String(), "\n"))
	default:
		r.fail("unsupported type: %s [json-pointer:%s/type]", kind, at)
	}
}

func (r *reader) section(b block, at string) {
	if b["text"] == nil && b["fields"] == nil {
		r.fail("missing required field: text [json-pointer:%s]", at)
	}
	if b["text"] != nil {
		if shown, ok := r.text(b["text"], at+"/text", maxSection, "plain_text", "mrkdwn"); ok {
			r.say(shown)
		}
	}
	if b["fields"] != nil {
		for i, f := range r.list(b["fields"], at+"/fields", maxFields) {
			if shown, ok := r.text(f, fmt.Sprintf("%s/fields/%d", at, i), maxField, "plain_text", "mrkdwn"); ok {
				r.say(shown)
			}
		}
	}
	switch e, _ := b["accessory"].(block); {
	case b["accessory"] == nil:
	case e["type"] == "image":
		r.image(e, at+"/accessory")
	case e["type"] != "button":
		r.fail("the sandbox serves no accessory %q [json-pointer:%s/accessory]", e["type"], at)
	}
}

// list returns a list of objects with at least one, and at most limit unless that is 0.
func (r *reader) list(v any, at string, limit int) []block {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		r.fail("must provide an array with at least one item [json-pointer:%s]", at)
		return nil
	}
	if limit > 0 && len(list) > limit {
		r.fail("no more than %d items allowed [json-pointer:%s]", limit, at)
	}
	out := make([]block, 0, len(list))
	for i, one := range list {
		o, ok := one.(block)
		if !ok {
			r.fail("must be an object [json-pointer:%s/%d]", at, i)
			continue
		}
		out = append(out, o)
	}
	return out
}

// text checks a text object and returns what is seen of it. In mrkdwn "certain mentions will be automatically parsed" unless it
// is verbatim (https://docs.slack.dev/reference/block-kit/composition-objects/text-object): here all that link_names finds.
func (r *reader) text(v any, at string, limit int, kinds ...string) (string, bool) {
	o, ok := v.(block)
	if !ok {
		r.fail("must be an object [json-pointer:%s]", at)
		return "", false
	}
	kind, _ := o["type"].(string)
	text, isText := o["text"].(string)
	n := utf8.RuneCountInString(text)
	switch {
	case !slices.Contains(kinds, kind):
		r.fail("unsupported type: %s [json-pointer:%s/type]", kind, at)
		return "", false
	case !isText || n == 0:
		r.fail("must be more than 0 characters [json-pointer:%s/text]", at)
		return "", false
	case n > limit:
		r.fail(tooLongMessage, limit+1, at+"/text")
		return "", false
	}
	r.total += n
	if kind == "plain_text" {
		shown := text
		if emoji, given := o["emoji"].(bool); emoji || !given {
			shown = r.s.text.draw(shown)
		}
		return unescape(shown), true
	}
	verbatim, _ := o["verbatim"].(bool)
	stored := r.s.store(text, linking{names: !verbatim, addresses: !verbatim})
	r.pings = r.s.pingsOf(stored, r.pings)
	return r.s.plainText(stored, true), true
}

func (r *reader) image(b block, at string) {
	url, _ := b["image_url"].(string)
	alt, _ := b["alt_text"].(string)
	if url == "" && b["slack_file"] == nil || utf8.RuneCountInString(url) > maxImageURL {
		r.fail(tooLongMessage, maxImageURL+1, at+"/image_url")
	}
	if alt == "" || utf8.RuneCountInString(alt) > maxImageAlt {
		r.fail(tooLongMessage, maxImageAlt+1, at+"/alt_text")
	}
}

// rich reads an element of rich text. Its text is taken as it is, without escapes and marks.
func (r *reader) rich(e block, at string, out *strings.Builder) {
	kind, _ := e["type"].(string)
	get := func(name string) string { v, _ := e[name].(string); return v }
	write := func(text string) {
		r.total += utf8.RuneCountInString(text)
		out.WriteString(text)
	}
	switch kind {
	case "rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list":
		for i, inner := range r.list(e["elements"], at+"/elements", 0) {
			switch {
			case kind == "rich_text_list" && e["style"] == "ordered":
				fmt.Fprintf(out, "%d. ", i+1)
			case kind == "rich_text_list":
				out.WriteString("• ")
			}
			r.rich(inner, fmt.Sprintf("%s/elements/%d", at, i), out)
		}
		if kind != "rich_text_list" && !strings.HasSuffix(out.String(), "\n") {
			out.WriteByte('\n')
		}
	case "text":
		if get("text") == "" {
			r.fail("must be more than 0 characters [json-pointer:%s/text]", at)
		}
		write(get("text"))
	case "link":
		if get("text") != "" {
			write(get("text"))
		} else {
			write(get("url"))
		}
	case "emoji":
		char, ok := r.s.text.emoji[get("name")]
		if !ok {
			char = ":" + get("name") + ":"
		}
		write(char)
	case "user":
		r.pings = ping(r.pings, get("user_id"))
		write(r.s.shownToken(token{kind: '@', text: get("user_id")}))
	case "usergroup":
		r.pings = ping(r.pings, get("usergroup_id"))
		write("@group")
	case "channel":
		write(r.s.shownToken(token{kind: '#', text: get("channel_id")}))
	case "broadcast":
		r.pings = ping(r.pings, "!"+get("range"))
		write("@" + get("range"))
	case "date":
		write(get("fallback"))
	default:
		r.fail("unsupported type: %s [json-pointer:%s/type]", kind, at)
	}
}
