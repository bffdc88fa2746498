package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// Conversations are found by the words of what the site tells of their visitor. The rows are written by whoever follows the
// conversations, a moment after the event, so that accepting one costs nothing for them; they go with their session.
const (
	// tableWords has the sessions of each word, the newest first: key <word>, line feed, <age>, line feed, <session>, value nothing.
	tableWords = "by-word"
	// tableAges has all sessions, the newest first: key <age>, line feed, <session>, value its words with line feeds between them.
	tableAges = "by-age"
	// tableIndexed holds what is kept of a session in the two others: key session, value indexed.
	tableIndexed = "indexed"
)

// indexed is under which words and since when a session is found.
type indexed struct {
	At    bridge.Seq `json:"at"` // of the event that made it known
	Words []string   `json:"words"`
}

// The measures of the words of a session.
const (
	wordMost   = 48 // characters of a word
	wordsMost  = 60 // of a session
	valueMost  = 300
	byVisitor  = "\x01v" // before a visitor's id, in a key of its own that no text can ask for
	byIdentity = "\x01i" // before an identity's
)

// ageOf is a number of 20 digits that is the smaller the later a place in the log is.
func ageOf(seq bridge.Seq) string { return fmt.Sprintf("%020d", ^uint64(0)-uint64(seq)) }

// wordsIn returns the words of a text: what stands between blanks, and the parts of it between other signs, in lower case.
func wordsIn(text string) []string {
	var out []string
	for _, token := range strings.Fields(strings.ToLower(measure.OneLine(text, valueMost))) {
		parts := append([]string{token}, strings.FieldsFunc(token, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })...)
		for _, part := range parts {
			if r := []rune(part); len(r) > wordMost {
				part = string(r[:wordMost])
			}
			if strings.ContainsFunc(part, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) && !slices.Contains(out, part) {
				out = append(out, part)
			}
		}
	}
	return out
}

// indexWords returns under what a session is found: the words of its names and of its card, and the ids that its visitor has elsewhere.
func indexWords(s *bridge.Session) []string {
	out := []string{byVisitor + s.VisitorID}
	texts := []string{}
	if i := s.Identity; i != nil {
		if i.ID != "" {
			out = append(out, byIdentity+i.ID)
		}
		texts = append(texts, i.Name, i.Email, i.ID)
	}
	texts = append(texts, s.VisitorID, s.ID, s.UserPhone)
	if m := s.Metadata; m != nil {
		texts = append(texts, m.City, m.Country, m.PageTitle, m.URL, m.DeviceType, m.Browser, m.OS)
	}
	for _, text := range texts {
		for _, word := range wordsIn(text) {
			if len(out) < wordsMost && !slices.Contains(out, word) {
				out = append(out, word)
			}
		}
	}
	return out
}

// indexRows are what has to be written for a session to be found by other words than before; was is what is kept of it.
func indexRows(session string, was, is indexed) []bridge.Row {
	age := ageOf(is.At)
	key := func(word string) string { return word + "\n" + age + "\n" + session }
	var rows []bridge.Row
	for _, word := range was.Words {
		if !slices.Contains(is.Words, word) {
			rows = append(rows, bridge.Row{Table: tableWords, Key: key(word), Session: session})
		}
	}
	for _, word := range is.Words {
		if !slices.Contains(was.Words, word) {
			rows = append(rows, bridge.Row{Table: tableWords, Key: key(word), Value: []byte{}, Session: session})
		}
	}
	return append(rows,
		bridge.Row{Table: tableAges, Key: age + "\n" + session, Value: []byte(strings.Join(is.Words, "\n")), Session: session},
		bridge.Row{Table: tableIndexed, Key: session, Value: bridge.MustJSON(is), Session: session})
}

// ageRow reads the end of a key of tableWords or tableAges.
func ageRow(key string) (age, session string, ok bool) {
	age, session, ok = strings.Cut(key, "\n")
	_, err := strconv.ParseUint(age, 10, 64)
	return age, session, ok && err == nil
}

