package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// said is a message of the model: what was written, by whom, and what became of it. The model knows nothing of how the bridge
// works; it only keeps what people did.
type said struct {
	mark    string // the beginning of its text, which no other message has and which edits leave
	by      string // visitor, or the platform where Ana wrote it
	id      string // on the wire
	text    string
	reply   *said
	files   []string // sums
	edited  bool
	at      time.Time // of the edit that counts
	deleted bool
	gone    bool // from the platform where it was written, without anybody being told
	read    bool
}

// talk is one session of the model, and what drives it.
type talk struct {
	j      *journey
	random *rand.Rand
	all    []*said
	seen   map[string]bool // ids of the visitor's messages to which Ana has reacted
	n      int
	ghosts *weather
	// loose are the messages that a stand shows with others, moved those that have become too long for that; by its name and their mark.
	loose, moved map[string]bool
	below        map[string]bool // stands that show the text of some message below
}

// texts that are shown as they are, behind a message's mark.
func pieces() []string {
	return []string{"", "plain", special, emoji, rtl, "a <b> & *c* _d_ `e` ~f~ |g|", "line\nline\n> no quote\n- no list", "https://a.example/x_y?z=*1*&q=2 end"}
}

// words makes a text with a mark, of several parts now and then. What Discord's operators type has no styles, which would be read.
func (k *talk) words(mark string, version int, by string) string {
	if k.random.IntN(12) == 0 {
		var b strings.Builder
		for i := range 280 {
			fmt.Fprintf(&b, "%sv%dw%04d ", mark, version, i)
		}
		return strings.TrimSpace(b.String())
	}
	all := pieces()
	if by == "discord" {
		all = slices.DeleteFunc(all, func(text string) bool { return strings.Contains(text, "*c*") })
	}
	return strings.TrimSpace(fmt.Sprintf("%sv%d %s", mark, version, all[k.random.IntN(len(all))]))
}

