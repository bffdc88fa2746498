// Package export is the stream in which all that a store keeps goes to another store, of either kind and of this version or a later one. It
// knows nothing of what the things mean.
//
// The stream is lines of JSON, in UTF-8:
//
//	{"format":"pocketping-bridge-export","version":1,"madeAt":"2026-01-02T03:04:05Z","madeBy":"v1.2.3","from":"file"}
//	{"kind":"last","seq":1767323045000000}                                          the newest event's number ever given
//	{"kind":"lane","lane":"telegram","seq":1767323040000000}                        a destination has finished everything up to there
//	{"kind":"mark","lane":"callbacks","seq":1767323041000000,"target":"app"}        and this
//	{"kind":"word","session":"s1","seq":1767323042000000}                           a session's last event
//	{"kind":"claim","session":"s1","key":"visitor_message/m1","seq":1767323042000000,"appended":true}   by which a repeat is known
//	{"kind":"row","table":"threads","key":"telegram/s1","session":"s1","value":"…"}
//	{"kind":"entry","seq":1767323042000000,"value":"…"}                             an event: a line of JSON, a line feed, its body
//	{"end":true,"lines":7,"sha256":"…"}                                             of all lines before, their line feeds too
//
// A text that is not UTF-8 is {"base64":"…"} instead. Lines between the first and the last come in any order but for entries, which go up,
// and a line may come again as it was. A stream without its last line was cut off. A reader of version 1 refuses a higher version and kinds
// that it does not know, and passes over fields that it does not know.
package export

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

const (
	format  = "pocketping-bridge-export"
	version = 1

	// maxLine is more than any line has: a body of 64 MiB, the most that MAX_BODY may be, with all its characters escaped.
	maxLine = 512 << 20
)

// Header is a stream's first line.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	MadeAt  time.Time `json:"madeAt"`
	MadeBy  string    `json:"madeBy"` // the program's version
	From    string    `json:"from"`   // file or redis
}

// line is any of the others.
type line struct {
	Kind     store.Kind `json:"kind,omitempty"`
	Session  text       `json:"session,omitempty"`
	Table    text       `json:"table,omitempty"`
	Key      text       `json:"key,omitempty"`
	Lane     text       `json:"lane,omitempty"`
	Target   text       `json:"target,omitempty"`
	Seq      bridge.Seq `json:"seq,omitempty"`
	Appended bool       `json:"appended,omitempty"`
	Sum      text       `json:"sum,omitempty"`
	Value    *text      `json:"value,omitempty"`
	End      bool       `json:"end,omitempty"`
	Lines    int        `json:"lines,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
}

// text is any bytes.
type text string

type encoded struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(encoded{[]byte(t)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		var e encoded
		err := json.Unmarshal(data, &e)
		*t = text(e.Base64)
		return err
	}
	return json.Unmarshal(data, (*string)(t))
}

// Write writes everything that a store keeps, and returns how many lines that are. The last line is written when the store's export has
// come to its end, when it is known that nothing was written meanwhile that is not in it. An error of w ends it, and takes a final export back.
func Write(ctx context.Context, w io.Writer, from store.Movable, c store.Cut, h Header) (lines int, err error) {
	h.Format, h.Version = format, version
	out := &writer{sum: sha256.New(), w: bufio.NewWriterSize(w, 64<<10)}
	if err := out.line(h); err != nil {
		return 0, err
	}
	_, was, err := from.Moved(ctx)
	if err != nil {
		return 0, err
	}
	err = from.Export(ctx, c, func(i store.Item) error {
		var value *text
		if i.Kind == store.KindRow || i.Kind == store.KindEntry {
			value = new(text(i.Value))
		}
		return out.line(line{
			Kind: i.Kind, Session: text(i.Session), Table: text(i.Table), Key: text(i.Key), Lane: text(i.Lane), Target: text(i.Target), Seq: i.Seq,
			Appended: i.Appended, Sum: text(i.Sum), Value: value,
		})
	})
	if err != nil {
		return out.lines, err
	}
	if err = out.line(line{End: true, Lines: out.lines, SHA256: hex.EncodeToString(out.sum.Sum(nil))}); err == nil {
		err = out.w.Flush()
	}
	if err != nil && c.Final && !was { // whoever was to have it does not
		err = errors.Join(err, from.Reopen(context.WithoutCancel(ctx)))
	}
	return out.lines, err
}

type writer struct {
	sum   hash.Hash
	w     *bufio.Writer
	lines int
}

func (o *writer) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	_, _ = o.sum.Write(data) // a hash returns no error
	o.lines++
	_, err = o.w.Write(data)
	return err
}

// The faults of a stream.
var (
	ErrNoExport = errors.New("it is no export of a bridge")
	ErrCutOff   = errors.New("it is cut off: its last line is missing; make it again")
	ErrChanged  = errors.New("it is not as it was written: its checksum is another; copy it again")
)

// Reader reads a stream.
type Reader struct {
	Header Header

	lines *bufio.Reader
	sum   hash.Hash
	count int
}

// NewReader reads the first line.
func NewReader(r io.Reader) (*Reader, error) {
	in := &Reader{lines: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	data, err := in.next()
	if errors.Is(err, io.EOF) || err == nil && (json.Unmarshal(data, &in.Header) != nil || in.Header.Format != format) {
		return nil, ErrNoExport
	}
	if err != nil {
		return nil, err
	}
	if in.Header.Version > version {
		return nil, fmt.Errorf("it has version %d and this program reads %d; use a newer bridge", in.Header.Version, version)
	}
	in.took(data)
	return in, nil
}

// next returns the next line, with its line feed.
func (in *Reader) next() ([]byte, error) {
	var all []byte
	for {
		part, err := in.lines.ReadSlice('\n')
		if all = append(all, part...); len(all) > maxLine {
			return nil, ErrNoExport
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(all) > 0: // in the middle of a line
			return nil, ErrCutOff
		case err != nil:
			return nil, err
		default:
			return all, nil
		}
	}
}

// Lines returns how many lines were read, the first one too.
func (in *Reader) Lines() int { return in.count }

func (in *Reader) took(data []byte) {
	in.count++
	_, _ = in.sum.Write(data)
}

// Next returns the next item, and io.EOF behind the last one of a stream that is whole.
func (in *Reader) Next() (store.Item, error) {
	data, err := in.next()
	if errors.Is(err, io.EOF) {
		return store.Item{}, ErrCutOff
	}
	if err != nil {
		return store.Item{}, err
	}
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return store.Item{}, fmt.Errorf("line %d: %w", in.count+1, ErrChanged) // its own text may hold anything
	}
	if l.End {
		if l.Lines != in.count || l.SHA256 != hex.EncodeToString(in.sum.Sum(nil)) {
			return store.Item{}, ErrChanged
		}
		return store.Item{}, io.EOF
	}
	in.took(data)
	item := store.Item{
		Kind: l.Kind, Session: string(l.Session), Table: string(l.Table), Key: string(l.Key), Lane: string(l.Lane), Target: string(l.Target),
		Seq: l.Seq, Appended: l.Appended, Sum: string(l.Sum),
	}
	if l.Value != nil {
		item.Value = []byte(*l.Value)
	}
	switch item.Kind {
	case store.KindLast, store.KindLane, store.KindMark, store.KindLastWord, store.KindClaim, store.KindRow, store.KindEntry:
		return item, nil
	default:
		return item, fmt.Errorf("line %d has a kind that this program does not know; use a newer bridge", in.count)
	}
}
