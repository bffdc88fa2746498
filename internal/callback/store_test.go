package callback

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// memory keeps one table and the events, as atomically as a store does.
type memory struct {
	mu     sync.Mutex
	rows   map[string][]byte
	events []bridge.Event
	writes int
	seq    bridge.Seq
	fault  error         // of every method
	gate   chan struct{} // when set, a commit waits for it
}

func newMemory() *memory { return &memory{rows: map[string][]byte{}} }

func (m *memory) Get(_ context.Context, _, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[key], m.fault
}

func (m *memory) List(context.Context, string, string, int) ([]bridge.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := make([]bridge.Row, 0, len(m.rows))
	for key, value := range m.rows {
		rows = append(rows, bridge.Row{Key: key, Value: value})
	}
	slices.SortFunc(rows, func(a, b bridge.Row) int { return strings.Compare(a.Key, b.Key) })
	return rows, m.fault
}

func (m *memory) Commit(_ context.Context, b bridge.Batch) (bridge.Result, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return bridge.Result{}, m.fault
	}
	for _, row := range b.If {
		if now, ok := m.rows[row.Key]; ok != (row.Value != nil) || !bytes.Equal(now, row.Value) {
			return bridge.Result{}, bridge.ErrChanged
		}
	}
	for _, row := range b.Rows {
		if row.Value == nil {
			delete(m.rows, row.Key)
		} else {
			m.rows[row.Key] = row.Value
		}
	}
	m.writes++
	var res bridge.Result
	for _, e := range b.Events {
		m.seq++
		m.events = append(m.events, e)
		res.Seqs = append(res.Seqs, m.seq)
	}
	return res, nil
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
