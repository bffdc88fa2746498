package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// commit is a batch as the script takes it.
type commit struct {
	keys   []string
	args   []any
	events int
	size   int
}

// perText is what a text costs beside its bytes, roughly: it bounds how many a group has.
const perText = 16

// add appends to ARGV.
func (c *commit) add(texts ...string) {
	for _, text := range texts {
		c.args = append(c.args, text)
		c.size += len(text) + perText
	}
}

// count appends to ARGV how many of something follow.
func (c *commit) count(n int) { c.add(strconv.Itoa(n)) }

// key appends to KEYS.
func (c *commit) key(name string) {
	c.keys = append(c.keys, name)
	c.size += len(name) + perText
}

// event appends an event to ARGV.
func (c *commit) event(e bridge.Event) error {
	data, err := store.EncodeEvent(e)
	if err != nil {
		return err
	}
	c.args = append(c.args, data)
	c.size += len(data) + perText
	return nil
}

// Commit writes the batch. See store.Store.
func (s *Store) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	c, err := s.encode(b)
	if err != nil {
		return bridge.Result{}, err
	}
	return s.group.Commit(ctx, c, c.size)
}

// encode makes a batch's part of KEYS and ARGV, which share nothing with the batch.
func (s *Store) encode(b bridge.Batch) (*commit, error) {
	claims := store.Claims(b)
	c := &commit{events: len(b.Events)}
	if kind := acceptKind(b, claims); kind != "" {
		// What every accepted message is, in few words: the script has a short way for it.
		c.key(keyClaims + claims[0].Session)
		c.args = make([]any, 0, 3)
		c.add(kind, claims[0].Key)
		return c, c.event(b.Events[0])
	}
	c.args = make([]any, 0, 12+4*len(claims)+3*len(b.If)+2*len(b.Events)+3*len(b.IfTaken)+6*len(b.Rows)+2*len(b.Progress.Done))
	if b.Lease == (bridge.Lease{}) {
		c.add(kindBatch, "0", "")
	} else {
		c.key(keyLease + b.Lease.Name)
		c.add(kindBatch, "1", s.holder(b.Lease))
	}
	c.count(len(claims))
	for _, claim := range claims {
		c.key(claimKey(claim.Session, claim.Key))
		c.add(claim.Session, claim.Key, claim.Sum, wayOf(claim))
	}
	c.count(len(b.If))
	for _, r := range b.If {
		c.key(keyRows + r.Table)
		c.add(r.Key, flag(r.Value != nil), string(r.Value))
	}
	c.count(len(b.IfTaken))
	for _, t := range b.IfTaken {
		c.key(keyClaims + t.Session)
		c.add(t.Key, text(t.At))
	}
	c.count(len(b.Events))
	for _, e := range b.Events {
		c.add(e.Session)
		if err := c.event(e); err != nil {
			return nil, err
		}
	}
	c.count(len(b.Rows))
	for _, r := range b.Rows {
		c.key(keyRows + r.Table)
		ordered := store.Ordered(r.Table)
		if ordered {
			c.key(keyIndex + r.Table)
		}
		if r.Session != "" {
			c.key(keyOwned + r.Session)
		}
		c.add(r.Table, r.Key, flag(r.Value != nil), r.Session, string(r.Value), flag(ordered))
	}
	c.progress(b.Progress)
	return c, nil
}

func (c *commit) progress(p bridge.Progress) {
	c.add(p.Lane, text(p.Cursor))
	c.count(len(p.Done))
	for _, m := range p.Done {
		c.add(text(m.Seq), m.Target)
	}
	if p.Lane != "" {
		c.key(keyDone + p.Lane)
	}
}

// claimKey is where a claim is kept.
func claimKey(session, key string) string {
	if session == "" {
		return keyClaim + key
	}
	return keyClaims + session
}

// wayOf is how a claim is taken, as the script tells it.
func wayOf(c bridge.Claim) string {
	switch {
	case c.Moves:
		return "2"
	case c.Soft:
		return "1"
	default:
		return "0"
	}
}

// The kinds of batches, as the script tells them apart: one of any form, and the short ones of acceptKind.
const (
	kindBatch       = "b"
	kindAccept      = "a"
	kindAcceptOpens = "ao"
	kindAcceptSaid  = "as"
	kindAcceptBoth  = "aos"
)