// pick returns one of those that a condition holds for, nil for none.
func (k *talk) pick(fits func(*said) bool) *said {
	var list []*said
	for _, m := range k.all {
		if fits(m) {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[k.random.IntN(len(list))]
}

// step does one thing at random.
func (k *talk) step() error {
	k.n++
	if k.random.IntN(5) < 2 {
		return k.visitor()
	}
	return k.operator(k.j.stands[k.random.IntN(len(k.j.stands))])
}

// remark has the visitor say something short.
func (k *talk) remark() error {
	k.n++
	m := &said{mark: fmt.Sprintf("m%d", k.n), by: "visitor", id: fmt.Sprintf("id-%d", k.n)}
	m.text = fmt.Sprintf("%sv0 plain", m.mark)
	k.all = append(k.all, m)
	return k.j.writes(m.id, m.text, nil)
}

func (k *talk) visitor() error {
	j := k.j
	own := func(m *said) bool { return m.by == "visitor" && !m.deleted }
	switch what := k.random.IntN(10); {
	case what < 5:
		m := &said{mark: fmt.Sprintf("m%d", k.n), by: "visitor", id: fmt.Sprintf("id-%d", k.n)}
		m.text = k.words(m.mark, 0, m.by)
		more := map[string]any{}
		if k.random.IntN(3) == 0 {
			// To what the app knows of: its own messages, and those that it was told of.
			heard := heard(j.r.app, j.name, "operator_message")
			if m.reply = k.pick(func(o *said) bool {
				return !o.deleted && (o.by == "visitor" || slices.ContainsFunc(heard, func(e news) bool { return e.MessageID == o.id }))
			}); m.reply != nil {
				more["replyTo"] = m.reply.id
			}
		}
		if k.random.IntN(6) == 0 {
			f := upload{name: m.mark + ".bin", typ: "application/octet-stream", content: []byte("a file of " + j.name + " " + m.mark + "\x00\x01")}
			m.files = []string{sum(f.content)}
			more["attachments"] = []any{j.files.attachment(f)}
		}
		k.all = append(k.all, m)
		if k.random.IntN(8) == 0 { // its edit is faster
			m.edited, m.at = true, time.Now()
			before := m.text
			m.text = k.words(m.mark, 1, m.by)
			return errors.Join(k.edit(m, m.text, m.at), j.writes(m.id, before, more))
		}
		return j.writes(m.id, m.text, more)
	case what < 8:
		m := k.pick(own)
		if m == nil {
			return nil
		}
		text, at := k.words(m.mark, k.n, m.by), time.Now()
		if m.edited && k.random.IntN(4) == 0 { // an older edit that comes late is not shown
			return k.edit(m, text, m.at.Add(-time.Second))
		}
		m.text, m.edited, m.at = text, true, at
		return k.edit(m, text, at)
	case what < 9:
		m := k.pick(func(m *said) bool { return own(m) && m.mark != "m0" || own(m) && k.random.IntN(4) == 0 })
		if m == nil {
			return nil
		}
		m.deleted = true
		return j.event("visitor_message_deleted", map[string]any{"messageId": m.id})
	default:
		heard := heard(j.r.app, j.name, "operator_message")
		if len(heard) == 0 {
			return nil
		}
		id := heard[k.random.IntN(len(heard))].MessageID
		for _, m := range k.all {
			m.read = m.read || m.id == id
		}
		return j.event("message_read", map[string]any{"messageIds": []string{id}, "status": "read"})
	}
}

func (k *talk) edit(m *said, text string, at time.Time) error {
	return k.j.event("visitor_message_edited", map[string]any{
		"messageId": m.id, "content": text, "editedAt": at.UTC().Format("2006-01-02T15:04:05.000000Z"),
	})
}

func (k *talk) operator(on stand) error {
	j, thread := k.j, k.j.threads[on.name()]
	own := func(m *said) bool { return m.by == on.name() && !m.deleted && !m.gone }
	say := func() *said {
		m := &said{mark: fmt.Sprintf("m%d", k.n), by: on.name()}
		m.text = k.words(m.mark, 0, m.by)
		return m
	}
	switch what := k.random.IntN(12); {
	case what < 4:
		m := say()
		m.id = on.say(thread, m.text)
		k.all = append(k.all, m)
	case what < 6 && on.name() != "slack":
		// To what is recorded as shown: an own message, or one of the visitor's that the app was told of.
		shown := map[string]bool{}
		for _, e := range heard(j.r.app, j.name, "message_delivered") {
			shown[e.MessageID] = shown[e.MessageID] || e.SourceBridge == on.name()
		}
		to := k.pick(func(o *said) bool { return own(o) || o.by == "visitor" && !o.deleted && shown[o.id] })
		if to == nil {
			return nil
		}
		at := bare(to.id)
		if to.by == "visitor" {
			var alone bool
			if at, alone = k.find(on, to); at == "" || !alone {
				return nil // a reply means the last of several
			}
		}
		m := say()
		m.reply = to
		m.id = on.name() + ":" + on.reply(thread, at, m.text)
		k.all = append(k.all, m)
	case what < 7:
		m := say()
		f := upload{kind: "document", name: m.mark + ".bin", typ: "application/octet-stream", content: []byte("a file of Ana's " + j.name + " " + m.mark + "\x00")}
		m.files = []string{sum(f.content)}
		if len(m.text) > 900 { // a caption is short
			m.text = m.mark + "v0 short"
		}
		m.id = on.name() + ":" + on.send(thread, m.text, f)[0]
		k.all = append(k.all, m)
	case what < 9:
		m := k.pick(own)
		if m == nil {
			return nil
		}
		text := k.words(m.mark, k.n, m.by)
		if len(m.files) > 0 && len(text) > 900 {
			return nil
		}
		m.text, m.edited = text, true
		on.edit(thread, bare(m.id), text)
	case what < 10:
		m := k.pick(own)
		if m == nil {
			return nil
		}
		if on.remove(thread, bare(m.id)); on.name() == "telegram" {
			m.gone = true
		} else {
			m.deleted = true
		}
	case what < 11:
		heard := heard(j.r.app, j.name, "message_delivered")
		for _, m := range k.all {
			if m.by != "visitor" || m.deleted || k.seen[on.name()+m.id] || !slices.ContainsFunc(heard, func(e news) bool {
				return e.MessageID == m.id && e.SourceBridge == on.name()
			}) {
				continue
			}
			if at, _ := k.find(on, m); at != "" {
				k.seen[on.name()+m.id] = true
				for _, s := range split(on.see(thread)) {
					for _, other := range k.all {
						if mark, _ := markOf(s.Text); s.ID == at && mark == other.mark && other.by == "visitor" {
							k.seen[on.name()+other.id] = true // it is of all of them
						}
					}
				}
				on.react(thread, at)
				return nil
			}
		}
	}
	return nil
}

// find returns the id under which a stand shows the first part of a visitor's message, and whether that message shows no other behind it.
func (k *talk) find(on stand, m *said) (id string, last bool) {
	for _, s := range split(on.see(k.j.threads[on.name()])) {
		mark, _ := markOf(s.Text)
		switch {
		case id != "" && s.ID == id && mark != m.mark:
			return id, false
		case id == "" && s.Own && mark == m.mark && !k.ghosts.ghost(on, k.j.threads[on.name()], s.ID):
			id = s.ID
		}
	}
	return id, id != ""
}

var (
	marks     = regexp.MustCompile(`^(?:Ana \((Telegram|Discord|Slack)\): )?(?:[0-9]{2}:[0-9]{2} · )?(?:✏️ )?(m[0-9]+)v[0-9]+`)
	standsFor = regexp.MustCompile(`(?m)(?:^(?:Ana \([A-Za-z]+\): )?|· )✏️ below$`)
	stamps    = regexp.MustCompile(`^(Ana \([A-Za-z]+\): )?(?:[0-9]{2}:[0-9]{2} · )?(✏️ )?`)
)

// split takes messages apart that show several: each piece is as if it were a message of its own, without the time at which it was
// written. Of what stands for a text that is shown below, nothing is left.
func split(all []sight) []sight {
	var out []sight
	for _, s := range all {
		if !s.Own || s.Text == "" {
			out = append(out, s)
			continue
		}
		author := stamps.FindStringSubmatch(s.Text)[1]
		for i, piece := range strings.Split(s.Text, "\n\n") {
			one := s
			parts := stamps.FindStringSubmatchIndex(piece)
			piece = piece[parts[1]:]
			if i > 0 {
				one.ReplyTo, one.Quote, one.part, one.Files = "", "", "", nil
			}
			if strings.TrimSpace(piece) == "below" {
				if one.Text, one.ReplyTo, one.Quote = "", "", ""; len(one.Files) > 0 {
					out = append(out, one)
				}
				continue
			}
			one.Text, one.below = author+piece, parts[4] >= 0
			one.merged = strings.Contains(s.Text, "\n\n")
			out = append(out, one)
		}
	}
	return out
}

// markOf returns the mark of a text, and who is said to have written it.
func markOf(text string) (mark, author string) {
	if m := marks.FindStringSubmatch(text); m != nil {
		return m[2], strings.ToLower(m[1])
	}
	return "", ""
}

// render returns what a stand should show, or shows, of each message, in a form in which all stands are the same.
type rendered struct {
	author string
	words  string
	reply  string
	files  string
	signs  string
	edited bool
}

// want is what the model says that a stand shows, by mark.
func (k *talk) want(on stand) map[string]rendered {
	out := map[string]rendered{}
	for _, m := range k.all {
		if m.deleted || m.gone && m.by == on.name() {
			continue
		}
		r := rendered{author: m.by, words: strings.Join(strings.Fields(m.text), " "), files: strings.Join(m.files, " ")}
		if m.reply != nil && !m.reply.deleted && (!m.reply.gone || m.reply.by != on.name()) {
			r.reply = m.reply.mark
		}
		if m.by == on.name() {
			r.words = "" // how a platform shows what was typed on it is its own affair
			r.signs = map[bool]string{true: "👀", false: delivered(on)}[m.read]
		}
		r.edited = m.edited
		out[m.mark] = r
	}
	return out
}

// see is what a stand shows, by mark, and what it shows that it should not.
func (k *talk) see(on stand) (map[string]rendered, []string, []string) {
	out := map[string]rendered{}
	var odd, order []string
	thread := k.j.threads[on.name()]
	whole := on.see(thread)
	sights := split(whole)
	byID, owner := map[string]string{}, map[string]string{}
	for _, m := range k.all {
		for _, f := range m.files {
			owner[f] = m.mark
		}
		if m.by == on.name() {
			byID[bare(m.id)] = m.mark
		}
	}
	below := map[string]bool{} // where a text was that is shown below: it replies to that, and so does what replied to it before
	for _, s := range whole {
		below[s.ID] = s.Own && standsFor.MatchString(s.Text)
	}
	var moved []string
	for _, s := range sights {
		if mark, _ := markOf(s.Text); mark != "" && s.Own {
			byID[s.ID] = strings.TrimSpace(byID[s.ID] + " " + mark)
			if s.below || below[s.ReplyTo] {
				moved = append(moved, mark)
				k.moved[on.name()+mark] = true
			}
		}
	}
	for id, so := range below {
		if so {
			byID[id] += " " + strings.Join(moved, " ")
			k.below[on.name()] = true
		}
	}
	for _, s := range sights {
		if k.ghosts.ghost(on, thread, s.ID) {
			continue
		}
		mark, author := markOf(s.Text)
		if !s.Own {
			mark = byID[s.ID]
		}
		if mark != "" && (s.merged || s.below) {
			k.loose[on.name()+mark] = true
		}
		if mark == "" && s.Own && len(s.Files) == 1 && (strings.TrimSpace(s.Text) == "" || s.Quote != "" && strings.HasPrefix(strings.TrimSpace(s.Text), "📎 ")) {
			mark = owner[s.Files[0]]
			r := out[mark]
			if r.files != "" {
				odd = append(odd, "a file twice: "+s.String())
			}
			r.files = s.Files[0]
			out[mark] = r
			continue
		}
		if mark == "" && s.Own && s.Quote != "" && strings.HasPrefix(strings.TrimSpace(s.Text), "📎 ") {
			continue // it says whose the files below it are, which have come late
		}
		if mark == "" || len(s.pings) > 0 && s.Own {
			odd = append(odd, s.String())
			continue
		}
		r, again := out[mark]
		text := s.Text
		switch {
		case !s.Own:
			r.author, r.signs = on.name(), strings.Join(s.signs, "")
			r.files = strings.Join(s.Files, " ")
			text = ""
		case len(s.Files) > 0 && r.files != "":
			odd = append(odd, "a file twice: "+s.String())
		case len(s.Files) > 0:
			r.files = strings.Join(s.Files, " ")
		}
		if s.Own && (!again || r.author == "") {
			if r.author = author; author == "" {
				r.author = "visitor"
			}
			if author != "" {
				_, text, _ = strings.Cut(text, ": ")
			}
		}
		r.edited = r.edited || s.Edited
		r.words = strings.TrimSpace(r.words + " " + strings.Join(strings.Fields(text), " "))
		if s.ReplyTo != "" && r.reply == "" {
			r.reply = byID[s.ReplyTo]
			if mark, _ := markOf(s.part); mark != "" {
				r.reply = mark
			}
		}
		if s.Quote != "" {
			_, quoted, _ := strings.Cut(s.Quote, ": ")
			r.reply, _ = markOf(quoted)
		}
		if !again {
			order = append(order, mark)
		}
		out[mark] = r
	}
	return out, odd, order
}

// leftOf says whether a message may be shown as a reply that it is not: one before it of the same author was, with which it was shown
// together, and which is deleted. What was shown as a reply stays one.
func (k *talk) leftOf(m *said, reply string) bool {
	for _, other := range k.all {
		if other == m {
			return false
		}
		if other.deleted && other.by == m.by && other.reply != nil && slices.Contains(strings.Fields(reply), other.reply.mark) {
			return true
		}
	}
	return false
}

// differs compares what the stands show with the model, nothing if all is as it should be.
func (k *talk) differs() string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, on := range k.j.stands {
		want := k.want(on)
		got, odd, order := k.see(on)
		for _, o := range odd {
			say("%s: it shows %s", on.name(), o)
		}
		for _, mark := range slices.Sorted(maps.Keys(want)) {
			w, g := want[mark], got[mark]
			m := k.all[slices.IndexFunc(k.all, func(m *said) bool { return m.mark == mark })]
			if w.reply == "" && m.reply != nil { // to what is gone: Slack's quotation may still be there
				g.reply = ""
			}
			if w.reply == "" && k.leftOf(m, g.reply) {
				g.reply = ""
			}
			if m.by != on.name() { // it may have been edited before it was shown, or since it was shown with others
				g.edited = w.edited
			}
			if on.name() == "slack" && m.by == "slack" {
				w.reply, g.reply = "", ""
			}
			if slices.Contains(strings.Fields(g.reply), w.reply) || k.moved[on.name()+mark] {
				g.reply = w.reply
			}
			// Of the two calls that put one sign in the place of another, the platform may have had no time for the second.
			if w != g && slices.Contains([]string{"", delivered(on), delivered(on) + "👀"}, g.signs) && k.leavesOutSigns(on) {
				g.signs = w.signs
			}
			if w != g {
				if g.words == w.words {
					g.words, w.words = "…", "…"
				}
				say("%s: of %s it shows\n  %+.300v, not\n  %+.300v", on.name(), mark, g, w)
			}
		}
		for mark := range got {
			if _, ok := want[mark]; !ok {
				say("%s: it shows %s, which is gone: %.200q", on.name(), mark, fmt.Sprint(got[mark]))
			}
		}
		// Whoever wrote them, they are in the order in which they were written.
		for _, by := range []string{"visitor", "telegram", "discord", "slack"} {
			var wanted, shown []string
			for _, m := range k.all {
				if _, ok := want[m.mark]; ok && m.by == by {
					wanted = append(wanted, m.mark)
				}
			}
			moved := func(mark string) bool { // what was below and has become short again stays there
				return k.moved[on.name()+mark] || k.below[on.name()] && slices.ContainsFunc(k.all, func(m *said) bool { return m.mark == mark && m.edited })
			}
			wanted, order = slices.DeleteFunc(wanted, moved), slices.DeleteFunc(order, moved)
			for _, mark := range order {
				if w, ok := want[mark]; ok && w.author == by {
					shown = append(shown, mark)
				}
			}
			if !slices.Equal(wanted, shown) {
				say("%s: of %s it shows %v, not %v", on.name(), by, shown, wanted)
			}
		}
	}
	out = append(out, k.app()...)
	return strings.Join(out, "\n")
}

// leavesOutSigns says whether a platform asked for time when it was to show a sign: such a sign is left out, and the log says so.
func (k *talk) leavesOutSigns(on stand) bool {
	for line := range strings.Lines(k.j.r.process().Output()) {
		if strings.Contains(line, "signs are left out") && strings.Contains(line, " lane="+on.name()+" ") && strings.Contains(line, " session="+k.j.name+" ") {
			return true
		}
	}
	return false
}

// app compares what the app server was told with the model.
func (k *talk) app() []string {
	var out []string
	texts := map[string]string{}
	for _, e := range heard(k.j.r.app, k.j.name, "operator_message") {
		texts[e.MessageID] = e.Content
	}
	for _, e := range heard(k.j.r.app, k.j.name, "operator_message_edited") {
		texts[e.MessageID] = e.Content
	}
	for _, e := range heard(k.j.r.app, k.j.name, "operator_message_deleted") {
		delete(texts, e.MessageID)
	}
	// What was deleted may have been among several at which somebody looked.
	read, seen := map[string]bool{}, maps.Clone(k.seen)
	for _, e := range heard(k.j.r.app, k.j.name, "message_read") {
		for _, id := range e.MessageIDs {
			read[e.SourceBridge+id] = true
		}
	}
	for _, m := range k.all {
		for _, on := range k.j.stands {
			if m.deleted {
				delete(read, on.name()+m.id)
				delete(seen, on.name()+m.id)
			}
		}
	}
	if !maps.Equal(read, seen) {
		out = append(out, fmt.Sprintf("the app has %v read, not %v", read, seen))
	}
	for _, m := range k.all {
		if m.by == "visitor" {
			continue
		}
		if text, ok := texts[m.id]; ok == m.deleted || ok && text != m.text {
			out = append(out, fmt.Sprintf("the app has %.100q of %s (%s), not %.100q", text, m.mark, m.id, m.text))
		}
		delete(texts, m.id)
	}
	if len(texts) > 0 {
		out = append(out, fmt.Sprintf("the app has %v besides", texts))
	}
	return out
}

// weather spoils a platform's calls at random.
type weather struct {
	mu     sync.Mutex
	random *rand.Rand
	often  int // one call in so many is spoilt; 0: none
	whole  int // faults of the whole platform that are left, each of which takes a second
	lost   int // answers in a row
	spoilt int // calls
	shut   bool
	turned int // calls that did not arrive since it is shut
	// sent are the messages of calls that are not answered yet, ghosts those whose answers were lost: Telegram cannot tell that
	// they are there, and shows them again.
	sent   map[string]string
	ghosts map[string]bool
}

// decide returns what is to happen to a call.
func (w *weather) decide(method string, whole ...stage.Action) stage.Action {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut && slices.Contains([]string{"download", "getFile", "attachment"}, method) {
		return stage.Action{} // a file is given up after a few attempts, and then is a link
	}
	if w.shut {
		w.turned++
		return stage.Action{DropBefore: true}
	}
	if w.often == 0 || w.random.IntN(w.often) != 0 {
		w.lost = 0
		return stage.Action{}
	}
	switch what := w.random.IntN(4); {
	case what == 0 && w.whole > 0:
		w.whole--
		w.spoilt++
		return whole[w.random.IntN(len(whole))]
	case w.lost > 0: // several in a row are taken for the platform's fault
		w.lost = 0
		return stage.Action{}
	case what == 1:
		w.lost++
		w.spoilt++
		return stage.Action{DropBefore: true}
	default:
		w.lost++
		w.spoilt++
		return stage.Action{DropAfter: true}
	}
}

// clear has no further call spoilt, and returns how many were.
func (w *weather) clear() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.often = 0
	return w.spoilt
}

