package redis

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"
)

const persistFix = "set appendonly yes in redis.conf or in the provider's settings, " +
	"or run: redis-cli CONFIG SET appendonly yes, and CONFIG REWRITE"

// inspect looks at how the server keeps what it is given. Managed servers often refuse CONFIG, then INFO is asked; what
// neither tells is said and not held against the server.
func (s *Store) inspect(ctx context.Context, log *slog.Logger) error {
	if err := s.do(ctx, func(c redis.Cmdable) error { return c.Ping(ctx).Err() }); err != nil {
		return err
	}
	var settings map[string]string
	_ = s.on(ctx, s.write, func(c redis.Cmdable) error {
		settings = readSettings(ctx, c)
		return nil
	})

	switch policy := settings["maxmemory-policy"]; policy {
	case "noeviction":
	case "":
		log.Warn("redis does not tell its maxmemory-policy: it must be noeviction, or accepted messages can be lost")
	default:
		return fmt.Errorf("redis has maxmemory-policy %s and may throw accepted messages away: set maxmemory-policy noeviction "+
			"in redis.conf or in the provider's settings, or run: redis-cli CONFIG SET maxmemory-policy noeviction", policy)
	}

	aof, save := settings["appendonly"], settings["save"]
	switch {
	case aof == "":
		log.Warn("redis does not tell whether it persists: appendonly should be yes, or a restart of it can lose messages")
	case aof == "no" && save == "":
		log.Warn("redis persists nothing: when it restarts all is lost", "fix", persistFix)
	case aof == "no":
		log.Warn("redis persists snapshots only: when it restarts, what came after the last one is lost", "fix", persistFix)
	}
	return nil
}

// readSettings returns those of maxmemory-policy, appendonly and save that the server tells.
func readSettings(ctx context.Context, c redis.Cmdable) map[string]string {
	settings := make(map[string]string)
	for _, name := range []string{"maxmemory-policy", "appendonly", "save"} {
		if found, err := c.ConfigGet(ctx, name).Result(); err == nil && found[name] != "" {
			settings[name] = found[name]
		}
	}
	info := make(map[string]string)
	for _, section := range []string{"memory", "persistence"} {
		text, _ := c.Info(ctx, section).Result()
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			info[name] = value
		}
	}
	if settings["maxmemory-policy"] == "" && info["maxmemory_policy"] != "" {
		settings["maxmemory-policy"] = info["maxmemory_policy"]
	}
	if settings["appendonly"] == "" {
		switch info["aof_enabled"] {
		case "1":
			settings["appendonly"] = "yes"
		case "0":
			settings["appendonly"] = "no"
		}
	}
	return settings
}
