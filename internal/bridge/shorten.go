package bridge

import "unicode/utf8"

// How much of what a site tells of a visitor is shown, in characters. There is no limit to what it may tell.
const (
	shownAddress = 500
	shownValue   = 200
)

// Shortened returns the session with values that are not too long to be shown. s is left as it is; nil stays nil.
func (s *Session) Shortened() *Session {
	if s == nil {
		return nil
	}
	out := *s
	shortenAll(shownValue, &out.UserPhone, &out.UserPhoneCountry)
	if s.Metadata != nil {
		m := *s.Metadata
		shortenAll(shownAddress, &m.URL, &m.Referrer, &m.UserAgent)
		shortenAll(shownValue, &m.PageTitle, &m.Timezone, &m.Language, &m.ScreenResolution, &m.IP, &m.Country, &m.City, &m.DeviceType,
			&m.Browser, &m.OS)
		out.Metadata = &m
	}
	if s.Identity != nil {
		i := *s.Identity
		shortenAll(shownValue, &i.Name, &i.Email)
		out.Identity = &i
	}
	if s.CSAT != nil {
		c := *s.CSAT
		shortenAll(shownValue, &c.Comment)
		out.CSAT = &c
	}
	return &out
}

func shortenAll(most int, texts ...*string) {
	for _, text := range texts {
		*text = Shorten(*text, most)
	}
}

// Shorten returns a text of at most a number of characters, and a … where there were more.
func Shorten(text string, most int) string {
	if len(text) <= most || utf8.RuneCountInString(text) <= most {
		return text
	}
	n := 0
	for at := range text {
		if n == most-1 {
			return text[:at] + "…"
		}
		n++
	}
	return text
}
