package bridge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Card numbers have 13 to 19 digits whose last one is Luhn's check. People write them in groups, with one sign between two groups.
const (
	cardLeast = 13
	cardShown = 4 // digits that stay
)

// cardSizes are the numbers of digits in the order in which they are looked for: the usual ones first.
func cardSizes() []int { return []int{16, 15, 14, 19, 18, 17, 13} }

// digit returns the value of a digit as people type it: also wide ones, and those of Arabic and Persian.
func digit(r rune) (byte, bool) {
	for _, zero := range []rune{'0', '０', '٠', '۰'} {
		if r >= zero && r <= zero+9 {
			return byte(r - zero), true
		}
	}
	return 0, false
}

// between says whether a sign may stand between the groups of a card number.
func between(r rune) bool {
	switch r {
	case ' ', '-', '.', '\u00a0', '\u2007', '\u2009', '\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u202f', '\u200b', '\t', '_', '/':
		return true
	}
	return false
}

// digitAt is a digit of a text.
type digitAt struct {
	at, size int  // bytes
	value    byte // 0 to 9
	first    bool // of its group
}

// MaskCards returns the text with every card number's digits but the last four as •.
func MaskCards(text string) string {
	if !mayHaveCard(text) {
		return text
	}
	var run []digitAt
	var hide []digitAt
	apart, plus, runPlus := true, false, false
	flush := func() {
		if !runPlus {
			hide = append(hide, hidden(run)...)
		}
		run, apart = run[:0], true
	}
	signs := 0
	for i, r := range text {
		value, ok := digit(r)
		switch {
		case ok:
			if len(run) == 0 {
				runPlus = plus
			}
			run = append(run, digitAt{i, utf8.RuneLen(r), value, apart})
			apart, signs = false, 0
		case len(run) > 0 && between(r) && signs == 0:
			apart, signs = true, 1
		case len(run) > 0:
			flush()
		}
		plus = r == '+'
	}
	flush()
	if len(hide) == 0 {
		return text
	}
	var out strings.Builder
	last := 0
	for _, d := range hide {
		out.WriteString(text[last:d.at])
		out.WriteString("•")
		last = d.at + d.size
	}
	out.WriteString(text[last:])
	return out.String()
}

// mayHaveCard says whether a text has enough digits.
func mayHaveCard(text string) bool {
	n := 0
	for i := range len(text) {
		if b := text[i]; b >= '0' && b <= '9' || b >= utf8.RuneSelf {
			if n++; n >= cardLeast {
				return true
			}
		}
	}
	return false
}

// hidden returns the digits of a run that are to be hidden. A card number is some groups of it, whole. The digits that stay of one may be
// the beginning of another.
func hidden(run []digitAt) []digitAt {
	var out []digitAt
	shown := -1 // where the digits begin that stay of the last one
	for i := 0; i < len(run); {
		size := 0
		if run[i].first || i == shown {
			for _, n := range cardSizes() {
				if end := i + n; end <= len(run) && (end == len(run) || run[end].first) && luhn(run[i:end]) {
					size = n
					break
				}
			}
		}
		if size == 0 {
			i++
			continue
		}
		out = append(out, run[i:i+size-cardShown]...)
		i += size - cardShown
		shown = i
	}
	return out
}

// luhn says whether the last digit is the check of the others. Zeros alone are no number of a card.
func luhn(digits []digitAt) bool {
	sum, some := 0, false
	for i, d := range digits {
		v := int(d.value)
		some = some || v != 0
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return some && sum%10 == 0
}

// notWords are the fields of the contract in which card numbers are not looked for: what they hold is made by programs, and has to stay
// as it is.
func notWords() []string {
	return []string{
		"type", "id", "visitorId", "sessionId", "messageId", "messageIds", "replyTo", "afterMessageId", "createdAt", "lastActivity", "userPhone",
		"editedAt", "deletedAt", "readAt", "deliveredAt", "respondedAt", "requestedAt", "timestamp", "url", "thumbnailUrl", "bridgeFileId", "mimeType",
		"size", "duration", "score", "ip", "hash", "token", "sourceBridge",
	}
}

// masker finds card numbers in a JSON text that an app or a page has sent.
type masker struct {
	scanner
	out  bytes.Buffer
	done int // of the text is in out
}

// MaskCardsJSON masks the card numbers in what people wrote of a JSON text that is decoded into v's type, or into nothing known where v is
// nil: in every text and number but the contract's ids, times, addresses and files. A text that is no JSON is returned as it is.
func MaskCardsJSON(body []byte, v any) []byte {
	if !mayHaveCard(string(body)) || !json.Valid(body) {
		return body
	}
	m := masker{scanner: scanner{text: body}}
	var t reflect.Type
	if v != nil {
		t = reflect.TypeOf(v)
	}
	m.mask(t, false)
	if m.done == 0 {
		return body
	}
	m.out.Write(body[m.done:])
	return m.out.Bytes()
}

// replace puts a text in the place of what stands from a place on.
func (m *masker) replace(from int, text []byte) {
	m.out.Write(m.text[m.done:from])
	m.out.Write(text)
	m.done = m.at
}

// mask goes over a value. kept says that it stays as it is.
func (m *masker) mask(t reflect.Type, kept bool) {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
		t = t.Elem()
	}
	if m.space(); m.at >= len(m.text) {
		return
	}
	switch from := m.at; m.text[m.at] {
	case '{':
		m.maskObject(t)
	case '[':
		for m.at++; ; m.at++ {
			if m.space(); m.at >= len(m.text) || m.text[m.at] == ']' {
				m.at++
				return
			}
			m.mask(t, kept)
			if m.space(); m.at >= len(m.text) || m.text[m.at] != ',' {
				m.at++
				return
			}
		}
	case '"':
		was := plain(m.quoted())
		if now := MaskCards(was); !kept && now != was {
			m.replace(from, MustJSON(now))
		}
	default:
		_ = m.value(nil)
		// A number that begins with 1 is most likely a time in milliseconds or microseconds.
		if was := string(m.text[from:m.at]); !kept && was[0] != '1' {
			if now := MaskCards(was); now != was {
				m.replace(from, MustJSON(now))
			}
		}
	}
}

func (m *masker) maskObject(t reflect.Type) {
	var fields *known
	if t != nil && t.Kind() == reflect.Struct {
		fields = fieldsOf(t)
	}
	for m.at++; ; m.at++ {
		if m.space(); m.at >= len(m.text) || m.text[m.at] != '"' {
			m.at++
			return
		}
		from := m.at
		quoted := m.quoted()
		var inner reflect.Type
		kept := false
		if fields == nil {
			if was := plain(quoted); MaskCards(was) != was {
				m.replace(from, MustJSON(MaskCards(was)))
			}
		} else if place, _ := fields.place(quoted); place >= 0 {
			name := fields.names[place]
			inner, kept = fields.types[place], slices.Contains(notWords(), name) && (name != "url" || t != reflect.TypeFor[Metadata]())
			switch name { // whatever they are decoded into
			case "identity":
				inner = reflect.TypeFor[Identity]()
			case "metadata":
				inner = reflect.TypeFor[Metadata]()
			}
		} else if t == reflect.TypeFor[Identity]() {
			kept = slices.Contains(notWords(), plain(quoted)) // the proofs
		}
		m.space()
		m.at++ // the colon
		m.mask(inner, kept)
		if m.space(); m.at >= len(m.text) || m.text[m.at] != ',' {
			m.at++
			return
		}
	}
}
