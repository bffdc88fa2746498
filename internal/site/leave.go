package site

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// No single sign says that a visitor has left. A page that is left sends a beacon. A page that downloads a file sends one, too. A page that is
// reloaded sends it only after the new page has connected. A socket may close because the network is bad. The socket of a page that was left
// may stay open: a browser keeps the page for the visitor's way back, Chromium for ten minutes. Such a page has sent both beacons, that it is
// left and that it is hidden. Then all sockets of its session are closed, and pages that are still there open theirs again.
const (
	leaveHold     = 30 * time.Second  // between a beacon, or the last socket's close, and the visitor counting as gone; any sign of a page cancels it
	beaconsApart  = 5 * time.Second   // at most, between the two beacons of a page that is left
	connectShield = 5 * time.Second   // after a connect; a beacon within it comes from the page before
	silentAfter   = 150 * time.Second // a page that polls counts as gone after so long without a call; a hidden one polls once a minute
	visitsEvery   = time.Second       // how often visitors are checked for having left
	visitsShared  = 10 * time.Second  // how often other bridges' view of visitors is checked
)

// visits are the visitors who are here, as this bridge sees it.
type visits struct {
	door *Door

	mu      sync.Mutex
	all     map[string]*visit
	answers map[string]*unanswered
}

// visit is a visitor who is here.
type visit struct {
	pages     int // sockets and streams
	connected time.Time
	sign      time.Time // the last of a page
	leaving   time.Time // since when they are about to have left; zero: they are not
	noted     bool      // other bridges know that they are about to have left
	told      time.Time // when a page said last that it is left
	hidden    time.Time // when one said last that it is hidden
	seconds   float64   // the visit's length, as the page gave it
}

// stays notes that a page of the session gave a sign.
func (v *visit) stays(now time.Time) { v.sign, v.leaving, v.noted = now, time.Time{}, false }

func newVisits(d *Door) *visits {
	return &visits{door: d, all: map[string]*visit{}, answers: map[string]*unanswered{}}
}

// visit is called under the lock.
func (vs *visits) visit(session string) *visit {
	v := vs.all[session]
	if v == nil {
		v = &visit{}
		vs.all[session] = v
	}
	return v
}

func (vs *visits) connected(session string, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.visit(session)
	v.connected = now
	v.stays(now)
}

// sign notes that a page of the session is there.
func (vs *visits) sign(session string, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.visit(session).stays(now)
}

func (vs *visits) opened(session string, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.visit(session)
	v.pages++
	v.stays(now)
}

func (vs *visits) closed(session string, left int, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.visit(session)
	if v.pages = left; left == 0 {
		v.leaving = now
	}
}

// beacon notes that a page says it is left. That is ignored while another page is open, and just after a connect.
func (vs *visits) beacon(session string, seconds float64, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v := vs.visit(session)
	if now.Sub(v.connected) < connectShield {
		return
	}
	v.seconds, v.told = seconds, now
	vs.endLeft(session, v, now)
	if v.pages == 0 && v.leaving.IsZero() {
		v.leaving = now
	}
}

// hid notes that a page says it is hidden. That does not count as a sign that the page is there.
func (vs *visits) hid(session string, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v := vs.all[session]; v != nil {
		v.hidden = now
		vs.endLeft(session, v, now)
	}
}

// endLeft closes a session's sockets when one of its pages has sent both beacons. The caller holds the lock.
func (vs *visits) endLeft(session string, v *visit, now time.Time) {
	if now.Sub(v.told) < beaconsApart && now.Sub(v.hidden) < beaconsApart {
		v.told, v.hidden = time.Time{}, time.Time{}
		vs.door.hub.end(session, now)
	}
}

// disconnect answers a page's beacon; nobody reads the answer.
func (d *Door) disconnect(r *http.Request) (any, error) {
	var req struct {
		SessionID string  `json:"sessionId"`
		Duration  float64 `json:"duration"`
	}
	if err := d.body(r, maxBody, &req); err != nil {
		return nil, err
	}
	v, err := d.visitor(r.Context(), req.SessionID)
	if err != nil {
		return nil, err
	}
	d.visits.beacon(v.ID, max(req.Duration, 0), time.Now())
	return ok{true}, nil
}

// visibility answers a page that becomes hidden or visible. Hidden comes as a beacon and is no sign that the page is there; visible is one.
func (d *Door) visibility(r *http.Request) (any, error) {
	var req struct {
		SessionID string `json:"sessionId"`
		State     string `json:"state"`
	}
	if err := d.body(r, maxBody, &req); err != nil {
		return nil, err
	}
	v, err := d.visitor(r.Context(), req.SessionID)
	if err != nil {
		return nil, err
	}
	switch req.State {
	case "visible":
		d.visits.sign(v.ID, time.Now())
	case "hidden":
		d.visits.hid(v.ID, time.Now())
	}
	return ok{true}, nil
}

// run checks until ctx ends which visitors have left.
func (vs *visits) run(ctx context.Context) {
	tick := time.NewTicker(visitsEvery)
	defer tick.Stop()
	shared := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-vs.door.o.Closing:
			return
		case <-tick.C:
		}
		now := time.Now()
		vs.look(ctx, now)
		vs.lookForAnswers(ctx, now)
		vs.door.hub.tidy(now)
		if vs.door.o.Several && now.Sub(shared) >= visitsShared {
			shared = now
			vs.correct(ctx)
		}
	}
}

