package slack

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

// What a message says besides its text: tables and other blocks, messages that are passed on, and files.

type file struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Title    string `json:"title"`
	Mimetype string `json:"mimetype"`
	Size     int64  `json:"size"`
	Mode     string `json:"mode"` // hosted, external, snippet, tombstone, file_access …
	Access   string `json:"file_access"`
	Private  string `json:"url_private"`
}

// isPartial says whether Slack tells no more of the file here than its id.
func (f file) isPartial() bool { return f.Mode == "file_access" || f.Access == "check_file_info" }

// textAndFiles returns what a person said with a message: its text, its files, and whether it is said to the bot. Files that can be read
// from Slack stand as files, others as their names and addresses. A message that is passed on is marked as such; what Slack adds by
// itself, such as the preview of an address, nobody said.
func textAndFiles(m *message, v view) (text string, files []bridge.Attachment, toMe bool) {
	p := plain{names: v.names, me: v.me.user}
	text = p.read(m.Text, m.Blocks)
	for _, a := range m.Attached {
		switch {
		case a.Share:
			text = lines(text, forwarded(&p, a))
		case a.isPreview():
		case len(a.Blocks) > 0 && p.otherBlocks(a.Blocks) != "":
			text = lines(text, p.otherBlocks(a.Blocks))
		case text == "" && len(m.Files) == 0 && a.Fallback != noPreview:
			text = (&plain{names: v.names}).mrkdwn(cmp.Or(a.Text, a.Fallback))
		}
	}
	for _, f := range m.Files {
		if known, ok := v.files[f.ID]; ok && f.isPartial() {
			known.ID = f.ID
			f = known
		}
		name := cmp.Or(f.Name, f.Title, words.Get().File)
		switch f.Mode {
		case "tombstone", "hidden_by_limit":
		case "external":
			text = lines(text, strings.TrimSpace(platform.Bracketed(words.Get().File, name)+" "+f.Private))
		default:
			if f.ID != "" {
				files = append(files, bridge.Attachment{Filename: name, MimeType: f.Mimetype, Size: f.Size, BridgeFileID: f.ID})
			}
		}
	}
	return text, files, p.toMe
}

// noPreview is what Slack writes in place of what it cannot show in a line.
const noPreview = "[no preview available]"

// forwarded is a message that somebody passes on. Its files are named: the bot may not be where they are.
func forwarded(p *plain, a attached) string {
	inner := plain{names: p.names}
	text := inner.mrkdwn(a.Text)
	if text == "" && a.Fallback != noPreview {
		text = inner.mrkdwn(a.Fallback)
	}
	text = lines(text, inner.tables(a.Blocks))
	for _, f := range a.Files {
		text = lines(text, platform.Bracketed(words.Get().File, cmp.Or(f.Name, f.Title, words.Get().File)))
	}
	return strings.TrimSpace(words.Get().Forwarded + " " + strings.TrimSpace(text))
}

// lines puts texts below each other. The list is its own from then on.
func lines(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), "\n")
}

// tables returns the tables among some blocks.
func (p *plain) tables(blocks []json.RawMessage) string {
	var out []string
	for _, raw := range blocks {
		out = append(out, p.table(raw))
	}
	return lines(out...)
}

// table writes a table: a line for each row, with bars between its cells. Any other block is nothing.
func (p *plain) table(raw json.RawMessage) string {
	var table struct {
		Type string              `json:"type"`
		Rows [][]json.RawMessage `json:"rows"`
	}
	if json.Unmarshal(raw, &table) != nil || table.Type != "table" {
		return ""
	}
	rows := make([]string, 0, len(table.Rows))
	for _, row := range table.Rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, strings.Join(strings.Fields(p.cell(cell)), " "))
		}
		rows = append(rows, strings.TrimSpace(strings.Join(cells, " | ")))
	}
	return lines(rows...)
}

// cell reads a cell of a table: rich text, or whatever text or value it has.
func (p *plain) cell(raw json.RawMessage) string {
	if out, ok := p.blocks([]json.RawMessage{raw}); ok {
		return out
	}
	var cell struct {
		Text  any `json:"text"`
		Value any `json:"value"`
	}
	if json.Unmarshal(raw, &cell) != nil {
		return ""
	}
	for _, is := range []any{cell.Text, cell.Value} {
		switch is := is.(type) {
		case string:
			return is
		case float64, bool:
			out, _ := json.Marshal(is) // numbers and booleans can be written
			return string(out)
		case map[string]any:
			if text, _ := is["text"].(string); text != "" {
				return text
			}
		}
	}
	return ""
}

// otherBlocks reads blocks of any kind as far as they have texts.
func (p *plain) otherBlocks(blocks []json.RawMessage) string {
	if out, ok := p.blocks(blocks); ok {
		return out
	}
	var out []string
	for _, raw := range blocks {
		var block struct {
			Type     string `json:"type"`
			Text     any    `json:"text"`
			Title    any    `json:"title"`
			Alt      string `json:"alt_text"`
			Fields   []any  `json:"fields"`
			Elements []any  `json:"elements"`
		}
		if text, ok := p.blocks([]json.RawMessage{raw}); ok {
			out = append(out, text)
			continue
		}
		if json.Unmarshal(raw, &block) != nil {
			continue
		}
		switch block.Type {
		case "header", "section", "markdown", "context":
			out = append(out, p.textOf(block.Text))
			for _, one := range append(block.Fields, block.Elements...) {
				out = append(out, p.textOf(one))
			}
		case "image", "video":
			name := cmp.Or(p.textOf(block.Title), block.Alt)
			out = append(out, "["+strings.TrimSuffix(block.Type+": "+measure.OneLine(name, platform.MaxLine), ": ")+"]")
		}
	}
	return lines(out...)
}

// textOf reads a text object, or a text.
func (p *plain) textOf(of any) string {
	inner := plain{names: p.names}
	switch of := of.(type) {
	case string:
		return inner.mrkdwn(of)
	case map[string]any:
		text, _ := of["text"].(string)
		if of["type"] == "plain_text" {
			return text
		}
		return inner.mrkdwn(text)
	}
	return ""
}
