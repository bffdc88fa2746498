package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	// openSteps is more than any platform takes to open a thread.
	openSteps = 10
	// sendWithin is for all that is sent to one platform, and again for all that is taken away.
	sendWithin = time.Minute
)

// sent is what a test left on a platform.
type sent struct {
	platform bridge.Platform
	name     string // of the thread
	thread   bridge.ThreadID
	ids      []bridge.MessageID
}

// sendTests opens a thread on each platform and writes there, says where, and takes it away again when somebody at a terminal has seen it, or
// at once. It returns how many platforms did not take it.
func sendTests(ctx context.Context, platforms []bridge.Platform, t *terminal, out io.Writer) (wrong int, err error) {
	var all []sent
	for _, p := range platforms {
		s, err := sendTest(ctx, p)
		if s.thread != "" {
			all = append(all, s)
		}
		if err != nil {
			wrong++
			_, _ = fmt.Fprintf(out, "WRONG %s: nothing could be written: %s\n", p.Name(), detailOf(err))
			continue
		}
		_, _ = fmt.Fprintf(out, "ok    %s: a message is in %s\n", p.Name(), s.where())
	}
	if len(all) > 0 && t != nil {
		if _, err = t.ask(ctx, "Enter takes it away again:", false); err != nil {
			err = errors.New("what was sent is left there")
			return wrong, err
		}
	}
	for _, s := range all {
		if left := s.takeAway(ctx); left != "" {
			_, _ = fmt.Fprintf(out, "      %s: %s is left (%s); take it away by hand\n", s.platform.Name(), s.where(), left)
		} else {
			_, _ = fmt.Fprintf(out, "      %s: taken away\n", s.platform.Name())
		}
	}
	return wrong, nil
}

// where says where the test is.
func (s sent) where() string {
	if h, ok := s.platform.(bridge.Home); ok {
		setting, value := h.HomeSetting()
		return fmt.Sprintf("the thread %q of %s %s", s.name, setting, value)
	}
	return fmt.Sprintf("the thread %q", s.name)
}

func detailOf(err error) string { return bridge.AsDelivery(err, "", "it failed").Detail }

// sendTest opens a thread and writes there. What it got to is returned with an error, too.
func sendTest(ctx context.Context, p bridge.Platform) (s sent, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	key := "check-" + rand.Text()
	s = sent{platform: p, name: "Test of the bridge"}
	session := &bridge.Session{ID: key, VisitorID: key, Identity: &bridge.Identity{ID: key, Name: s.name}}
	var done []string
	for len(done) < openSteps && s.thread == "" {
		var step string
		if s.thread, step, err = p.OpenThread(ctx, session, bridge.Opening{Done: done, Key: key}); err != nil {
			return s, err
		}
		done = append(done, step)
	}
	text := "This is a test: bridge check -online -send wrote it."
	for i, part := range p.Render(bridge.Outgoing{Thread: s.thread, Visitor: s.name, Text: text, Kind: bridge.KindNotice}) {
		part.Key = fmt.Sprint(key, "/", i)
		ids, err := p.Send(ctx, s.thread, part)
		if err != nil {
			return s, err
		}
		s.ids = append(s.ids, ids...)
	}
	return s, nil
}

// takeAway removes the test, and says why some of it is left, if it is.
func (s sent) takeAway(ctx context.Context) (left string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWithin)
	defer cancel()
	if whole, ok := s.platform.(bridge.ThreadEraser); ok {
		n, err := whole.EraseThread(ctx, s.thread)
		if err == nil && n == 0 {
			return ""
		}
		if left = "the bot may not delete all of it"; err != nil {
			left = detailOf(err)
		}
	}
	single, ok := s.platform.(bridge.Deleter)
	for _, id := range s.ids {
		if !ok {
			return "messages cannot be deleted there"
		}
		if err := single.Delete(ctx, s.thread, id); err != nil {
			return detailOf(err)
		}
	}
	return left
}
