package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
)

// reference is the least that a server could do which keeps what it accepts: decode the JSON, keep the body, answer.
func reference(store, target string) error {
	keep, err := keeper(store, target)
	if err != nil {
		return err
	}
	e := echo.New()
	e.POST("/api/messages", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		var event bridge.AppEvent
		if err := json.Unmarshal(body, &event); err != nil {
			return c.NoContent(http.StatusBadRequest)
		}
		if err := keep(c.Request().Context(), body); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(`{"ok":true}`))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("address=" + listener.Addr().String())
	return (&http.Server{Handler: e}).Serve(listener)
}

func keeper(store, target string) (func(context.Context, []byte) error, error) {
	switch store {
	case "redis":
		options, err := redis.ParseURL(target)
		if err != nil {
			return nil, err
		}
		client := redis.NewClient(options)
		return func(ctx context.Context, body []byte) error {
			return client.XAdd(ctx, &redis.XAddArgs{Stream: "log", Values: []any{"e", body}}).Err()
		}, nil
	case "bolt":
		db, err := bbolt.Open(target, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
		if err != nil {
			return nil, err
		}
		return grouped(db), nil
	default:
		return nil, errors.New("no such store")
	}
}

// put is a body that waits to be kept.
type put struct {
	body []byte
	done chan error
}

// grouped keeps bodies in one transaction for all that wait, as the bridge's own store does.
func grouped(db *bbolt.DB) func(context.Context, []byte) error {
	waiting := make(chan put, 4*connections)
	go func() {
		var seq uint64
		for first := range waiting {
			group := []put{first}
			for more := true; more; {
				select {
				case p := <-waiting:
					group = append(group, p)
				default:
					more = false
				}
			}
			err := db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte("log"))
				if err != nil {
					return err
				}
				b.FillPercent = 0.9
				for _, p := range group {
					seq++
					if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), p.body); err != nil {
						return err
					}
				}
				return nil
			})
			for _, p := range group {
				p.done <- err
			}
		}
	}()
	return func(_ context.Context, body []byte) error {
		p := put{body, make(chan error, 1)}
		waiting <- p
		return <-p.done
	}
}
