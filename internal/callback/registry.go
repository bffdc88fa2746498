// Package callback tells app servers of what operators do: it keeps the registrations, decides which of them an event is for,
// signs it and makes one attempt to deliver it. It has an adapter's shape: no repeating, no sleeping, no logging of an error
// that it returns. It knows nothing of the lane that calls it, of the API that takes registrations, or of what events mean
// beyond their type.
package callback

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// The ids of what the configuration names: a callback, and the events webhook, which is none and can be tested like one.
const (
	Backend = "backend"
	Webhook = "webhook"
)

const (
	table = "callbacks"

	defaultTTL = 24 * time.Hour
	minTTL     = time.Second
	maxTTL     = 365 * 24 * time.Hour

	maxRegistrations = 1000
	maxSecret        = 512 // bytes
	maxEvents        = 64
	maxEventName     = 64 // bytes

	refreshEvery = time.Minute      // how often at most a registration's expiry is written, but for very short ones
	reloadEvery  = 3 * time.Second  // how long another bridge's change may go unnoticed
	oldSecretFor = 24 * time.Hour   // how long events are signed with the secret before, too
	failingAfter = 60 * time.Second // of failures in a row, until a session's events go to all

	idleConns = 80 // kept to each receiver: as many sessions as may be told at once
)

// ErrUnknown means that there is no such registration.
var ErrUnknown = errors.New("there is no such callback")

// Store is what the registry needs of the store; its methods promise what those of the same names promise there.
type Store interface {
	Get(ctx context.Context, table, key string) ([]byte, error)
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
}

// Options is what a Registry is made of.
type Options struct {
	Store Store
	Guard *outbound.Guard // for the URLs of registrations; nil: the strictest

	// The callback that the configuration names, if any. Its URL is the owner's word and is not guarded. APIKey is the first
	// one, which it gets as a bearer token; BackendSecret signs. Both may be empty.
	BackendURL    bridge.Secret
	BackendSecret bridge.Secret
	APIKey        bridge.Secret
	BackendEvents []bridge.Type // that it is told of; none: all

	// Where every event of both directions goes, if anywhere, for the likes of Zapier. Its URL is the owner's word, too.
	EventsURL    bridge.Secret
	EventsSecret bridge.Secret

	UserAgent string
	Log       *slog.Logger

	// TLS and Dial are as in outbound.Options, for tests.
	TLS  *tls.Config
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Registry keeps the registrations in the store, with a copy in memory that other bridges' changes reach by Reload. Load it
// with Reload before its first use. All methods may be called from several goroutines.
type Registry struct {
	store   Store
	guard   *outbound.Guard
	log     *slog.Logger
	agent   string
	backend *target
	webhook *target

	backendEvents []bridge.Type // none: all

	guarded *http.Client // for registrations
	plain   *http.Client // for the configuration's

	// change is held while the store is changed or read anew, so that an old reading never replaces a newer change.
	change sync.Mutex

	mu      sync.RWMutex
	known   map[string]*record   // records are replaced, never changed
	written map[string]time.Time // when an expiry was written by us
	failed  map[string]failures
	changed chan struct{}
}

// failures are a row of failures without a success in between.
type failures struct{ first, last time.Time }

// New returns a registry that knows only the configuration's callback yet.
func New(o Options) *Registry {
	if o.Guard == nil {
		o.Guard = outbound.Strict()
	}
	calls := outbound.Options{Timeout: attemptTimeout, IdleConnsPerHost: idleConns, TLS: o.TLS, Dial: o.Dial}
	guarded := calls
	guarded.Guard = o.Guard
	r := &Registry{
		store: o.Store, guard: o.Guard, log: o.Log, agent: o.UserAgent,
		guarded:       outbound.NewClient(guarded),
		plain:         outbound.NewClient(calls),
		backendEvents: o.BackendEvents,

		known:   map[string]*record{},
		written: map[string]time.Time{},
		failed:  map[string]failures{},
		changed: make(chan struct{}),
	}
	if o.BackendURL != "" {
		r.backend = &target{url: o.BackendURL, secrets: one(o.BackendSecret), client: r.plain, bearer: o.APIKey}
	}
	if o.EventsURL != "" {
		r.webhook = &target{url: o.EventsURL, secrets: one(o.EventsSecret), client: r.plain}
	}
	return r
}

// one returns a secret as a list, an empty one as none.
func one(secret bridge.Secret) []bridge.Secret {
	if secret == "" {
		return nil
	}
	return []bridge.Secret{secret}
}

// Close closes the connections that are kept for the next calls.
func (r *Registry) Close() {
	r.guarded.CloseIdleConnections()
	r.plain.CloseIdleConnections()
}

// Run reloads the registry every few seconds until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	bridge.Every(ctx, reloadEvery, nil, r.Reload, func(err error) {
		r.log.Warn("callbacks cannot be read anew; the ones known stay in use", "op", "reload", "err", err)
	})
}

