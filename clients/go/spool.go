package bridgeclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// spool is a folder with a file for each event that waits, named so that their order is that of the names, and a file with the
// place in the stream. A file is complete or not there. It survives the end of the process; it is not flushed to the disk, so a
// power cut can lose the last moment.
type spool struct {
	dir  string
	next atomic.Int64
}

const (
	letterSuffix  = ".event.json"
	lastEventFile = "last-event-id"
)

// openSpool returns the spool with what waits in it, oldest first.
func openSpool(dir string) (*spool, []letter, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("bridgeclient: spool: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+letterSuffix)) // sorted
	if err != nil {
		return nil, nil, err
	}
	s := &spool{dir: dir}
	s.next.Store(time.Now().UnixNano())
	var all []letter
	for _, name := range names {
		var l letter
		text, err := os.ReadFile(name) //nolint:gosec // a file of the folder that the app names
		if err == nil {
			err = json.Unmarshal(text, &l)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("bridgeclient: spool: %s cannot be read; move it away to go on without it: %w", name, err)
		}
		l.file = name
		all = append(all, l)
		var n int64
		if _, err := fmt.Sscanf(filepath.Base(name), "%d", &n); err == nil && n >= s.next.Load() {
			s.next.Store(n + 1) // the clock went back
		}
	}
	return s, all, nil
}

func (s *spool) keep(l *letter) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	name := filepath.Join(s.dir, fmt.Sprintf("%020d%s", s.next.Add(1), letterSuffix))
	if err := s.write(name, text); err != nil {
		return err
	}
	l.file = name
	return nil
}

func (s *spool) write(name string, text []byte) error {
	part := name + ".part"
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return err
	}
	return os.Rename(part, name)
}

func (s *spool) remove(l letter) {
	if l.file != "" {
		_ = os.Remove(l.file) // one that stays is sent again, and recognised
	}
}

// lastEvent returns the id of the last event that was taken, or nothing.
func (s *spool) lastEvent() (string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, lastEventFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

func (s *spool) setLastEvent(id string) error {
	return s.write(filepath.Join(s.dir, lastEventFile), []byte(id+"\n"))
}
