// Package erase takes a session away for good: out of the store, out of the log, and, where that is wanted, out of the chats, as far as
// the platforms let a bot do that. It says what it could not take away. What it keeps of its own work names the session by a digest. It
// knows sessions, rows and threads; it knows no lane's queue and no platform's API.
package erase

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

const (
	// tableErasures holds what became of each erasure: key its id, value bridge.Erasure.
	tableErasures = "erasures"
	// tableErasing holds those that are not done yet: key the id, value job. It is the only place that names the session, until then.
	tableErasing = "erasing"
	tableDead    = "dead"

	leaseName = "erasing"
	leaseFor  = 30 * time.Second

	lookEvery = 5 * time.Second // for erasures that another process took, or that waited
	keepFor   = 30 * 24 * time.Hour
	// settleFor is the least time that an erasure takes: a call that is under way when it begins is over by then, and what it left is
	// found.
	settleFor = 30 * time.Second
	page      = 200
	shortest  = 4 // characters of a name that is looked for in the bridge's own answers
)

// Store is what erasing needs of the store; package store says what each method promises.
type Store interface {
	msgmap.Store
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	Owned(ctx context.Context, session string) ([]bridge.Row, error)
	Erase(ctx context.Context, match func(bridge.Entry) bool) (int, error)
	ForgetSession(ctx context.Context, session string) error
	ForgetClaims(ctx context.Context, text string) (int, error)
	Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error)
	Release(ctx context.Context, l bridge.Lease) error
}

// compacter is a store whose file keeps what was erased until it is compacted.
type compacter interface {
	Compact(ctx context.Context) (done bool, err error)
}