// Reload reads the registrations anew, so that those of other bridges are known here, and removes the expired ones.
func (r *Registry) Reload(ctx context.Context) error {
	r.change.Lock()
	defer r.change.Unlock()
	_, err := r.reload(ctx)
	return err
}

// reload returns how many registrations there are. The caller holds change.
func (r *Registry) reload(ctx context.Context) (int, error) {
	rows, err := r.store.List(ctx, table, "", 2*maxRegistrations)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	known := make(map[string]*record, len(rows))
	var expired bridge.Batch
	for _, row := range rows {
		rec, err := decode(row.Value)
		if err != nil {
			r.log.Error("a callback's registration cannot be read and is not used", "op", "reload", "target", row.Key)
			continue
		}
		if rec.expired(now) {
			expired.If = append(expired.If, bridge.Row{Table: table, Key: row.Key, Value: row.Value})
			expired.Rows = append(expired.Rows, bridge.Row{Table: table, Key: row.Key})
			continue
		}
		known[row.Key] = rec
	}
	r.mu.Lock()
	same := maps.EqualFunc(known, r.known, (*record).sameTarget)
	r.known = known
	maps.DeleteFunc(r.written, func(id string, _ time.Time) bool { return known[id] == nil })
	maps.DeleteFunc(r.failed, func(id string, _ failures) bool { return known[id] == nil && id != Backend })
	if !same {
		r.announce()
	}
	r.mu.Unlock()
	if len(expired.Rows) > 0 {
		// One that was refreshed meanwhile makes all of this fail; the next reload tries again.
		if _, err := r.store.Commit(ctx, expired); err != nil && !errors.Is(err, bridge.ErrChanged) {
			return len(known), err
		}
	}
	return len(known), nil
}

// announce tells the waiters that registrations have changed. The caller holds mu.
func (r *Registry) announce() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed returns a channel that is closed when a registration has come, gone, or leads elsewhere.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// Put makes a registration, or changes and refreshes the one of the same id. The events that also returns for the id are
// appended in the same batch; also may be nil. made is the secret, when it was made here and now: it is shown this once. An
// error is a *bridge.FieldError, bridge.ErrTooManyCallbacks or the store's. Several bridges that register at the very same moment may go beyond
// the limit by as many as they are.
func (r *Registry) Put(ctx context.Context, w bridge.RegisterRequest, also func(id string) []bridge.Event) (
	reg bridge.Registration, made bridge.Secret, created bool, err error,
) {
	if w.ID == "" {
		w.ID = newID()
	}
	if w.TTL == 0 {
		w.TTL = defaultTTL
	}
	if err := r.check(ctx, w); err != nil {
		return bridge.Registration{}, "", false, err
	}
	var events []bridge.Event
	if also != nil {
		events = also(w.ID)
	}
	r.change.Lock()
	defer r.change.Unlock()
	rec, old, err := r.edit(ctx, w.ID, events, func(old *record, now time.Time) (*record, error) {
		rec := &record{ID: w.ID, URL: w.URL, Events: slices.Clone(w.Events), TTL: w.TTL, CreatedAt: now, ExpiresAt: now.Add(w.TTL)}
		made = ""
		if old != nil {
			rec.CreatedAt, rec.Keys = old.CreatedAt, old.Keys
		} else if n, err := r.reload(ctx); err != nil {
			return nil, err
		} else if n >= maxRegistrations {
			return nil, bridge.ErrTooManyCallbacks
		}
		switch {
		case w.Secret != "" && (len(rec.Keys) == 0 || rec.Keys[0].Value != w.Secret.Reveal()):
			rec.Keys = []key{{Value: w.Secret.Reveal()}}
		case len(rec.Keys) == 0:
			made = newSecret()
			rec.Keys = []key{{Value: made.Reveal()}}
		}
		return rec, nil
	})
	if err != nil {
		return bridge.Registration{}, "", false, err
	}
	return rec.registration(), made, old == nil, nil
}

