package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
	"github.com/pocketping/bridge/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, url string, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened(t testing.TB, url string, o Options) *Store {
	t.Helper()
	s := open(t, url, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// plain returns a client for what a Store does not do.
func plain(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func message(session, text string) bridge.Event {
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		panic(err)
	}
	return bridge.Event{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Body: body}
}

func batch(key string) bridge.Batch {
	return bridge.Batch{Claims: []bridge.Claim{{Session: "s", Key: key}}, Events: []bridge.Event{message("s", key)}}
}

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	var database atomic.Int64
	storetest.Run(t, func(t *testing.T) storetest.Place {
		url := server.Database(int(database.Add(1)))
		return storetest.Place{
			Open:   func(t *testing.T) store.Store { return open(t, url, Options{}) },
			Shared: true,
			Lose: func(t *testing.T) {
				if err := plain(t, url).FlushDB(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// TestStoreClock runs the suite on a stand-in whose clock can be moved.
func TestStoreClock(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		server := miniredis.RunT(t)
		var offset time.Duration
		server.ClockTTL(true)
		return storetest.Place{
			Open:   func(t *testing.T) store.Store { return open(t, "redis://"+server.Addr(), Options{}) },
			Shared: true,
			Lose:   func(*testing.T) { server.FlushAll() },
			Advance: func(d time.Duration) {
				offset += d
				server.SetTime(time.Now().Add(offset))
			},
		}
	})
}
