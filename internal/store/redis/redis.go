// Package redis is the store that several bridges share: one Redis (or one that speaks its protocol) of version 6.2 or newer,
// alone, behind Sentinel, or in a Cluster. What is accepted is as durable as that Redis: see Options.Wait and the server's
// appendfsync. The package knows nothing of what the events and rows mean.
//
// All keys begin with bridge:{default}: and so lie in one slot, which makes every script atomic in a Cluster too.
//
//	seq               string  the Seq of the newest event, as far as the log says the same; the log's own end counts
//	log               stream  entry <seq>-0, field e: the event's line and body
//	claim:<key>       string  <at>:<appended 0|1>:<sum>, for bridge.ClaimTTL: a claim without a session
//	claims:<session>  hash    key → the same: a session's claims
//	words             zset    session by the Seq of its last word, or of one up to 17 minutes before its last message
//	rows:<table>      hash    key → <length of owner>:<owner><value>
//	index:<table>     zset    the keys of rows:<table>, in their order, of a table that is store.Ordered
//	owned:<session>   set     <table> NUL <key> of the rows that it owns, and perhaps of some that it owned
//	lanes             hash    lane → cursor
//	done:<lane>       zset    <seq> or <seq>/<target> by seq
//	lease:<name>      string  the token of its holder, a space, and the holder's process, for as long as it was taken
//	rewritten:<word>  stream  the log, while it is written anew
//	moving            string  what is made of the store as a whole: "export", "drain", "final" or "import", a space and a word of who does it,
//	                          or "moved" and when a final export closed it, in milliseconds
//	ping              string  the last probe of writing, for a minute
//
// Bridges tell each other what is never stored by the channel aside:<database>.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

const (
	prefix     = "bridge:{default}:"
	keySeq     = prefix + "seq"
	keyLog     = prefix + "log"
	keyClaim   = prefix + "claim:"
	keyClaims  = prefix + "claims:"
	keyWords   = prefix + "words"
	keyRows    = prefix + "rows:"
	keyIndex   = prefix + "index:"
	keyOwned   = prefix + "owned:"
	keyLanes   = prefix + "lanes"
	keyDone    = prefix + "done:"
	keyLease   = prefix + "lease:"
	keyMoving  = prefix + "moving"
	keyPing    = prefix + "ping"
	fieldEvent = "e"

	// A group is at most this much: it bounds how long one script keeps Redis from everything else.
	groupCalls = 512
	groupBytes = 512 << 10

	// callTimeout bounds a script with all that belongs to it; the caller has usually left before.
	callTimeout = 5 * time.Second
	// waitTimeout is how long replicas have to take a write.
	waitTimeout = 2 * time.Second
	// blockTime bounds one blocked read, which nothing but closing its connection interrupts.
	blockTime = time.Second
)

// Options are what a Store may be told; the zero value is what a server wants.
type Options struct {
	// Wait is how many replicas must have a commit before it is answered; fewer are an unavailable store.
	Wait   int
	Logger *slog.Logger // nil: silent

	// For tests.
	waiting time.Duration
	process store.Process // that takes leases; the zero one: this process
}

// Store is a project's state in Redis. It implements store.Store.
type Store struct {
	write   redis.UniversalClient
	read    redis.UniversalClient // for reads of the log, which may block
	secrets []bridge.Secret       // that no error may show
	wait    int
	waiting time.Duration // for the replicas
	channel string        // see Aside
	group   *store.Group[*commit]
	outage  store.Outage // for the writer alone
	clock   clock
	process store.Process

	readersMu sync.Mutex
	closed    bool
	readers   sync.WaitGroup // blocked reads, some of whose callers have left
	closeOnce sync.Once
	closeErr  error
}

var _ store.Store = (*Store)(nil)

// Open connects and looks at the server's settings: one that may evict keys is an error, one that does not persist is warned
// of. A Redis that cannot be reached is an error that is bridge.ErrUnavailable. The forms of the URL, where TLS is rediss
// instead of redis, and user, password and query are optional:
//
//	redis://user:password@host:port/db?dial_timeout=2s
//	unix://user:password@/path/to/redis.sock?db=1
//	redis+sentinel://user:password@host:port,host:port/master/db?sentinel_username=u&sentinel_password=p
//	redis+sentinel://host:port,host:port?master=name&db=1
//	redis+cluster://user:password@host:port,host:port
//	redis://host:port?cluster=true
//
// No error shows a password. go-redis's own log, which is one for the process, is turned off: what fails is returned.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	redis.SetLogger(&logging.VoidLogger{})
	s := &Store{
		write:   t.client(false),
		read:    t.client(true),
		secrets: []bridge.Secret{bridge.Secret(t.options.Password), bridge.Secret(t.sentinelPassword)},
		wait:    o.Wait,
		channel: channelAside + strconv.Itoa(t.options.DB),
		waiting: cmp.Or(o.waiting, waitTimeout),
		outage:  store.Outage{Logger: o.Logger},
		process: cmp.Or(o.process, store.ThisProcess()),
	}
	s.group = store.NewGroup(groupCalls, groupBytes, s.writeGroup)
	if err := s.inspect(ctx, o.Logger); err != nil {
		if errors.Is(err, bridge.ErrUnavailable) && ctx.Err() == nil {
			if why := t.otherWay(ctx); why != "" {
				err = fmt.Errorf("%w: redis: %s", bridge.ErrUnavailable, why)
			}
		}
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the store; commits that wait are written first.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.group.Close()
		s.readersMu.Lock()
		s.closed = true
		s.readersMu.Unlock()
		s.closeErr = errors.Join(s.read.Close(), s.write.Close())
		s.readers.Wait()
	})
	return s.closeErr
}

