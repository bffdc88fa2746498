package redis

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// readConns is how many reads of the log may block at the same time.
const readConns = 64

// target is what a URL names.
type target struct {
	options          *redis.Options
	hosts            []string
	cluster          bool
	master           string // of Sentinel
	sentinelUser     string
	sentinelPassword string
}

// parse reads a URL. The texts of net/url and go-redis show parts of a URL that may be a password written without escapes,
// so none of them is passed on.
func parse(text string) (*target, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	base, mode, _ := strings.Cut(scheme, "+")
	switch {
	case !ok, base != "redis" && base != "rediss" && scheme != "unix":
		return nil, errors.New("the Redis URL must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
	case mode != "" && mode != "sentinel" && mode != "cluster":
		return nil, errors.New("the Redis URL's scheme may end in +sentinel or +cluster only")
	}
	var t target
	u, err := t.takeHosts(base, mode, rest)
	if err != nil {
		return nil, err
	}
	if err := t.takeMode(mode, u); err != nil {
		return nil, err
	}
	switch {
	case mode == "sentinel" && t.master == "":
		return nil, errors.New("the Redis URL names no master: redis+sentinel://host:port,host:port/master")
	case mode != "sentinel" && (t.master != "" || t.sentinelUser != "" || t.sentinelPassword != ""):
		return nil, errors.New("the Redis URL names a Sentinel's master or user: its scheme must be redis+sentinel or rediss+sentinel")
	case t.cluster && (mode == "sentinel" || scheme == "unix"):
		return nil, errors.New("the Redis URL can be of a cluster or of a Sentinel or of a socket, not of two")
	case len(t.hosts) > 1 && mode != "sentinel" && !t.cluster:
		return nil, errors.New("the Redis URL names several hosts: its scheme must be redis+sentinel or redis+cluster")
	}

	if t.options, err = redis.ParseURL(u.String()); err != nil {
		return nil, unusable(err)
	}
	if t.cluster && t.options.DB != 0 {
		return nil, errors.New("the Redis URL names a database: a cluster has only 0")
	}
	if t.options.TLSConfig != nil && (t.cluster || t.master != "") {
		t.options.TLSConfig.ServerName = "" // each host's own
	}
	return &t, nil
}

// takeHosts takes the hosts out of what stands behind a scheme, and returns the URL with the first one: net/url takes only one.
func (t *target) takeHosts(base, mode, rest string) (*url.URL, error) {
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(tail, "@") && base != "unix" {
		return nil, errUnreadable()
	}
	user, hosts := "", authority
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, hosts = authority[:i+1], authority[i+1:]
	}
	usual := "6379"
	if mode == "sentinel" {
		usual = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		u, err := url.Parse("redis://" + host)
		if err != nil {
			return nil, errUnreadable()
		}
		t.hosts = append(t.hosts, net.JoinHostPort(cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), usual)))
	}
	first, _, _ := strings.Cut(hosts, ",")
	u, err := url.Parse(base + "://" + user + first + tail)
	if err != nil {
		return nil, errUnreadable()
	}
	return u, nil
}

// takeMode takes out of a URL what says which of several servers is meant. go-redis does not know it.
func (t *target) takeMode(mode string, u *url.URL) (err error) {
	query := u.Query()
	take := func(name string) string {
		value := query.Get(name)
		query.Del(name)
		return value
	}
	t.master, t.sentinelUser, t.sentinelPassword = take("master"), take("sentinel_username"), take("sentinel_password")
	if text := take("cluster"); text != "" {
		if t.cluster, err = strconv.ParseBool(text); err != nil {
			return errors.New("the Redis URL's cluster must be true or false")
		}
	}
	t.cluster = t.cluster || mode == "cluster"
	if mode == "sentinel" && t.master == "" {
		t.master, u.Path, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	}
	u.RawQuery = query.Encode()
	return nil
}

func errUnreadable() error {
	return errors.New("the Redis URL cannot be read: " +
		"in a user or password, characters other than letters, digits and -._~ must be written as %XX")
}

// named matches what go-redis says of an option by a name of its own; what was written for it follows.
var named = regexp.MustCompile(`^redis: invalid (\w+ (?:number|duration|boolean)): `)

// unusable says what go-redis found wrong with a URL. Its own words quote what was written, which may be a password in the wrong place.
func unusable(err error) error {
	if m := named.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("the Redis URL cannot be used: it has an invalid %s", m[1])
	}
	return errors.New("the Redis URL cannot be used: behind its host there may be the number of a database, such as /0, and options behind ? as " +
		"go-redis knows them, such as ?dial_timeout=5s")
}

// client makes a client that tries everything once: what a lost answer did is for the store to say, and a commit that
// go-redis repeated would be made twice.
func (t *target) client(blocking bool) redis.UniversalClient {
	o := *t.options
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.DisableIdentity = true
	o.PipelinePoolSize = -1
	o.DialTimeout = cmp.Or(o.DialTimeout, 2*time.Second)
	o.ReadTimeout = cmp.Or(o.ReadTimeout, 3*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 3*time.Second)
	if blocking {
		o.PoolSize = readConns
	}
	switch {
	case t.cluster:
		u := t.universal(&o)
		u.IsClusterMode = true
		return redis.NewUniversalClient(u)
	case t.master != "":
		u := t.universal(&o)
		u.MasterName, u.SentinelUsername, u.SentinelPassword = t.master, t.sentinelUser, t.sentinelPassword
		return redis.NewUniversalClient(u)
	default:
		return redis.NewClient(&o)
	}
}

func (t *target) universal(o *redis.Options) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                    t.hosts,
		ClientName:               o.ClientName,
		DB:                       o.DB,
		Protocol:                 o.Protocol,
		Username:                 o.Username,
		Password:                 o.Password,
		MaxRetries:               o.MaxRetries,
		DialTimeout:              o.DialTimeout,
		DialerRetries:            o.DialerRetries,
		ReadTimeout:              o.ReadTimeout,
		WriteTimeout:             o.WriteTimeout,
		ContextTimeoutEnabled:    o.ContextTimeoutEnabled,
		PoolFIFO:                 o.PoolFIFO,
		PoolSize:                 o.PoolSize,
		PoolTimeout:              o.PoolTimeout,
		PipelinePoolSize:         o.PipelinePoolSize,
		MinIdleConns:             o.MinIdleConns,
		MaxIdleConns:             o.MaxIdleConns,
		MaxActiveConns:           o.MaxActiveConns,
		ConnMaxIdleTime:          o.ConnMaxIdleTime,
		ConnMaxLifetime:          o.ConnMaxLifetime,
		TLSConfig:                o.TLSConfig,
		DisableIdentity:          o.DisableIdentity,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	}
}