// Erasures takes sessions away, one after the other. Its methods may be called from several goroutines.
type Erasures struct {
	store     Store
	commit    func(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	platforms []bridge.Platform
	log       *slog.Logger
	wake      chan struct{}
}

// New returns what erases in a store. commit writes a batch and shows what it appended to those who follow the log.
func New(s Store, commit func(context.Context, bridge.Batch) (bridge.Result, error), platforms []bridge.Platform, log *slog.Logger) *Erasures {
	return &Erasures{store: s, commit: commit, platforms: platforms, log: log, wake: make(chan struct{}, 1)}
}

// job is an erasure that is not done.
type job struct {
	Session   string   `json:"session"`
	Platforms bool     `json:"platforms"`
	Names     []string `json:"names,omitempty"` // by which the bridge's own answers may call the visitor
	Told      bool     `json:"told,omitempty"`  // it is in the log
	Quiet     bool     `json:"quiet,omitempty"` // the last look found nothing more
	Gone      bool     `json:"gone,omitempty"`  // nothing is left, and nothing else is said here
}

// Erase implements bridge.Eraser.
func (e *Erasures) Erase(ctx context.Context, session string, platforms bool) (id string, err error) {
	now, err := e.store.Now(ctx)
	if err != nil {
		return "", err
	}
	id = strings.ToLower(rand.Text())
	record := bridge.Erasure{ID: id, Session: bridge.Digest([]byte(session)), Platforms: platforms, State: bridge.ErasureRunning, StartedAt: now.UTC()}
	_, err = e.store.Commit(ctx, bridge.Batch{Rows: []bridge.Row{
		{Table: tableErasures, Key: id, Value: bridge.MustJSON(record)},
		{Table: tableErasing, Key: id, Value: bridge.MustJSON(job{Session: session, Platforms: platforms})},
	}})
	if err != nil {
		return "", err
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return id, nil
}

// Erasure implements bridge.Eraser.
func (e *Erasures) Erasure(ctx context.Context, id string) (record bridge.Erasure, ok bool, err error) {
	raw, err := e.store.Get(ctx, tableErasures, id)
	if err != nil || raw == nil {
		return record, false, err
	}
	return record, true, json.Unmarshal(raw, &record)
}

// Run works until ctx ends. One process of several does so at a time.
func (e *Erasures) Run(ctx context.Context) {
	lease := bridge.Lease{Name: leaseName, Token: rand.Text()}
	bridge.Every(ctx, lookEvery, e.wake, func(ctx context.Context) error { return e.round(ctx, lease) }, func(err error) {
		e.log.Error("a session cannot be erased; trying on", "op", "erase", "err", err)
	})
}

// round goes through the erasures that are not done.
func (e *Erasures) round(ctx context.Context, lease bridge.Lease) error {
	rows, err := e.store.List(ctx, tableErasing, "", page)
	if err != nil || len(rows) == 0 {
		return err
	}
	if ok, err := e.store.Acquire(ctx, lease, leaseFor); err != nil || !ok {
		return err
	}
	defer func() { _ = e.store.Release(context.WithoutCancel(ctx), lease) }() // else it ends by itself
	renewing, stop := context.WithCancel(ctx)
	defer stop()
	go e.renew(renewing, lease)
	for _, row := range rows {
		var j job
		if err := json.Unmarshal(row.Value, &j); err != nil {
			return fmt.Errorf("row %s of table %s: %w", row.Key, tableErasing, err)
		}
		if err := e.sweep(ctx, row.Key, j); err != nil {
			return err
		}
	}
	return e.forgetOld(ctx)
}

func (e *Erasures) renew(ctx context.Context, lease bridge.Lease) {
	tick := time.NewTicker(leaseFor / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = e.store.Acquire(ctx, lease, leaseFor) // its time runs
		}
	}
}

// sweep takes away all that there is of a session now. What a call was carrying when it was asked for may come after, so it is done again
// until nothing more is found.
func (e *Erasures) sweep(ctx context.Context, id string, j job) error {
	record, ok, err := e.Erasure(ctx, id)
	if err != nil || !ok {
		return err
	}
	if j.Gone {
		return e.finish(ctx, id, record, j, bridge.Batch{})
	}
	if err := e.name(ctx, &j); err != nil {
		return err
	}
	rows, err := e.store.Owned(ctx, j.Session)
	if err != nil {
		return err
	}
	if j.Platforms {
		e.sweepChats(ctx, j.Session, rows, &record)
	}
	entries, err := e.store.Erase(ctx, j.matches)
	if err != nil {
		return err
	}
	letters, err := e.deadLetters(ctx, j.Session)
	if err != nil {
		return err
	}
	if err := e.store.ForgetSession(ctx, j.Session); err != nil {
		return err
	}
	if _, err := e.store.ForgetClaims(ctx, j.Session); err != nil {
		return err
	}
	record.Events += entries
	record.DeadLetters += letters
	now, err := e.store.Now(ctx)
	if err != nil {
		return err
	}
	b := bridge.Batch{}
	if !j.Told { // every process takes it out of its memory
		told := bridge.Erased()
		told.Body = bridge.MustJSON(struct {
			Digest string `json:"digest"`
		}{record.Session})
		b.Events = []bridge.Event{told}
		j.Told = true
	}
	quiet := entries+letters+len(rows) == 0
	if quiet && j.Quiet && now.Sub(record.StartedAt) >= settleFor {
		return e.finish(ctx, id, record, j, b)
	}
	j.Quiet = quiet
	b.Rows = append(b.Rows, bridge.Row{Table: tableErasing, Key: id, Value: bridge.MustJSON(j)},
		bridge.Row{Table: tableErasures, Key: id, Value: bridge.MustJSON(record)})
	_, err = e.commit(ctx, b)
	return err
}

// name notes by which names the visitor is known, before they go.
func (e *Erasures) name(ctx context.Context, j *job) error {
	s, known, err := msgmap.Session(ctx, e.store, j.Session)
	if err != nil || !known {
		return err
	}
	names := []string{s.VisitorID}
	if s.Identity != nil {
		names = append(names, s.Identity.ID, s.Identity.Email, s.Identity.Name)
	}
	names = slices.DeleteFunc(append(names, s.UserPhone), func(name string) bool { return len(name) < shortest })
	j.Names = append(j.Names, names...)
	return nil
}

// matches says whether an entry of the log is the session's, names it, or is an answer of the bridge's that calls the visitor by name.
func (j job) matches(entry bridge.Entry) bool {
	if entry.Event.Type == bridge.TypeErased {
		return false
	}
	if entry.Event.Session == j.Session || bytes.Contains(entry.Event.Body, bridge.MustJSON(j.Session)) {
		return true
	}
	if entry.Event.Type != bridge.TypeAnswer {
		return false
	}
	return slices.ContainsFunc(append(j.Names, j.Session), func(name string) bool {
		return bytes.Contains(entry.Event.Body, bytes.Trim(bridge.MustJSON(name), `"`))
	})
}

// deadLetters removes the session's dead letters.
func (e *Erasures) deadLetters(ctx context.Context, session string) (n int, err error) {
	for after := ""; ; {
		rows, err := e.store.List(ctx, tableDead, after, page)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		var b bridge.Batch
		for _, row := range rows {
			after = row.Key
			if bytes.Contains(row.Value, bridge.MustJSON(session)) {
				b.Rows = append(b.Rows, bridge.Row{Table: tableDead, Key: row.Key})
			}
		}
		if len(b.Rows) > 0 {
			if _, err := e.store.Commit(ctx, b); err != nil {
				return n, err
			}
			n += len(b.Rows)
		}
	}
}

// finish ends an erasure of whose session nothing is left in the store: first nothing names it any more, then the file is compacted, for
// nothing of it to be left in pages that are free, and only then is it said to be done.
func (e *Erasures) finish(ctx context.Context, id string, record bridge.Erasure, j job, b bridge.Batch) error {
	if !j.Gone {
		b.Rows = append(b.Rows, bridge.Row{Table: tableErasing, Key: id, Value: bridge.MustJSON(job{Gone: true})},
			bridge.Row{Table: tableErasures, Key: id, Value: bridge.MustJSON(record)})
		if _, err := e.commit(ctx, b); err != nil {
			return err
		}
	}
	if c, ok := e.store.(compacter); ok {
		done, err := c.Compact(ctx)
		if err != nil {
			return err
		}
		if !done {
			record.Compact = "bridge compact"
		}
	}
	now, err := e.store.Now(ctx)
	if err != nil {
		return err
	}
	record.State, record.FinishedAt = bridge.ErasureDone, now.UTC()
	_, err = e.commit(ctx, bridge.Batch{Rows: []bridge.Row{
		{Table: tableErasing, Key: id}, {Table: tableErasures, Key: id, Value: bridge.MustJSON(record)},
	}})
	return err
}

// forgetOld removes the records of erasures of long ago.
func (e *Erasures) forgetOld(ctx context.Context) error {
	now, err := e.store.Now(ctx)
	if err != nil {
		return err
	}
	rows, err := e.store.List(ctx, tableErasures, "", 10*page)
	if err != nil {
		return err
	}
	var b bridge.Batch
	for _, row := range rows {
		var record bridge.Erasure
		if json.Unmarshal(row.Value, &record) == nil && record.State == bridge.ErasureDone && now.Sub(record.FinishedAt) > keepFor {
			b.Rows = append(b.Rows, bridge.Row{Table: tableErasures, Key: row.Key})
		}
	}
	if len(b.Rows) == 0 {
		return nil
	}
	_, err = e.store.Commit(ctx, b)
	return err
}