// toIndex is the last event of a session that tells of its visitor.
type toIndex struct {
	event  bridge.Entry
	spoken bool // somebody has said something: before, a session is not worth finding
}

// indexAll has sessions found by what some events tell of them.
func (w *conversationTracker) indexAll(ctx context.Context, entries []bridge.Entry) error {
	told := map[string]toIndex{}
	for _, e := range entries {
		session := e.Event.Session
		if !e.Event.Opens || session == "" || e.Event.Blocked {
			continue
		}
		switch e.Event.Type {
		case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage:
			if _, waits := told[session]; !waits && w.indexed[session] {
				continue
			}
			told[session] = toIndex{e, true}
		case bridge.TypeNewSession, bridge.TypeIdentityUpdate:
			told[session] = toIndex{e, told[session].spoken}
		}
	}
	if len(told) == 0 {
		return nil
	}
	sessions := slices.Sorted(maps.Keys(told))
	kept, err := w.desk.store.GetAll(ctx, tableIndexed, sessions...)
	if err != nil {
		return err
	}
	b := bridge.Batch{Lease: w.lane.Lease()}
	for i, session := range sessions {
		one := told[session]
		var was indexed
		if kept[i] != nil && json.Unmarshal(kept[i], &was) != nil || kept[i] == nil && !one.spoken {
			continue
		}
		rows, err := w.indexOne(ctx, session, one, was)
		if err != nil {
			return err
		}
		b.Rows = append(b.Rows, rows...)
		if len(b.Rows) >= trackerPage {
			if _, err := w.desk.commit(ctx, b); err != nil {
				return err
			}
			b.Rows = nil
		}
	}
	if len(b.Rows) > 0 {
		_, err = w.desk.commit(ctx, b)
	}
	return err
}

// indexOne returns the rows of one session; none where it is found as it is told already, or was forgotten meanwhile.
func (w *conversationTracker) indexOne(ctx context.Context, session string, one toIndex, was indexed) ([]bridge.Row, error) {
	var a bridge.AppEvent
	if json.Unmarshal(one.event.Event.Body, &a) != nil || a.Session == nil {
		return nil, nil
	}
	is := indexed{At: was.At, Words: indexWords(w.desk.hide.Session(a.Session))}
	if is.At == 0 {
		is.At = one.event.Seq
	}
	if len(w.indexed) >= knownConversations {
		clear(w.indexed)
	}
	w.indexed[session] = true
	if slices.Equal(was.Words, is.Words) {
		return nil, nil
	}
	known, err := w.desk.store.Claimed(ctx, session, bridge.SessionKey)
	if err != nil || known[0] == 0 {
		return nil, err
	}
	return indexRows(session, was, is), nil
}

// found is a session that was found.
type found struct{ age, session string }

// searchMost are the measures of a search: how many rows of a word are read, and of all sessions where a word has more of them. Of the two one is few,
// however many sessions there are: of a million, a word that has more than 4000 is one of 250's at least, and ten of them are among the
// newest 2500, unless it has gone out of use.
type searchMost struct {
	word int // rows of a word
	all  int // rows of all sessions
	page int // of them at once
}

func searchLimits() searchMost { return searchMost{word: 4000, all: 12_000, page: 3000} }

// search returns the newest sessions in which each term begins a word, the newest first. Of a word that very many sessions have, and
// none of the newest, some are returned, which need not be the newest of them.
func (r *Desk) search(ctx context.Context, terms []string, most int) ([]found, error) {
	var few, some map[string]string // session → age
	complete := false
	for _, term := range terms {
		these, all, err := r.withWord(ctx, term)
		if err != nil {
			return nil, err
		}
		if all && (!complete || len(these) < len(few)) {
			few, complete = these, true
		}
		some = these
	}
	if complete {
		return r.among(ctx, few, terms, most)
	}
	out, err := r.searchNewest(ctx, terms, most)
	if err != nil || len(out) == most {
		return out, err
	}
	for _, one := range out {
		delete(some, one.session)
	}
	more, err := r.among(ctx, some, terms, most-len(out))
	return append(out, more...), err
}

