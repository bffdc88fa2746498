package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableCheck is where Inspect writes and removes a row.
const tableCheck = "check"

// Inspect looks whether a Redis is fit for being the store, and uses what the store uses, so that missing rights are seen too. It leaves
// nothing behind. about says which Redis it is; lacks are what is wrong and how it is mended, a line each. An error is that it cannot be
// used at all, and shows no secret.
func Inspect(ctx context.Context, url string, wait int) (about string, lacks []string, err error) {
	s, err := Open(ctx, url, Options{Wait: wait})
	if err != nil {
		if errors.Is(err, bridge.ErrUnavailable) && !strings.Contains(err.Error(), "(") {
			err = fmt.Errorf("%w; see that Redis runs and is reached from here, or correct the URL", err)
		}
		return "", nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	settings := s.settings(ctx)
	version := s.version(ctx)
	about = "Redis " + version
	if old(version) {
		lacks = append(lacks, "REDIS_URL: this is Redis "+version+", and 6.2 is the oldest that will do; upgrade it")
	}
	switch aof := settings["appendonly"]; {
	case aof == "no" && settings["save"] == "":
		lacks = append(lacks, "REDIS_URL: this Redis persists nothing, and loses all when it restarts; "+persistFix)
	case aof == "no":
		lacks = append(lacks, "REDIS_URL: this Redis persists snapshots only, and loses what came after the last one; "+persistFix)
	}
	return about, append(lacks, s.tryAll(ctx, wait)...), nil
}

func (s *Store) version(ctx context.Context) (version string) {
	_ = s.on(ctx, s.write, func(c redis.Cmdable) error {
		version = infoOf(ctx, c, "server")["redis_version"]
		return nil
	})
	return cmp.Or(version, "of an unknown version")
}

// old says whether a version is below 6.2; one that cannot be read is not.
func old(version string) bool {
	parts := strings.Split(version, ".")
	major, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) < 2 {
		return false
	}
	minor, err := strconv.Atoi(parts[1])
	return err == nil && (major < 6 || major == 6 && minor < 2)
}

// tryAll uses every kind of command that the store uses, on a row and a lease of its own, and returns what was refused, once.
func (s *Store) tryAll(ctx context.Context, wait int) []string {
	key := rand.Text()
	lease := bridge.Lease{Name: tableCheck + "/" + key, Token: key}
	for _, try := range []func() error{
		func() error { return s.Ping(ctx) },
		func() error { _, err := s.Now(ctx); return err },
		func() error { _, err := s.Last(ctx); return err },
		func() error { _, err := s.Read(ctx, 0, 1, 0); return err },
		func() error { _, _, err := s.LogSize(ctx); return err },
		func() error { _, err := s.Lanes(ctx); return err },
		func() error { _, err := s.Claimed(ctx, "", key); return err },
		func() error { _, err := s.Acquire(ctx, lease, time.Minute); return err },
		func() error { return s.Release(ctx, lease) },
		func() error {
			row := bridge.Row{Table: tableCheck, Key: key, Value: []byte("1")}
			_, err := s.Commit(ctx, bridge.Batch{Rows: []bridge.Row{row}})
			return err
		},
		func() error { _, _, err := s.Scan(ctx, tableCheck, "", 10); return err },
		func() error { _, err := s.Count(ctx, tableCheck); return err },
		func() error {
			_, err := s.Commit(ctx, bridge.Batch{Rows: []bridge.Row{{Table: tableCheck, Key: key}}})
			return err
		},
	} {
		err := try()
		switch {
		case err == nil:
		case wait > 0 && strings.Contains(err.Error(), "REDIS_WAIT"):
			return []string{"REDIS_WAIT: " + err.Error() + "; start the replicas, or lower REDIS_WAIT"}
		default:
			return []string{"REDIS_URL: " + err.Error()}
		}
	}
	return nil
}
