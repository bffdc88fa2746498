package redis

import (
	"cmp"
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
	settings := s.settings(ctx)
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

// settings returns those of maxmemory-policy, appendonly and save that the server tells.
func (s *Store) settings(ctx context.Context) map[string]string {
	settings := make(map[string]string)
	_ = s.on(ctx, s.write, func(c redis.Cmdable) error {
		for _, name := range []string{"maxmemory-policy", "appendonly", "save"} {
			found, _ := c.ConfigGet(ctx, name).Result()
			settings[name] = found[name]
		}
		info := infoOf(ctx, c, "memory", "persistence")
		aof := map[string]string{"1": "yes", "0": "no"}[info["aof_enabled"]]
		settings["maxmemory-policy"] = cmp.Or(settings["maxmemory-policy"], info["maxmemory_policy"])
		settings["appendonly"] = cmp.Or(settings["appendonly"], aof)
		return nil
	})
	return settings
}

// infoOf returns what the server tells in sections of INFO.
func infoOf(ctx context.Context, c redis.Cmdable, sections ...string) map[string]string {
	info := make(map[string]string)
	for _, section := range sections {
		text, _ := c.Info(ctx, section).Result()
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			info[name] = value
		}
	}
	return info
}
