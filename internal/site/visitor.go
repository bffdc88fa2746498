package site

import (
	"cmp"
	"context"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// PreChat says what visitors are asked for before they write.
type PreChat struct {
	Fields   string // email, phone or email-or-phone; empty: nothing
	Required bool
	Always   bool // else only while nobody is there
}

type preChatForm struct {
	Enabled   bool   `json:"enabled"`
	Required  bool   `json:"required"`
	Timing    string `json:"timing"`
	Fields    string `json:"fields"`
	Completed bool   `json:"completed"`
}

// form is the form for a session. It comes before the first message: after it, the widget would hide the whole talk until it is
// filled in.
func (p PreChat) form(v *visitor, online bool) *preChatForm {
	if p.Fields == "" || online && !p.Always {
		return nil
	}
	fields := p.Fields
	if fields == "email" || fields == "phone" {
		fields += "-only"
	}
	return &preChatForm{
		Enabled: true, Required: p.Required, Timing: "before-first-message", Fields: fields,
		Completed: v.PreChat || v.email() != "" && p.Fields != "phone",
	}
}

// known returns the session that a request names, and notes that its page is there.
func (d *Door) known(ctx context.Context, id string) (*visitor, error) {
	v, err := d.visitor(ctx, id)
	if err != nil {
		return nil, err
	}
	d.visits.sign(id, time.Now())
	return v, nil
}

// asked reads a request's JSON object of at most so many bytes into req, and returns the session that it then names in id, as known does.
func (d *Door) asked(r *http.Request, most int64, req any, id *string) (*visitor, error) {
	if err := d.body(r, most, req); err != nil {
		return nil, err
	}
	return d.known(r.Context(), *id)
}

func (d *Door) presence(r *http.Request) (any, error) {
	type operator struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Avatar string `json:"avatar,omitempty"`
	}
	answer := struct {
		Online    bool       `json:"online"`
		Operators []operator `json:"operators"`
		AIEnabled bool       `json:"aiEnabled"`
	}{Online: d.o.Presence.Online(), Operators: []operator{}}
	all, err := d.o.Presence.Operators(r.Context())
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if o.Status != bridge.StatusOnline {
			continue
		}
		answer.Operators = append(answer.Operators, operator{ID: o.ID, Name: cmp.Or(d.o.PublicName, o.Name)})
	}
	return answer, nil
}

func (d *Door) identify(r *http.Request) (any, error) {
	var req struct {
		SessionID string            `json:"sessionId"`
		Identity  *identityOfWidget `json:"identity"`
	}
	if _, err := d.asked(r, maxBody, &req, &req.SessionID); err != nil {
		return nil, err
	}
	proved := d.prove(req.Identity)
	if proved.identity == nil && !proved.dropped {
		return nil, bad("identity", "is required")
	}
	_, err := d.change(r.Context(), req.SessionID, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		before := string(v.Identity)
		rows := proved.apply(v)
		return v.event(bridge.TypeIdentityUpdate), rows, before != string(v.Identity)
	})
	return ok{proved.identity != nil}, err
}

func (d *Door) preChat(r *http.Request) (any, error) {
	var req struct {
		SessionID    string `json:"sessionId"`
		Email        string `json:"email"`
		Phone        string `json:"phone"`
		PhoneCountry string `json:"phoneCountry"`
	}
	if _, err := d.asked(r, maxBody, &req, &req.SessionID); err != nil {
		return nil, err
	}
	if len(req.Email) > 320 || len(req.Phone) > 32 || len(req.PhoneCountry) > 8 {
		return nil, bad("email", "must be an e-mail address, and phone a number")
	}
	_, err := d.change(r.Context(), req.SessionID, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		v.PreChat = true
		v.Email = cmp.Or(req.Email, v.Email)
		if req.Phone != "" {
			v.Phone, v.Country = req.Phone, req.PhoneCountry
		}
		return v.event(bridge.TypeIdentityUpdate), nil, true
	})
	return ok{true}, err
}

// maxComment is how long a rating's comment may be in characters; the widget lets no more be written.
const maxComment = 1000

// rate takes a rating, once for each time that one is asked for.
func (d *Door) rate(r *http.Request) (any, error) {
	var req struct {
		SessionID string `json:"sessionId"`
		Score     *int   `json:"score"`
		Comment   string `json:"comment"`
	}
	if _, err := d.asked(r, maxBody, &req, &req.SessionID); err != nil {
		return nil, err
	}
	if req.Score == nil || *req.Score < 1 || *req.Score > 5 {
		return nil, bad("score", "must be 1 to 5")
	}
	if utf8.RuneCountInString(req.Comment) > maxComment {
		req.Comment = string([]rune(req.Comment)[:maxComment])
	}
	already := false
	_, err := d.change(r.Context(), req.SessionID, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		if already = !v.Rated.IsZero() && !v.Asked.After(v.Rated); already {
			return nil, nil, false
		}
		v.Rated = time.Now().UTC()
		return map[string]any{
			"type": bridge.TypeCSATSubmitted, "session": v.session(), "score": *req.Score, "comment": req.Comment,
			"respondedAt": bridge.WireTime(v.Rated),
		}, nil, true
	})
	return struct {
		OK           bool `json:"ok"`
		AlreadyRated bool `json:"alreadyRated"`
	}{true, already}, err
}

// askedToRate notes that a rating was asked for, so that a page which opens later shows the card too.
func (d *Door) askedToRate(ctx context.Context, session string, at time.Time) error {
	_, err := d.change(ctx, session, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		if v.raw == nil || !at.After(v.Asked) {
			return nil, nil, false
		}
		v.Asked = at.UTC()
		return nil, nil, true
	})
	return err
}

// pendingRating says whether a rating was asked for and not given.
func (v *visitor) pendingRating() bool { return v.Asked.After(v.Rated) }
