package slack

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/bridge"
)

// socketRun is one run of Listen by Socket Mode. One goroutine uses it.
type socketRun struct {
	slack  *Slack
	inbox  bridge.Inbox
	conns  *connSet
	resume func() // lets requests by HTTP go on, if they wait

	standing map[*socket]bool
	settled  bool    // a connection is open, and everything before it is accepted
	aside    []frame // messages that wait until everything before them is accepted
	gap      bool    // something may have been lost with a connection
	lost     int     // connections that were lost at once, one after the other
	// catching reads what was missed, as fast as Slack allows; nil while nothing is read.
	catching *catching
}

// keepSocket receives by Socket Mode. It returns when no connection is open and none can be made; the relay decides when to try again.
// resume is called when requests by HTTP need not wait any more.
func (s *Slack) keepSocket(ctx context.Context, inbox bridge.Inbox, resume func()) error {
	ctx, cancel := context.WithCancel(ctx)
	r := &socketRun{
		slack: s, inbox: inbox, resume: resume, gap: true, standing: map[*socket]bool{},
		conns: &connSet{slack: s, ctx: ctx, queue: make(chan frame, maxQueue), open: map[*socket]bool{}},
	}
	defer func() {
		if r.catching != nil {
			<-r.catching.ended //nolint:errcheck // it was cancelled
		}
	}()
	defer r.conns.work.Wait()
	defer r.conns.closeAll()
	defer cancel()
	r.conns.ensure(0)
	for {
		if err := r.next(ctx); err != nil {
			return err
		}
	}
}

// next waits for one of these and deals with it: a frame, the end of catching up, or a sign that something was missed.
func (r *socketRun) next(ctx context.Context) error {
	missed := r.slack.missed
	var caughtUp chan error
	if r.catching != nil {
		missed, caughtUp = nil, r.catching.ended // the read that is under way finds that, too
	}
	select {
	case f := <-r.conns.queue:
		return r.frame(ctx, f)
	case err := <-caughtUp:
		r.catching = nil
		r.gap = r.gap && err != nil
		return err
	case <-missed:
		return r.slack.catchUpFrom(ctx, r.inbox, r.slack.position(), span{overlap, threadReach, true}, nil)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *socketRun) frame(ctx context.Context, f frame) error {
	switch {
	case f.body != nil && r.settled:
		return r.slack.envelope(ctx, r.inbox, f, r.catching == nil)
	case f.body != nil:
		r.aside = append(r.aside, f)
		return nil
	case f.begins:
		// Close the connection before this one. Slack spreads messages over all open connections, in no order.
		for k := range r.standing {
			k.leave()
		}
		r.standing[f.from] = true
	case f.from == nil:
		return r.notMade(f.err)
	case f.err != nil:
		return f.err
	default:
		r.ended(f.from)
	}
	// A message may have been lost with a connection that is closed.
	if r.settled = len(r.standing) == 1; !r.settled {
		return nil
	}
	return r.settle(ctx, f.from.left)
}

// notMade notes a connection that could not be made. The run ends with its error when no connection is open, or when no other could be
// made either.
func (r *socketRun) notMade(err error) error {
	d, _ := errors.AsType[*bridge.DeliveryError](err)
	if len(r.standing) == 0 || d == nil || d.Reason == bridge.ReasonAuth {
		return err
	}
	r.lost++
	r.conns.replace(max(r.slack.pause(r.lost), d.RetryAfter))
	return nil
}

// ended notes that a connection has closed, and opens another one.
func (r *socketRun) ended(k *socket) {
	delete(r.standing, k)
	switch {
	case time.Since(k.began) > socketCalm:
		r.lost = 0
	case !k.left:
		r.lost++
	}
	r.gap = r.gap || !k.left
	if len(r.standing) == 0 {
		r.gap = true
		r.slack.log.Info("the connection to Slack is lost; another one is made", "op", opSocket)
		r.conns.ensure(r.slack.pause(r.lost - 1))
	}
}

// settle accepts what was missed, as far as Slack allows that to be read without a pause, and then the messages that waited. left says that
// the connection before was closed in order.
func (r *socketRun) settle(ctx context.Context, left bool) error {
	if r.catching != nil {
		r.slack.noteMissed() // read once more when this has ended
	} else if err := r.catchUp(ctx, left); err != nil {
		return err
	}
	r.resume()
	waiting := r.aside
	r.aside = nil
	for _, f := range waiting {
		if err := r.slack.envelope(ctx, r.inbox, f, r.catching == nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *socketRun) catchUp(ctx context.Context, left bool) error {
	of := span{overlap, threadReach, true}
	if left && !r.gap {
		of = span{briefly, briefReach, true}
	}
	begun := r.slack.catchUpApart(ctx, r.inbox, of)
	select {
	case err := <-begun.ended:
		r.gap = r.gap && err != nil
		return err
	case <-begun.limited:
		r.catching = begun
		return nil
	}
}

// envelope accepts a message of a connection and acknowledges it. A message that cannot be accepted is not acknowledged, so that Slack
// sends it again. A message that cannot be read is acknowledged: it would be no better the next time. moves says whether the position moves
// with it.
func (s *Slack) envelope(ctx context.Context, inbox bridge.Inbox, f frame, moves bool) error {
	var e struct {
		ID      string          `json:"envelope_id"`
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := decode(f.body, &e); err != nil || e.ID == "" {
		if e.Type != "hello" {
			s.log.Warn("a frame without an envelope is skipped", "op", opSocket)
		}
		return nil
	}
	var answer json.RawMessage
	switch e.Type {
	case "events_api":
		if err := s.handle(ctx, inbox, e.Payload, moves); err != nil {
			return err
		}
	case "slash_commands":
		var c slash
		if err := decode(e.Payload, &c); err != nil {
			s.log.Warn("a command cannot be read and is skipped", "op", opSocket)
			break
		}
		reply, err := s.command(ctx, inbox, &c)
		if err != nil {
			return err
		}
		if reply != "" {
			answer = ephemeral(reply)
		}
	case "interactive":
		if err := s.press(ctx, inbox, e.Payload); err != nil {
			return err
		}
	default:
		s.log.Debug("a message of a kind that is not asked for is acknowledged", "op", opSocket)
	}
	ack, err := json.Marshal(struct {
		ID      string          `json:"envelope_id"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}{e.ID, answer})
	if err == nil {
		// If the connection has closed, Slack sends the envelope again by another one, where it is recognised.
		_ = f.from.ws.SetWriteDeadline(time.Now().Add(writeWithin))
		_ = f.from.ws.WriteMessage(websocket.TextMessage, ack)
	}
	return nil
}
