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
	if store == "streams" {
		mux := http.NewServeMux()
		mux.HandleFunc("/", bareStreams)
		mux.HandleFunc("/socket", bareSockets)
		return serve(mux)
	}
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
		if err := keep(c.Request().Context(), event, body); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(`{"ok":true}`))
	})
	return serve(e)
}

// serve tells the address that it serves at.
func serve(h http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("address=" + listener.Addr().String())
	return (&http.Server{Handler: h}).Serve(listener)
}

// keep keeps an event's body.
type keep func(ctx context.Context, event bridge.AppEvent, body []byte) error

func keeper(store, target string) (keep, error) {
	switch store {
	case "redis":
		options, err := redis.ParseURL(target)
		if err != nil {
			return nil, err
		}
		client := redis.NewClient(options)
		return func(ctx context.Context, _ bridge.AppEvent, body []byte) error {
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
	claim []byte // of its message: no second body is kept under it
	body  []byte
	done  chan error
}

// grouped keeps bodies in one transaction for all that wait, as the bridge's own store does: of each a claim and the body.
func grouped(db *bbolt.DB) keep {
	waiting := make(chan put, 4*connections)
	go func() {
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
			err := db.Update(func(tx *bbolt.Tx) error { return write(tx, group) })
			for _, p := range group {
				p.done <- err
			}
		}
	}()
	return func(_ context.Context, event bridge.AppEvent, body []byte) error {
		p := put{[]byte(event.SessionOf() + "\x00" + event.MessageOf()), body, make(chan error, 1)}
		waiting <- p
		return <-p.done
	}
}

// write claims the messages that are new, and appends their bodies to the log.
func write(tx *bbolt.Tx, group []put) error {
	claims, err := tx.CreateBucketIfNotExists([]byte("claims"))
	if err != nil {
		return err
	}
	log, err := tx.CreateBucketIfNotExists([]byte("log"))
	if err != nil {
		return err
	}
	log.FillPercent = 1 // it only ever grows at its end
	for _, p := range group {
		if claims.Get(p.claim) != nil {
			continue
		}
		seq, err := log.NextSequence()
		if err != nil {
			return err
		}
		at := binary.BigEndian.AppendUint64(nil, seq)
		if err := errors.Join(claims.Put(p.claim, at), log.Put(at, p.body)); err != nil {
			return err
		}
	}
	return nil
}