// caughtUp waits until the bridge has taken all that was done on every stand: a gateway tells of some of it once.
func (r *rig) caughtUp(t *testing.T) (j *journey) {
	t.Helper()
	j = r.newJourney("first")
	no(t, j.opened())
	for _, s := range j.stands {
		id := s.name() + ":" + bare(s.say(j.threads[s.name()], "there"))
		r.until("what Ana says was taken", func() bool {
			return slices.ContainsFunc(heard(r.app, j.name, "operator_message"), func(e news) bool { return e.MessageID == id })
		})
	}
	return j
}

// kill ends the bridge in the middle of its work and starts it again. Nothing arrives at any platform meanwhile: what was shown and is not
// recorded yet is shown again. What is said meanwhile waits for all platforms.
func (j *journey) kill(t *testing.T, all []*weather, meanwhile func() error) {
	t.Helper()
	shut := func(so bool) {
		for _, w := range all {
			w.mu.Lock()
			w.shut, w.turned = so, 0
			w.mu.Unlock()
		}
	}
	shut(true)
	no(t, meanwhile(), j.writes("late", "Is anybody there?", nil)) // something waits for every platform
	// A call that did not arrive is made again after a pause that grows: what arrived before is recorded by then.
	j.r.until("some calls have not arrived", func() bool {
		return !slices.ContainsFunc(all, func(w *weather) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.turned < 3
		})
	})
	j.r.process().Kill()
	shut(false)
	j.r.start()
}