// among returns the newest of some sessions in which each term begins a word, the newest first.
func (r *Desk) among(ctx context.Context, sessions map[string]string, terms []string, most int) ([]found, error) {
	out := make([]found, 0, len(sessions))
	for session, age := range sessions {
		out = append(out, found{age, session})
	}
	slices.SortFunc(out, func(a, b found) int { return strings.Compare(a.age+a.session, b.age+b.session) })
	if len(terms) == 1 {
		return out[:min(len(out), most)], nil
	}
	var good []found
	for page := range slices.Chunk(out, 10*most) {
		keys := make([]string, len(page))
		for i, one := range page {
			keys[i] = one.session
		}
		kept, err := r.store.GetAll(ctx, tableIndexed, keys...)
		if err != nil {
			return nil, err
		}
		for i, raw := range kept {
			var is indexed
			if raw != nil && json.Unmarshal(raw, &is) == nil && begins(is.Words, terms) {
				good = append(good, page[i])
			}
			if len(good) == most {
				return good, nil
			}
		}
	}
	return good, nil
}

// withWord returns the sessions in which a term begins a word; all is false where there are too many of them.
func (r *Desk) withWord(ctx context.Context, term string) (sessions map[string]string, all bool, err error) {
	rows, err := r.store.List(ctx, tableWords, term, r.searching.word+1)
	if err != nil {
		return nil, false, err
	}
	sessions = map[string]string{}
	for _, row := range rows {
		if !strings.HasPrefix(row.Key, term) {
			return sessions, true, nil
		}
		_, rest, _ := strings.Cut(row.Key, "\n")
		if age, session, ok := ageRow(rest); ok {
			sessions[session] = age
		}
	}
	return sessions, len(rows) <= r.searching.word, nil
}

// searchNewest looks at the newest sessions, one after the other.
func (r *Desk) searchNewest(ctx context.Context, terms []string, most int) (out []found, err error) {
	for after, seen := "", 0; seen < r.searching.all; seen += r.searching.page {
		rows, err := r.store.List(ctx, tableAges, after, r.searching.page)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			age, session, ok := ageRow(row.Key)
			if ok && begins(strings.Split(string(row.Value), "\n"), terms) {
				if out = append(out, found{age, session}); len(out) == most {
					return out, nil
				}
			}
		}
		if len(rows) < r.searching.page {
			return out, nil
		}
		after = rows[len(rows)-1].Key
	}
	return out, nil
}

// begins says whether each term begins one of some words.
func begins(words, terms []string) bool {
	return !slices.ContainsFunc(terms, func(term string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(word, term) })
	})
}

// earlierOf returns the sessions of a session's visitor, by the id that the site tells, and by the one that it proves, the newest first.
func (r *Desk) earlierOf(ctx context.Context, s *bridge.Session, most int) ([]found, error) {
	keys := []string{byVisitor + s.VisitorID}
	if s.Identity != nil && s.Identity.ID != "" {
		keys = append(keys, byIdentity+s.Identity.ID)
	}
	all := map[found]bool{}
	for _, key := range keys {
		rows, err := r.store.List(ctx, tableWords, key+"\n", most+1)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			rest, same := strings.CutPrefix(row.Key, key+"\n")
			if age, session, ok := ageRow(rest); same && ok && session != s.ID {
				all[found{age, session}] = true
			}
		}
	}
	out := slices.SortedFunc(maps.Keys(all), func(a, b found) int { return strings.Compare(a.age+a.session, b.age+b.session) })
	return out[:min(len(out), most)], nil
}