// look tells operators and the app of visitors who have left.
func (vs *visits) look(ctx context.Context, now time.Time) {
	var note, gone []string
	vs.mu.Lock()
	for session, v := range vs.all {
		if v.pages == 0 && v.leaving.IsZero() && now.Sub(v.sign) >= silentAfter-leaveHold {
			v.leaving = now
		}
		switch {
		case v.leaving.IsZero():
		case now.Sub(v.leaving) >= leaveHold:
			gone = append(gone, session)
		case !v.noted && vs.door.o.Several:
			v.noted = true
			note = append(note, session)
		}
	}
	vs.mu.Unlock()
	for _, session := range note {
		vs.setLeaving(ctx, session, now)
	}
	for _, session := range gone {
		vs.left(ctx, session)
	}
}

// setLeaving writes to the store since when no page of a session is open here. Another bridge that has one clears it with a zero time.
func (vs *visits) setLeaving(ctx context.Context, session string, at time.Time) {
	_, _ = vs.door.change(ctx, session, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		if v.raw == nil || v.Left || v.Leaving.IsZero() == at.IsZero() {
			return nil, nil, false
		}
		v.Leaving = at.UTC()
		return nil, nil, true
	}) // at worst a visitor who is still there is reported as gone
}

// correct clears that time of visitors who have a page open here, where another bridge has set it.
func (vs *visits) correct(ctx context.Context) {
	var here []string
	vs.mu.Lock()
	for session, v := range vs.all {
		if v.leaving.IsZero() {
			here = append(here, session)
		}
	}
	vs.mu.Unlock()
	for some := range slices.Chunk(here, 200) {
		rows, err := vs.door.o.Store.GetAll(ctx, tableSessions, some...)
		if err != nil || ctx.Err() != nil {
			return
		}
		for i, raw := range rows {
			var v visitor
			if raw != nil && json.Unmarshal(raw, &v) == nil && !v.Leaving.IsZero() {
				vs.setLeaving(ctx, some[i], time.Time{})
			}
		}
	}
}

// left reports that a visitor has left, once in a visit, unless a page of theirs gave a sign meanwhile.
func (vs *visits) left(ctx context.Context, session string) {
	vs.mu.Lock()
	seen := vs.all[session]
	if seen == nil || seen.leaving.IsZero() {
		vs.mu.Unlock()
		return
	}
	was := *seen
	delete(vs.all, session)
	vs.mu.Unlock()
	_, err := vs.door.change(ctx, session, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		elsewhere := vs.door.o.Several && v.Leaving.IsZero() // another bridge has a page of theirs
		if v.raw == nil || v.Left || elsewhere || v.Connected.After(was.leaving) {
			return nil, nil, false
		}
		if v.Left = true; was.seconds == 0 {
			was.seconds = was.leaving.Sub(v.Connected).Round(time.Second).Seconds()
		}
		return map[string]any{
			"type": bridge.TypeVisitorDisconnect, "session": v.session(), "duration": max(was.seconds, 0), "reason": "page_unload",
		}, nil, true
	})
	if err == nil || errors.Is(err, ErrNoSession) || ctx.Err() != nil {
		return
	}
	vs.mu.Lock() // it is tried again
	defer vs.mu.Unlock()
	if vs.all[session] == nil {
		vs.all[session] = &was
	}
}

// unanswered are operators' messages of a session that no page has taken yet.
type unanswered struct {
	since    time.Time // of the first
	messages []string
}

// The limits of what is known of answers that no page has taken.
const (
	answerWaits   = 2 * time.Minute
	answersKnown  = 10_000 // sessions
	answersOfSame = 50     // messages of a session
)

// answer notes an operator's message.
func (vs *visits) answer(session, id string, at time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	a := vs.answers[session]
	if a == nil {
		if len(vs.answers) >= answersKnown {
			return
		}
		a = &unanswered{since: at}
		vs.answers[session] = a
	}
	if len(a.messages) < answersOfSame {
		a.messages = append(a.messages, id)
	}
}

// lookForAnswers reports operators' messages that no page has taken for too long.
func (vs *visits) lookForAnswers(ctx context.Context, now time.Time) {
	due := map[string]*unanswered{}
	vs.mu.Lock()
	for session, a := range vs.answers {
		if now.Sub(a.since) >= answerWaits {
			due[session] = a
			delete(vs.answers, session)
		}
	}
	vs.mu.Unlock()
	for session, a := range due {
		if err := vs.tellWaiting(ctx, session, a); err != nil && ctx.Err() == nil {
			vs.mu.Lock()
			if vs.answers[session] == nil {
				vs.answers[session] = a
			}
			vs.mu.Unlock()
		}
	}
}

func (vs *visits) tellWaiting(ctx context.Context, session string, a *unanswered) error {
	v, err := vs.door.visitor(ctx, session)
	if errors.Is(err, ErrNoSession) || vs.door.o.Waiting == nil {
		return nil // it is an app server's
	}
	if err != nil {
		return err
	}
	found, err := vs.door.o.Transcripts.TranscriptOf(ctx, session, a.messages...)
	if err != nil {
		return err
	}
	var waiting []string
	for _, m := range found {
		if m.Sender != bridge.SenderVisitor && m.Status == "sent" && m.DeletedAt == "" {
			waiting = append(waiting, m.ID)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return vs.door.o.Waiting(ctx, session, waiting, v.email())
}
