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
	args   []any
	events int
}

// Commit writes the batch. See store.Store.
func (s *Store) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	c, size, err := encode(b)
	if err != nil {
		return bridge.Result{}, err
	}
	return s.group.Commit(ctx, c, size)
}

// encode makes a batch's part of ARGV, which shares nothing with the batch, and returns its size.
func encode(b bridge.Batch) (*commit, int, error) {
	claims := store.Claims(b)
	c := &commit{events: len(b.Events)}
	c.args = make([]any, 0, 10+4*len(claims)+4*len(b.If)+2*len(b.Events)+5*len(b.Rows)+2*len(b.Progress.Done))
	size := 0
	add := func(texts ...string) {
		for _, text := range texts {
			c.args = append(c.args, text)
			size += len(text)
		}
	}
	if accept(b, claims) {
		// What every accepted message is, in few words: the script has a short way for it.
		data, err := store.EncodeEvent(b.Events[0])
		if err != nil {
			return nil, 0, err
		}
		add(kindAccept, claims[0].Session, claims[0].Key, flag(len(claims) > 1))
		c.args = append(c.args, data)
		return c, size + len(data), nil
	}
	add(kindBatch, b.Lease.Name, b.Lease.Token)
	add(strconv.Itoa(len(claims)))
	for _, claim := range claims {
		add(claim.Session, claim.Key, claim.Sum, flag(claim.Soft))
	}
	add(strconv.Itoa(len(b.If)))
	for _, r := range b.If {
		add(r.Table, r.Key, flag(r.Value != nil), string(r.Value))
	}
	add(strconv.Itoa(len(b.Events)))
	for _, e := range b.Events {
		data, err := store.EncodeEvent(e)
		if err != nil {
			return nil, 0, err
		}
		add(e.Session)
		c.args = append(c.args, data)
		size += len(data)
	}
	add(strconv.Itoa(len(b.Rows)))
	for _, r := range b.Rows {
		add(r.Table, r.Key, flag(r.Value != nil), r.Session, string(r.Value))
	}
	p := b.Progress
	add(p.Lane, text(p.Cursor), strconv.Itoa(len(p.Done)))
	for _, m := range p.Done {
		add(text(m.Seq), m.Target)
	}
	return c, size, nil
}

// The kinds of batches, as the script tells them apart.
const (
	kindBatch  = "b"
	kindAccept = "a"
)

// accept says whether a batch is no more than one event of a session, one claim of the same session that is compared with
// nothing, and perhaps the claim that makes the session known.
func accept(b bridge.Batch, claims []bridge.Claim) bool {
	if len(b.Events) != 1 || len(b.Claims) != 1 || b.Lease != (bridge.Lease{}) || len(b.If)+len(b.Rows) > 0 || b.Progress.Lane != "" {
		return false
	}
	c, session := claims[0], b.Events[0].Session
	return session != "" && c.Session == session && c.Sum == "" && !c.Soft
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
	args := []any{prefix, bridge.ClaimTTL.Milliseconds(), len(calls)}
	for _, c := range calls {
		args = append(args, c.Payload.args...)
	}
	var reply []int64
	err := s.on(ctx, s.write, func(client redis.Cmdable) (err error) {
		reply, err = s.runCommit(ctx, client, args)
		return err
	})
	if err == nil && len(reply) != 3*len(calls) {
		err = fmt.Errorf("%d numbers in the answer to %d batches", len(reply), len(calls))
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
		c.Result, c.Err = verdict(c.Payload.events, reply[3*i], reply[3*i+1], reply[3*i+2])
	}
}

func verdict(events int, code, number, before int64) (r bridge.Result, err error) {
	seq := bridge.Seq(max(number, 0))
	switch code {
	case codeWritten:
		if events > 0 {
			r.After = bridge.Seq(max(before, 0))
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
	default:
		err = fmt.Errorf("%w: redis: unknown verdict %d", bridge.ErrUnavailable, code)
	}
	return r, err
}

// runCommit calls the script, and then waits for the replicas where that is wanted. WAIT counts what its own connection has
// written, so both go in one pipeline.
func (s *Store) runCommit(ctx context.Context, client redis.Cmdable, args []any) ([]int64, error) {
	keys := []string{keySeq, keyLog, keyWords, keyLanes}
	if s.wait <= 0 {
		return s.commitScript.Run(ctx, client, keys, args...).Int64Slice()
	}
	call := s.commitScript.EvalSha
	for {
		pipe := client.Pipeline()
		result := call(ctx, pipe, keys, args...)
		replicas := pipe.Do(ctx, "wait", s.wait, s.waiting.Milliseconds())
		_, err := pipe.Exec(ctx)
		if redis.HasErrorPrefix(result.Err(), "NOSCRIPT") || errors.Is(result.Err(), redis.ErrNoScript) {
			call = s.commitScript.Eval
			continue
		}
		if err != nil {
			return nil, err
		}
		if have, err := replicas.Int(); err != nil || have < s.wait {
			return nil, fmt.Errorf("%d of the %d replicas that REDIS_WAIT demands have the write", have, s.wait)
		}
		return result.Int64Slice()
	}
}