// ghost says whether a message is one that is shown besides.
func (w *weather) ghost(on stand, thread, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return on.name() == "telegram" && w.ghosts[thread+" "+id]
}

// follow keeps what Telegram's stand-in shows of calls whose answers are lost.
func (w *weather) follow(r *rig) {
	r.telegram.Observe(func(m telegram.Stage, c telegram.Call) {
		if c.Method != "sendMessage" && c.Method != "sendDocument" {
			return
		}
		key, last := fmt.Sprint(c.Method, " ", c.N), ""
		if m == telegram.Processed {
			for _, one := range r.telegram.Messages(c.Chat, c.Topic) { // nobody else writes as the bot there meanwhile
				if one.Own {
					last = fmt.Sprint(c.Topic, " ", one.ID)
				}
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		switch m {
		case telegram.Processed:
			w.sent[key] = last
		case telegram.Dropped:
			if at := w.sent[key]; at != "" {
				w.ghosts[at] = true
			}
		}
	})
}

// spoil has the stand-ins fail now and then, and returns the weather on Telegram, that on all, and what ends it.
func (r *rig) spoil(random *rand.Rand, often, whole int) (ghosts *weather, all []*weather, end func() int) {
	page := []stage.Action{stage.Page(http.StatusInternalServerError), stage.Page(http.StatusBadGateway), stage.Page(http.StatusServiceUnavailable)}
	for _, b := range r.boards {
		w := &weather{
			random: rand.New(rand.NewPCG(random.Uint64(), 0)), often: often, whole: whole, sent: map[string]string{}, ghosts: map[string]bool{},
		}
		all = append(all, w)
		switch b := b.(type) {
		case telegramBoard:
			ghosts = w
			w.follow(r)
			r.telegram.On("", func(c telegram.Call) telegram.Action {
				if slices.Contains([]string{"getUpdates", "getMe", "setMyCommands", "getChat", "deleteWebhook"}, c.Method) {
					return telegram.Action{}
				}
				return w.decide(c.Method, append(page, telegram.FloodWait(1))...)
			})
		case *discordBoard:
			b.server.On("", func(c discord.Call) discord.Action {
				if strings.Contains(c.Method, "gateway") || strings.Contains(c.Method, "commands") {
					return discord.Action{}
				}
				return w.decide(c.Method, append(page, discord.RateLimited(50*time.Millisecond), discord.GlobalLimited(50*time.Millisecond))...)
			})
		case *slackBoard:
			b.server.On("", func(c stage.Call) stage.Action {
				if c.Method == "apps.connections.open" || c.Method == "auth.test" || c.Method == "socket" {
					return stage.Action{}
				}
				return w.decide(c.Method, append(page, slack.RateLimited(1))...)
			})
		}
	}
	return ghosts, all, func() int {
		n := 0
		for _, w := range all {
			n += w.clear()
		}
		return n
	}
}

// Whatever visitors and operators do, in whatever order, and however the platforms fail meanwhile: in the end every thread shows
// what the model says, and the app was told it.
func TestTravelModel(t *testing.T) {
	t.Parallel() // it waits most of the time
	sessions, steps := 8, 30
	if soak.Asked() {
		sessions, steps = 300, 100
	}
	// The stand-ins refuse some calls for their pace. Where no pace is known, that would teach one that the whole test waits for.
	travelModel(t, sessions, steps, map[string]string{"TELEGRAM_RATE": "6000", "DISCORD_RATE": "1000", "SLACK_RATE": "1000"}, false)
}

// So it is where all that is said waits for the platforms' paces, so that words are shown together, and the bridge is killed meanwhile.
func TestTravelModelNarrow(t *testing.T) {
	t.Parallel() // it waits most of the time
	sessions, steps := 6, 24
	if soak.Asked() {
		sessions, steps = 100, 60
	}
	travelModel(t, sessions, steps, map[string]string{"TELEGRAM_RATE": "480", "DISCORD_RATE": "10", "SLACK_RATE": "10"}, true)
}

func travelModel(t *testing.T, sessions, steps int, rates map[string]string, kills bool) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	r.use("telegram", "discord text")
	// What is not acknowledged comes again soon, not in a minute.
	retries := slack.Options{RetryPauses: []time.Duration{0, 100 * time.Millisecond, time.Second, 5 * time.Second, 5 * time.Second}}
	quick := newSlackBoard(t, true, retries)
	maps.Copy(r.env, quick.env())
	maps.Copy(r.env, rates)
	r.boards = append(r.boards, quick)
	stores()["bolt"](t, r.env)
	r.start()
	r.listened(t)
	ghosts, all, end := r.spoil(random, 15, sessions/8)
	var talks []*talk
	for i := range sessions {
		j := r.newJourney(fmt.Sprint("talk-", i))
		talks = append(talks, &talk{
			j: j, random: rand.New(rand.NewPCG(random.Uint64(), 0)), seen: map[string]bool{}, ghosts: ghosts,
			loose: map[string]bool{}, moved: map[string]bool{}, below: map[string]bool{},
			all: []*said{{mark: "m0", by: "visitor", id: "m0", text: "m0v0 hello"}},
		})
	}
	errs := make([]error, len(talks))
	var wg sync.WaitGroup
	for i, k := range talks {
		wg.Go(func() {
			if errs[i] = errors.Join(k.j.writes("m0", "m0v0 hello", nil), k.j.opened()); errs[i] != nil {
				return
			}
			for range steps {
				if errs[i] = k.step(); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	no(t, errs...)
	if kills {
		r.caughtUp(t).kill(t, all, func() (err error) { // what one visitor says in a row is shown together
			for _, k := range talks {
				for range 3 {
					err = errors.Join(err, k.remark())
				}
			}
			return err
		})
	}
	r.idle()
	spoilt := end()
	messages, merged := 0, 0
	for _, k := range talks {
		// What the app was told last may still become a sign.
		var found string
		if !r.eventually(func() bool { found = k.differs(); return found == "" }) {
			t.Errorf("%s:\n%s", k.j.name, found)
			for _, on := range k.j.stands {
				if strings.Contains(found, on.name()+": ") {
					for _, s := range on.see(k.j.threads[on.name()]) {
						t.Logf("%s shows %s: %.300s", on.name(), s.ID, s)
					}
				}
			}
			for line := range strings.Lines(r.process().Output()) {
				if strings.Contains(line, "session="+k.j.name+" ") {
					t.Log(line)
				}
			}
		}
		messages += len(k.all)
		merged += len(k.loose)
	}
	if kills && merged == 0 && !t.Failed() {
		t.Error("no words were shown together")
	}
	soak.Row(t, "%d sessions, %d messages, %d of them shown with others, %d calls spoilt: every thread is as the model has it",
		sessions, messages, merged, spoilt)
	if t.Failed() {
		t.Log(lastLines(r.process().Output(), 400))
	}
}