// Rotate gives the registration a new secret of ours and returns it, this once. Events are signed with the one before, too,
// for a day. An error is ErrUnknown, a *bridge.FieldError for what is the configuration's, or the store's.
func (r *Registry) Rotate(ctx context.Context, id string) (reg bridge.Registration, made bridge.Secret, err error) {
	if err := r.ours(id); err != nil {
		return bridge.Registration{}, "", err
	}
	r.change.Lock()
	defer r.change.Unlock()
	rec, _, err := r.edit(ctx, id, nil, func(old *record, now time.Time) (*record, error) {
		if old == nil {
			return nil, ErrUnknown
		}
		rec := *old
		made = newSecret()
		rec.Keys = []key{{Value: made.Reveal()}}
		if len(old.Keys) > 0 {
			rec.Keys = append(rec.Keys, key{Value: old.Keys[0].Value, Until: now.Add(oldSecretFor)})
		}
		return &rec, nil
	})
	if err != nil {
		return bridge.Registration{}, "", err
	}
	return rec.registration(), made, nil
}

// ours refuses what only the configuration can change.
func (r *Registry) ours(id string) error {
	switch {
	case id == Backend && r.backend != nil:
		return &bridge.FieldError{Field: "id", Problem: "is the configuration's (BACKEND_WEBHOOK_URL); it is changed there"}
	case id == Webhook && r.webhook != nil:
		return &bridge.FieldError{Field: "id", Problem: "is the configuration's (EVENTS_WEBHOOK_URL); it is changed there"}
	}
	return nil
}

// configured shows the configuration's callback as a registration that never expires. Its URL is a secret: only where it leads
// is shown.
func (r *Registry) configured() bridge.Registration {
	shown := "…"
	if u, err := url.Parse(r.backend.url.Reveal()); err == nil {
		shown = u.Scheme + "://" + u.Host + "/…"
	}
	return bridge.Registration{ID: Backend, URL: shown}
}

// Get returns a registration. The configuration's callback is one that has no times.
func (r *Registry) Get(ctx context.Context, id string) (reg bridge.Registration, ok bool, err error) {
	if id == Backend && r.backend != nil {
		return r.configured(), true, nil
	}
	rec, _, err := r.read(ctx, id)
	if err != nil || rec == nil {
		return bridge.Registration{}, false, err
	}
	return rec.registration(), true, nil
}

