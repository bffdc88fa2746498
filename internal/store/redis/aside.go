package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
)

// channelAside and a database's number are the channel by which the bridges there tell each other what is told at once and never stored:
// channels are of a whole Redis. A message is a word of the bridge that sends it, a space, and the text.
const channelAside = prefix + "aside:"

const (
	asidePause  = time.Second      // after a failure, until it is listened again
	asideSilent = 30 * time.Second // without a message, until it is looked whether the connection stands
)

// Aside tells the other bridges on a Redis what is never stored. What cannot be told at once is lost. Its methods may be called from
// several goroutines.
type Aside struct {
	store *Store
	self  string // the word of this bridge
	log   *slog.Logger
}

// Aside returns the way to the other bridges on this Redis.
func (s *Store) Aside(log *slog.Logger) *Aside { return &Aside{store: s, self: rand.Text(), log: log} }

// Tell tells the other bridges.
func (a *Aside) Tell(ctx context.Context, text []byte) error {
	return a.store.do(ctx, func(c redis.Cmdable) error {
		return c.Publish(ctx, a.store.channel, a.self+" "+string(text)).Err()
	})
}

// Run calls heard with what the others tell, until ctx ends. heard must not wait.
func (a *Aside) Run(ctx context.Context, heard func(text []byte)) {
	warned := false
	for ctx.Err() == nil {
		err := a.listen(ctx, heard)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !warned {
			warned = true
			a.log.Warn("this bridge does not hear from the others when an operator types; trying on", "err", a.store.fault(ctx, err))
		}
		bridge.Sleep(ctx, asidePause)
	}
}

// listen returns when the connection is lost, or may not listen.
func (a *Aside) listen(ctx context.Context, heard func([]byte)) error {
	sub := a.store.read.Subscribe(ctx, a.store.channel)
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()
	for asked := false; ; {
		m, err := sub.ReceiveTimeout(ctx, asideSilent)
		if silent, ok := errors.AsType[net.Error](err); ok && silent.Timeout() && !asked {
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		said, ok := m.(*redis.Message)
		if !ok {
			continue
		}
		if from, text, ok := strings.Cut(said.Payload, " "); ok && from != a.self {
			heard([]byte(text))
		}
	}
}
