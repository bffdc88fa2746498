package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Sentinels are three Sentinels that watch a master with a replica.
type Sentinels struct {
	Master, Replica *Server

	t       testing.TB
	watches []*Server
	admins  []*redis.SentinelClient
}

// StartSentinels starts a master, a replica whose clock may be behind, and Sentinels that know both.
func StartSentinels(t testing.TB, behind time.Duration) *Sentinels {
	t.Helper()
	s := &Sentinels{t: t, Master: Start(t)}
	_, port, _ := strings.Cut(s.Master.Addr, ":")
	s.Replica = StartBehind(t, behind, "--replicaof", "127.0.0.1", port)
	for range 3 {
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor main 127.0.0.1 %s 2\nsentinel down-after-milliseconds main 1000\n"+
			"sentinel failover-timeout main 5000\n", port)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		watch := Start(t, config, "--sentinel")
		admin := redis.NewSentinelClient(&redis.Options{Addr: watch.Addr})
		t.Cleanup(func() { _ = admin.Close() })
		s.watches, s.admins = append(s.watches, watch), append(s.admins, admin)
	}
	until(s.t, "the Sentinels know each other and the replica", func() bool {
		for _, admin := range s.admins {
			replicas, err := admin.Replicas(context.Background(), "main").Result()
			if err != nil || len(replicas) != 1 || replicas[0]["flags"] != "slave" {
				return false
			}
			if others, err := admin.Sentinels(context.Background(), "main").Result(); err != nil || len(others) != 2 {
				return false
			}
		}
		return true
	})
	return s
}

// URL returns the URL by which the master is found, as REDIS_URL has it.
func (s *Sentinels) URL() string {
	var hosts []string
	for _, watch := range s.watches {
		hosts = append(hosts, watch.Addr)
	}
	return "redis+sentinel://" + strings.Join(hosts, ",") + "/main"
}

// Promoted waits until the replica is the master.
func (s *Sentinels) Promoted() {
	s.t.Helper()
	until(s.t, "the replica is the master", func() bool {
		for _, admin := range s.admins {
			master, err := admin.GetMasterAddrByName(context.Background(), "main").Result()
			if err != nil || strings.Join(master, ":") != s.Replica.Addr {
				return false
			}
		}
		return true
	})
}

// Synced waits until the replica has everything.
func (s *Sentinels) Synced() {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Master.Addr})
	defer func() { _ = client.Close() }()
	until(s.t, "the replica has everything", func() bool {
		info, err := client.Info(context.Background(), "replication").Result()
		if err != nil {
			return false
		}
		var master, replica string
		for line := range strings.Lines(info) {
			if _, offset, ok := strings.Cut(line, "master_repl_offset:"); ok {
				master = strings.TrimSpace(offset)
			}
			if _, offset, ok := strings.Cut(line, ",offset="); ok {
				replica, _, _ = strings.Cut(offset, ",")
			}
		}
		return replica != "" && replica == master
	})
}