// List returns the registrations in the order of their ids. The configuration's callback is one that has no times.
func (r *Registry) List(ctx context.Context) ([]bridge.Registration, error) {
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]bridge.Registration, 0, len(r.known)+1)
	for _, rec := range r.known {
		out = append(out, rec.registration())
	}
	if r.backend != nil {
		out = append(out, r.configured())
	}
	slices.SortFunc(out, func(a, b bridge.Registration) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Delete removes a registration and says whether there was one. What is the configuration's is a *bridge.FieldError.
func (r *Registry) Delete(ctx context.Context, id string) (bool, error) {
	if err := r.ours(id); err != nil {
		return false, err
	}
	return r.remove(ctx, id, nil)
}

// remove deletes the registration, where only has one only while it leads where that one does.
func (r *Registry) remove(ctx context.Context, id string, only *record) (bool, error) {
	r.change.Lock()
	defer r.change.Unlock()
	_, old, err := r.edit(ctx, id, nil, func(old *record, _ time.Time) (*record, error) {
		if old == nil || only != nil && (old.URL != only.URL || !old.CreatedAt.Equal(only.CreatedAt)) {
			return nil, ErrUnknown
		}
		return nil, nil
	})
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil && old != nil, err
}

// Touch refreshes the callback that a request named, and says whether it is registered. It writes at most once a minute for
// an id. An error means that the expiry could not be written, or an id that is not known here could not be looked up.
func (r *Registry) Touch(ctx context.Context, id string) (bool, error) {
	if id == Backend {
		return r.backend != nil, nil
	}
	if !validID(id) {
		return false, nil
	}
	now := time.Now()
	r.mu.RLock()
	rec, last := r.known[id], r.written[id]
	r.mu.RUnlock()
	known := rec != nil && !rec.expired(now)
	if known && now.Sub(last) < min(refreshEvery, rec.TTL/4) {
		return true, nil
	}
	if !known {
		// Another bridge may have taken the registration a moment ago.
		if found, _, err := r.read(ctx, id); err != nil || found == nil {
			return false, err
		}
	}
	if !r.change.TryLock() {
		return true, nil // the next event that names it refreshes it
	}
	defer r.change.Unlock()
	_, _, err := r.edit(ctx, id, nil, func(old *record, now time.Time) (*record, error) {
		if old == nil {
			return nil, ErrUnknown
		}
		rec := *old
		rec.ExpiresAt = now.Add(rec.TTL)
		return &rec, nil
	})
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return true, err
}

// read returns the registration as the store has it now, nil when there is none or it has expired.
func (r *Registry) read(ctx context.Context, id string) (rec *record, value []byte, err error) {
	value, err = r.store.Get(ctx, table, id)
	if err != nil || value == nil {
		return nil, value, err
	}
	rec, err = decode(value)
	if err != nil || rec.expired(time.Now()) {
		return nil, value, nil // to be overwritten like one that is not there
	}
	return rec, value, nil
}

// edit changes one registration in one batch: f returns what is to be there, or nil for nothing, and is called again when
// another bridge was faster. It returns what is there now and what was there before. The caller holds change.
func (r *Registry) edit(ctx context.Context, id string, events []bridge.Event,
	f func(old *record, now time.Time) (*record, error),
) (rec, old *record, err error) {
	for {
		var before, after []byte
		if old, before, err = r.read(ctx, id); err != nil {
			return nil, nil, err
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		if rec, err = f(old, now); err != nil {
			return nil, nil, err
		}
		if rec != nil {
			if after, err = json.Marshal(rec); err != nil {
				return nil, nil, fmt.Errorf("callback: a registration cannot be written: %w", err)
			}
		}
		_, err = r.store.Commit(ctx, bridge.Batch{
			If:     []bridge.Row{{Table: table, Key: id, Value: before}},
			Rows:   []bridge.Row{{Table: table, Key: id, Value: after}},
			Events: events,
		})
		if errors.Is(err, bridge.ErrChanged) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		r.keep(id, rec, now)
		return rec, old, nil
	}
}

func (r *Registry) keep(id string, rec *record, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.known[id]
	if rec == nil {
		delete(r.known, id)
		delete(r.written, id)
		delete(r.failed, id)
	} else {
		r.known[id] = rec
		r.written[id] = now
		if before != nil && before.URL != rec.URL {
			delete(r.failed, id)
		}
	}
	if (rec != nil || before != nil) && !rec.sameTarget(before) {
		r.announce()
	}
}

func (r *Registry) check(ctx context.Context, w bridge.RegisterRequest) error {
	if !validID(w.ID) {
		return &bridge.FieldError{Field: "id", Problem: "must be 1 to 128 printable characters without a slash"}
	}
	if w.ID == Backend {
		return &bridge.FieldError{Field: "id", Problem: "is the configuration's (BACKEND_WEBHOOK_URL); choose another one"}
	}
	if w.ID == Webhook && r.webhook != nil {
		return &bridge.FieldError{Field: "id", Problem: "is the configuration's (EVENTS_WEBHOOK_URL); choose another one"}
	}
	if len(w.Secret) > maxSecret {
		return &bridge.FieldError{Field: "secret", Problem: fmt.Sprintf("must have at most %d bytes", maxSecret)}
	}
	if text, ok := strings.CutPrefix(w.Secret.Reveal(), secretPrefix); ok {
		if raw, err := base64.StdEncoding.DecodeString(text); err != nil || len(raw) == 0 {
			return &bridge.FieldError{Field: "secret", Problem: "must have base64 behind whsec_"}
		}
	}
	if w.TTL < minTTL || w.TTL > maxTTL {
		return &bridge.FieldError{Field: "ttl", Problem: fmt.Sprintf("must be between %d and %d seconds",
			int(minTTL.Seconds()), int(maxTTL.Seconds()))}
	}
	if len(w.Events) > maxEvents {
		return &bridge.FieldError{Field: "events", Problem: fmt.Sprintf("must have at most %d entries", maxEvents)}
	}
	for i, t := range w.Events {
		// Types that this bridge does not know yet are taken, so that one list serves bridges of several versions.
		if t == "" || len(t) > maxEventName || strings.Trim(string(t), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return &bridge.FieldError{Field: fmt.Sprintf("events[%d]", i), Problem: "is not an event's type, such as operator_message"}
		}
	}
	if w.URL == "" {
		return &bridge.FieldError{Field: "url", Problem: "is required"}
	}
	if err := r.guard.CheckURL(ctx, w.URL); err != nil {
		return &bridge.FieldError{Field: "url", Problem: err.Error()}
	}
	return nil
}

// validID says whether an id can be one. A slash would make it two parts of a path.
func validID(id string) bool { return bridge.PrintableID(id) && !strings.Contains(id, "/") }

func newID() string { return "cb_" + strings.ToLower(rand.Text()) }
