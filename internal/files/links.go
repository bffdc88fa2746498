package files

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// DefaultLinkTTL is how long a link works where nothing else is said.
const DefaultLinkTTL = 7 * 24 * time.Hour

const (
	linkVersion = 1
	maxSigned   = 4096 // characters of a link's signed text
	maxRef      = 1024 // bytes of a platform's reference to a file
	maxType     = 127  // bytes of a media type
)

// LinkOptions is what Links are made of.
type LinkOptions struct {
	Key  []byte        // signs the links; LoadKey has it
	Base string        // the URL under which visitors' apps reach this server, without /files; empty: links have no host
	TTL  time.Duration // how long a link works; 0: DefaultLinkTTL
	// Source returns the platform of that name, nil when it is not configured or hands out no files.
	Source func(platform string) bridge.FileSource
	// Concurrency is how many files are handed out at the same time; 0: 64. Further requests wait a little, and so do those for
	// one file, or of one client, of which many are under way.
	Concurrency int
	Proxies     []netip.Prefix   // whose X-Forwarded-For tells who the client is
	Log         *slog.Logger     // nil: silence
	Now         func() time.Time // nil: time.Now
}

// Links makes links to operators' files, and is the http.Handler behind them. A link tells by itself which file it is; nothing
// is kept of it, so every bridge with the same key serves it. Its text can be read by anybody, though not changed: the
// platforms' references in it are no secrets. All methods may be called from several goroutines.
type Links struct {
	key     []byte
	base    string
	ttl     time.Duration
	source  func(platform string) bridge.FileSource
	places  *places
	proxies []netip.Prefix
	log     *slog.Logger
	now     func() time.Time

	slotIn, openIn, stall, total time.Duration
}

// NewLinks returns the links. The only error is a key that is too short.
func NewLinks(o LinkOptions) (*Links, error) {
	if len(o.Key) < keySize {
		return nil, errors.New("the key for file links is too short")
	}
	if o.TTL <= 0 {
		o.TTL = DefaultLinkTTL
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultSlots
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Links{
		key: o.Key, base: strings.TrimRight(o.Base, "/"), ttl: o.TTL, source: o.Source, places: newPlaces(o.Concurrency),
		proxies: o.Proxies, log: o.Log, now: o.Now, slotIn: slotTimeout, openIn: openTimeout, stall: writeTimeout, total: serveTimeout,
	}, nil
}

// link is what a link tells.
type link struct {
	platform string
	ref      string // the platform's
	name     string
	typ      string // a media type, or empty
	size     int64  // bytes; 0: unknown
	until    int64  // Unix seconds
}

// Link returns the URL of an operator's file, by the BridgeFileID of its attachment; nothing for one that has none.
func (l *Links) Link(platform string, a bridge.Attachment) string {
	if a.BridgeFileID == "" || len(a.BridgeFileID) > maxRef || platform == "" || len(platform) > maxType {
		return ""
	}
	to := link{
		platform: platform, ref: a.BridgeFileID, name: cleanName(a.Filename), typ: plainType(a.MimeType), size: max(a.Size, 0),
		until: l.now().Add(l.ttl).Unix(),
	}
	if len(to.typ) > maxType {
		to.typ = ""
	}
	return l.base + "/files/" + l.sign(to)
}

// The faults of a signed text.
var (
	errForged  = errors.New("the link is not one of ours, or not whole")
	errExpired = errors.New("the link has expired")
)

// sign writes a link: version, time, size, and the texts with their lengths before them; behind that, the sum of it all.
func (l *Links) sign(to link) string {
	b := []byte{linkVersion}
	b = binary.AppendUvarint(b, uint64(to.until))
	b = binary.AppendUvarint(b, uint64(to.size))
	for _, text := range []string{to.platform, to.ref, to.name, to.typ} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, l.sum(b)...))
}

func (l *Links) sum(b []byte) []byte {
	h := hmac.New(sha256.New, l.key)
	_, _ = h.Write([]byte("file link\x00")) // a hash's Write returns no error
	_, _ = h.Write(b)
	return h.Sum(nil)
}

// read is the way back. The sum is looked at before anything else.
func (l *Links) read(text string) (link, error) {
	if len(text) > maxSigned {
		return link{}, errForged
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) <= sha256.Size || strings.ContainsAny(text, "\r\n") {
		return link{}, errForged
	}
	b, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if !hmac.Equal(sum, l.sum(b)) || b[0] != linkVersion {
		return link{}, errForged
	}
	var to link
	b = b[1:]
	ok := true
	number := func() int64 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > 1<<62 {
			ok, b = false, nil
			return 0
		}
		b = b[size:]
		return int64(n)
	}
	word := func() string {
		n := number()
		if !ok || n > int64(len(b)) || !utf8.Valid(b[:n]) {
			ok = false
			return ""
		}
		text := string(b[:n])
		b = b[n:]
		return text
	}
	to.until, to.size = number(), number()
	to.platform, to.ref, to.name, to.typ = word(), word(), word(), word()
	switch {
	case !ok || len(b) > 0:
		return link{}, errForged
	case l.now().Unix() >= to.until:
		return link{}, errExpired
	}
	return to, nil
}