// Now returns Redis's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	return ask(ctx, s, func(c redis.Cmdable) answer[time.Time] { return c.Time(ctx) })
}

// Ping writes a key of its own, so that a server that is full or has become a replica is noticed.
func (s *Store) Ping(ctx context.Context) error {
	switch _, closed, err := s.Moved(ctx); {
	case err != nil:
		return err
	case closed:
		return fmt.Errorf("%w: redis: %w", bridge.ErrUnavailable, store.ErrMoved)
	}
	return s.do(ctx, func(c redis.Cmdable) error {
		return c.Set(ctx, keyPing, 1, time.Minute).Err()
	})
}

// holder is who holds a lease, as the lease says it: whoever finds it can look whether that process still runs.
func (s *Store) holder(l bridge.Lease) string {
	if s.process == (store.Process{}) {
		return l.Token
	}
	return l.Token + " " + s.process.String()
}

// Acquire takes or renews a lease. One whose holder's process has ended is free.
func (s *Store) Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (held bool, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		other, err := s.acquire(ctx, c, l, ttl, "")
		if err == nil && other != "" {
			if _, process, _ := strings.Cut(other, " "); store.ParseProcess(process).Ended() {
				other, err = s.acquire(ctx, c, l, ttl, other)
			}
		}
		held = err == nil && other == ""
		return err
	})
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "MOVING "):
		return true, store.ErrMoving
	case strings.Contains(err.Error(), "CLOSED "):
		return false, store.ErrMoving
	}
	return held, err
}

// acquire takes a lease and returns nothing, or who holds it. It is taken from the one who is dead, too.
func (s *Store) acquire(ctx context.Context, c redis.Cmdable, l bridge.Lease, ttl time.Duration, dead string) (string, error) {
	keys := []string{keyLease + l.Name, keyMoving}
	other, err := acquireScript.Run(ctx, c, keys, s.holder(l), max(ttl.Milliseconds(), 1), dead).Text()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return other, err
}

// Release gives a lease back if it is held.
func (s *Store) Release(ctx context.Context, l bridge.Lease) error {
	return s.do(ctx, func(c redis.Cmdable) error {
		return releaseScript.Run(ctx, c, []string{keyLease + l.Name}, s.holder(l)).Err()
	})
}

// do runs a call on the server that has our keys.
func (s *Store) do(ctx context.Context, call func(redis.Cmdable) error) error {
	return s.fault(ctx, s.on(ctx, s.write, call))
}

// answer is go-redis's answer to a command.
type answer[T any] interface{ Result() (T, error) }

// ask runs one command on the server that has our keys, and returns its answer.
func ask[T any](ctx context.Context, s *Store, command func(redis.Cmdable) answer[T]) (value T, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		value, err = command(c).Result()
		return err
	})
	return value, err
}

// on runs a call on the server that has our keys. In a Cluster it asks that node itself: the cluster client would repeat a
// call whose answer was lost, and a commit must not be made twice. After any failure the map of the cluster is read again,
// so that the next call finds the right node.
func (s *Store) on(ctx context.Context, client redis.UniversalClient, call func(redis.Cmdable) error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return call(client)
	}
	node, err := cluster.MasterForKey(ctx, keySeq)
	if err == nil {
		err = call(node)
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		cluster.ReloadState(ctx)
	}
	return err
}

// fault makes an error of go-redis or of Redis one of the store. Whatever Redis does not do is an unavailable store: being
// down, loading, full, a replica, without its cluster, or refusing our rights; the text says which.
func (s *Store) fault(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return s.unavailable(err)
}

func (s *Store) unavailable(err error) error {
	text := bridge.Redact(err.Error(), s.secrets...)
	if hint := hint(text); hint != "" {
		text += " (" + hint + ")"
	}
	return fmt.Errorf("%w: redis: %s", bridge.ErrUnavailable, text)
}

// hint says what to do about a refusal that only its owner can end.
func hint(text string) string {
	switch code, _, _ := strings.Cut(text, " "); code {
	case "CLOSED":
		return closedHint(text)
	case "OOM":
		return "it is full: raise its maxmemory or lower RETENTION_DAYS"
	case "MISCONF":
		return "it cannot save to its disk"
	case "NOAUTH", "WRONGPASS":
		return "check the user and password of REDIS_URL"
	}
	if strings.HasPrefix(text, "NOPERM") || strings.Contains(text, "can't run this command") || strings.Contains(text, "can't access") {
		return "the user of REDIS_URL needs the commands that the scripts use, on keys " + prefix + "*"
	}
	return ""
}
