// Package site is the bridge's door for the chat widget of a website: a page talks to it directly, and no app server stands in
// between. It speaks the existing widget's protocol: its routes, its three ways to hear (socket, server-sent events, polling), and all
// that a page does which a server has to expect. What a visitor says goes into the log as an app server's event does, and what pages
// are shown is read from the sessions' transcripts. It knows HTTP, origins and addresses; it knows no platform, and of the store only a
// few tables of its own. What it needs of the other rooms are the small interfaces below.
//
// A session's id is the visitor's only proof of being that visitor. It is never logged here.
package site

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/bridge"
)

// Store is what the door needs of the store, in which it keeps what it knows of its sessions. Package store says what each method
// promises.
type Store interface {
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	Get(ctx context.Context, table, key string) ([]byte, error)
	GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error)
}

// Presence is who answers visitors.
type Presence interface {
	// Online says whether anyone is. It must not wait.
	Online() bool
	// Operators lists the operators, those who are offline included.
	Operators(ctx context.Context) ([]bridge.Operator, error)
}

// Options is what a Door is made of. The interfaces are required.
type Options struct {
	Ingester    bridge.Ingester
	Feed        bridge.Feed
	Transcripts bridge.Transcripts
	Store       Store
	Presence    Presence
	// Ephemeral has tell called with what is told and never stored, until end is called. tell does not wait. nil: there is none.
	Ephemeral func(tell func(bridge.Entry)) (end func())
	// FileLink returns the URL by which a page gets an operator's file; nil: it is the one that the message came with.
	FileLink func(platform string, a bridge.Attachment) string
	// Address returns a client's address, or nothing where it cannot be told from others'; see files.ClientOf.
	Address   func(r *http.Request) string
	MaskCards bool // of card numbers that visitors write, the last four digits are kept
	// Screen says why a client with an address, empty where it is not known, is kept out; nil: nobody is.
	Screen func(address string) error
	// Waiting is told of operators' words that no page took; see relay.AnswerWaiting. nil: nobody is.
	Waiting func(ctx context.Context, session string, messages []string, email string) error

	Meter Meter // counts; nil: nothing is counted

	Uploads *Uploads // keeps visitors' files; nil: none are taken

	Origins  []string // of the pages that may talk to the door, as browsers send them; "none" stands for requests without one
	Path     string   // under which the routes are, without a slash at its end; empty: the root
	Look     Look
	PreChat  PreChat
	Identity IdentityMode
	Secret   bridge.Secret // of the identities' proofs
	// PublicURL is where the bridge is reached from outside, for files' links; empty: where the request went.
	PublicURL  string
	SocketsMax int    // open sockets of all pages; beyond it pages poll
	Several    bool   // other bridges may serve the same sessions
	PublicName string // shown in place of the operators' names, or empty
	Log        *slog.Logger
	Closing    <-chan struct{} // closed at shutdown: sockets and streams end
}

// Look is what a page is told of the chat's looks; empty fields leave the page's own.
type Look struct{ Welcome, Name, Avatar, Color string }

// Door answers pages. It is made by New and works during Run; its other methods may be called from several goroutines.
type Door struct {
	o       Options
	origins map[string]bool
	mux     *http.ServeMux
	routes  []route
	key     []byte // that signs the ids of sessions that are not stored yet
	upgrade websocket.Upgrader
	hub     *hub
	limits  *limits
	visits  *visits
	pages   sync.WaitGroup // that are being told
	log     *slog.Logger

	unknownProxy sync.Once // is warned of
}

// DefaultSocketsMax is how many sockets there are at most, where nothing else is said.
const DefaultSocketsMax = 10_000

// New returns a door. An error is the store's.
func New(ctx context.Context, o Options) (*Door, error) {
	if o.SocketsMax <= 0 {
		o.SocketsMax = DefaultSocketsMax
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = uncounted{}
	}
	d := &Door{o: o, origins: map[string]bool{}, hub: newHub(), limits: newLimits(), log: o.Log}
	for _, origin := range o.Origins {
		d.origins[strings.ToLower(origin)] = true
	}
	d.visits = newVisits(d)
	d.upgrade = websocket.Upgrader{
		HandshakeTimeout: writeTimeout, ReadBufferSize: 1 << 10, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true }, // ServeHTTP has
	}
	var err error
	if d.key, err = loadKey(ctx, o.Store); err != nil {
		return nil, err
	}
	d.mount()
	return d, nil
}

// Run follows the log and looks after the visits until ctx ends.
func (d *Door) Run(ctx context.Context) {
	var work sync.WaitGroup
	if d.o.Ephemeral != nil {
		defer d.o.Ephemeral(d.pass)()
	}
	work.Go(func() { d.follow(ctx) })
	work.Go(func() { d.visits.run(ctx) })
	if d.o.Uploads != nil {
		work.Go(func() { d.o.Uploads.sweep(ctx) })
	}
	work.Wait()
}

// Wait waits until all sockets have been told and closed. It is called when Options.Closing is closed.
func (d *Door) Wait() { d.pages.Wait() }

// The door's own tables; their rows belong to the session that they are of.
const (
	tableSessions = "site"          // key session, value what visitor says
	tablePeople   = "site-identity" // key the id of a verified identity, value its last session
	tableKeys     = "keys"
	keySessions   = "site sessions"
)

// loadKey returns the key of ids, and makes it if there is none: all bridges on one store have the same.
func loadKey(ctx context.Context, s Store) ([]byte, error) {
	for {
		key, err := s.Get(ctx, tableKeys, keySessions)
		if err != nil || key != nil {
			return key, err
		}
		_, err = s.Commit(ctx, bridge.Batch{
			If:   []bridge.Row{{Table: tableKeys, Key: keySessions}},
			Rows: []bridge.Row{{Table: tableKeys, Key: keySessions, Value: []byte(rand.Text())}},
		})
		if err != nil && !errors.Is(err, bridge.ErrChanged) {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}