// acceptKind says of which short kind a batch is; empty: of none. It is no more than one event of a session, one claim of the same
// session that is compared with nothing, and perhaps the claim that makes the session known and that of its last message.
func acceptKind(b bridge.Batch, claims []bridge.Claim) string {
	if len(b.Events) != 1 || len(b.Claims) == 0 || b.Lease != (bridge.Lease{}) || len(b.If)+len(b.IfTaken)+len(b.Rows) > 0 || b.Progress.Lane != "" {
		return ""
	}
	c, session := claims[0], b.Events[0].Session
	if session == "" || c.Session != session || c.Sum != "" || c.Soft || c.Moves {
		return ""
	}
	said := bridge.Claim{Session: session, Key: bridge.SaidKey, Moves: true}
	switch opens := len(claims) > len(b.Claims); {
	case len(b.Claims) == 2 && b.Claims[1] == said && opens:
		return kindAcceptBoth
	case len(b.Claims) == 2 && b.Claims[1] == said:
		return kindAcceptSaid
	case len(b.Claims) > 1:
		return ""
	case opens:
		return kindAcceptOpens
	default:
		return kindAccept
	}
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func text(seq bridge.Seq) string { return strconv.FormatUint(uint64(seq), 10) }

// writeGroup is the group's writer: one script call.
func (s *Store) writeGroup(calls []*store.Call[*commit]) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	keys := []string{keySeq, keyLog, keyWords, keyLanes, keyMoving}
	args := []any{bridge.ClaimTTL.Milliseconds(), text(s.clock.floor()), len(calls)}
	for _, c := range calls {
		keys = append(keys, c.Payload.keys...)
		args = append(args, c.Payload.args...)
	}
	var reply []any
	var err error
	for wait := true; wait; { // an export for a copy is soon over
		err = s.on(ctx, s.write, func(client redis.Cmdable) (err error) {
			reply, err = s.runCommit(ctx, client, keys, args)
			return err
		})
		if wait = redis.HasErrorPrefix(err, "CLOSED "+movingExport) && ctx.Err() == nil; wait {
			bridge.Sleep(ctx, exportPoll)
		}
	}
	if err == nil && (len(reply) <= 3*len(calls) || (len(reply)-3*len(calls))%3 != 1) {
		err = fmt.Errorf("%d values in the answer to %d batches", len(reply), len(calls))
	}
	if err != nil {
		err = s.unavailable(err)
	}
	s.outage.Note(err)
	for i, c := range calls {
		if err != nil {
			c.Err = err
			continue
		}
		c.Result, c.Err = s.verdict(c.Payload.events, reply[3*i:3*i+3])
		for _, seq := range c.Result.Seqs {
			s.clock.observe(seq)
		}
	}
	if err == nil {
		rest := reply[3*len(calls):]
		s.clock.is(seqIn(rest[0]))
		s.disown(rest[1:])
	}
}

// seqIn returns a number of an answer.
func seqIn(value any) bridge.Seq {
	n, _ := value.(int64)
	return bridge.Seq(max(n, 0))
}

func (s *Store) verdict(events int, reply []any) (r bridge.Result, err error) {
	code, _ := reply[0].(int64)
	seq := seqIn(reply[1])
	switch code {
	case codeWritten:
		if events > 0 {
			r.After = seqIn(reply[2])
		}
		for i := range events {
			r.Seqs = append(r.Seqs, seq+bridge.Seq(i))
		}
	case codeDuplicate:
		r.Duplicate, r.First = true, seq
	case codeChanged:
		err = bridge.ErrChanged
	case codeConflict:
		err = bridge.ErrConflict
	case codeLeaseLost:
		err = bridge.ErrLeaseLost
	case codeRefused:
		err = s.unavailable(fmt.Errorf("%v", reply[1]))
	default:
		err = fmt.Errorf("%w: redis: unknown verdict %d", bridge.ErrUnavailable, code)
	}
	return r, err
}

// disown takes rows off the lists of sessions that the commit has taken them from, when it could not do so itself: it knows
// the keys of a row's new owner alone. Until then, and should it fail, Forget tells such a row by its owner. left has session,
// table and key of each row.
func (s *Store) disown(left []any) {
	if len(left) == 0 {
		return
	}
	var keys []string
	for i := 0; i < len(left); i += 3 {
		keys = append(keys, fmt.Sprint(keyOwned, left[i]), fmt.Sprint(keyRows, left[i+1]))
	}
	s.background(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		_ = s.on(ctx, s.write, func(c redis.Cmdable) error { return disownScript.Run(ctx, c, keys, left...).Err() })
	})
}

// runCommit calls the script, and then waits for the replicas where that is wanted. WAIT counts what its own connection has
// written, so both go in one pipeline.
func (s *Store) runCommit(ctx context.Context, client redis.Cmdable, keys []string, args []any) ([]any, error) {
	if s.wait <= 0 {
		return commitScript.Run(ctx, client, keys, args...).Slice()
	}
	call := commitScript.EvalSha
	for {
		pipe := client.Pipeline()
		result := call(ctx, pipe, keys, args...)
		replicas := pipe.Do(ctx, "wait", s.wait, s.waiting.Milliseconds())
		_, err := pipe.Exec(ctx)
		if redis.HasErrorPrefix(result.Err(), "NOSCRIPT") || errors.Is(result.Err(), redis.ErrNoScript) {
			call = commitScript.Eval
			continue
		}
		if err != nil {
			return nil, err
		}
		if have, err := replicas.Int(); err != nil || have < s.wait {
			return nil, fmt.Errorf("%d of the %d replicas that REDIS_WAIT demands have the write", have, s.wait)
		}
		return result.Slice()
	}
}
