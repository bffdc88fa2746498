package redistest

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is three masters without replicas.
type Cluster struct {
	Nodes []*Server

	t       testing.TB
	clients []*redis.Client
	ids     []string
	fillers int
}

// StartCluster starts three servers and makes a cluster of them.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	args := []string{"--cluster", "create"}
	for range 3 {
		s := Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
		client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		c.Nodes, c.clients = append(c.Nodes, s), append(c.clients, client)
		args = append(args, s.Addr)
	}
	out, err := exec.Command("redis-cli", append(args, "--cluster-replicas", "0", "--cluster-yes")...).CombinedOutput() //nolint:gosec,noctx // the test's own servers
	if err != nil {
		t.Fatalf("redistest: redis-cli (apt-get install redis-tools): %v\n%s", err, out)
	}
	for _, client := range c.clients {
		id, err := client.ClusterMyID(context.Background()).Result()
		if err != nil {
			t.Fatalf("redistest: %v", err)
		}
		c.ids = append(c.ids, id)
	}
	until(t, "every node finds the cluster whole", func() bool {
		for _, client := range c.clients {
			if info, err := client.ClusterInfo(context.Background()).Result(); err != nil || !strings.Contains(info, "cluster_state:ok") {
				return false
			}
		}
		return true
	})
	return c
}

// URL returns the cluster's URL, as REDIS_URL has it.
func (c *Cluster) URL() string {
	var hosts []string
	for _, s := range c.Nodes {
		hosts = append(hosts, s.Addr)
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

// Fill puts further keys into the slot of a key, so that moving it takes a while.
func (c *Cluster) Fill(key string, keys int) {
	c.t.Helper()
	ctx := context.Background()
	slot, err := c.clients[0].ClusterKeySlot(ctx, key).Result()
	if err != nil {
		c.t.Fatalf("redistest: %v", err)
	}
	pipe := c.clients[c.owner(ctx, slot)].Pipeline()
	for range keys {
		c.fillers++
		pipe.Set(ctx, key+"filler"+strconv.Itoa(c.fillers), "x", 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		c.t.Fatalf("redistest: %v", err)
	}
}

// Move moves the slot of a key to the next node, ten keys at a time, as redis-cli's reshard does, and with a pause in between, as
// between two machines. It returns how many keys went and how long they took.
func (c *Cluster) Move(key string) (keys int, took time.Duration) {
	c.t.Helper()
	ctx := context.Background()
	began := time.Now()
	do := func(node int, args ...any) any {
		value, err := c.clients[node].Do(ctx, args...).Result()
		if err != nil {
			c.t.Fatalf("redistest: node %d: %v: %v", node, args, err)
		}
		return value
	}
	slot := do(0, "cluster", "keyslot", key).(int64)
	from := c.owner(ctx, slot)
	to := (from + 1) % len(c.Nodes)
	host, port, _ := strings.Cut(c.Nodes[to].Addr, ":")
	do(to, "cluster", "setslot", slot, "importing", c.ids[from])
	do(from, "cluster", "setslot", slot, "migrating", c.ids[to])
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for ; ; <-pause.C {
		batch := do(from, "cluster", "getkeysinslot", slot, 10).([]any)
		if len(batch) == 0 {
			break
		}
		keys += len(batch)
		do(from, append([]any{"migrate", host, port, "", 0, 5000, "keys"}, batch...)...)
	}
	for _, node := range []int{to, from} { // the third hears of it
		do(node, "cluster", "setslot", slot, "node", c.ids[to])
	}
	return keys, time.Since(began)
}

// owner returns the node that has a slot.
func (c *Cluster) owner(ctx context.Context, slot int64) int {
	for i, client := range c.clients {
		text, err := client.ClusterNodes(ctx).Result()
		if err != nil {
			c.t.Fatalf("redistest: %v", err)
		}
		for line := range strings.Lines(text) {
			if fields := strings.Fields(line); strings.Contains(fields[2], "myself") && hasSlot(fields[8:], slot) {
				return i
			}
		}
	}
	c.t.Fatalf("redistest: no node has slot %d", slot)
	return 0
}

func hasSlot(ranges []string, slot int64) bool {
	for _, r := range ranges {
		first, last, _ := strings.Cut(r, "-")
		low, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			continue // on its way
		}
		high, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			high = low
		}
		if low <= slot && slot <= high {
			return true
		}
	}
	return false
}
