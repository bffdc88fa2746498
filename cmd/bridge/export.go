package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/export"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/sealed"
)

// laneLeases begins the names of the leases of who delivers.
const laneLeases = "lane/"

// exporter exports the store of a bridge that runs.
type exporter struct {
	store store.Movable
	from  string
	log   *slog.Logger
}

// Export implements api.Exporter.
func (e exporter) Export(ctx context.Context, w io.Writer, final bool) error {
	e.log.Info("an export begins", "final", final)
	lines, err := writeExport(ctx, w, e.store, e.from, final)
	if errors.Is(err, store.ErrExporting) {
		return api.ErrExporting
	}
	if err == nil {
		e.log.Info("an export is done", "final", final, "lines", lines)
	}
	return err
}

func writeExport(ctx context.Context, w io.Writer, from store.Movable, kind string, final bool) (lines int, err error) {
	return export.Write(ctx, w, from, store.Cut{Final: final, Leases: laneLeases}, export.Header{
		MadeAt: time.Now().UTC().Truncate(time.Second), MadeBy: buildVersion(), From: kind,
	})
}

// exportFlags are what bridge export is told.
type exportFlags struct {
	to, store, url string
	final, reopen  bool
}

func exportCommand(ctx context.Context, flags *flag.FlagSet, getenv func(string) string, stdout, stderr io.Writer) func() error {
	var f exportFlags
	flags.StringVar(&f.to, "to", "", "the `file` to write, which must not be there yet; - is the standard output")
	flags.BoolVar(&f.final, "final", false, "for a move: nothing is accepted any more from the moment on of which the export is")
	flags.BoolVar(&f.reopen, "reopen", false, "take a final export back: the store takes events again")
	flags.StringVar(&f.store, "store", "", "file or redis: which store, if not the one that the configuration says")
	flags.StringVar(&f.url, "url", "", "the `URL` of a bridge that runs, if it is not this machine's; its API_KEY is asked for")
	return func() error { return runExport(ctx, f, getenv, stdout, stderr) }
}

func runExport(ctx context.Context, f exportFlags, getenv func(string) string, stdout, stderr io.Writer) error {
	c, err := loadConfig(getenv, os.ReadFile)
	if err == nil {
		err = c.choose(f.store)
	}
	switch {
	case err != nil:
		return err
	case f.reopen:
		return reopen(ctx, c, stderr)
	case f.to == "":
		return errors.New("say where to: bridge export -to FILE, or -to - for the standard output")
	}
	out, done, err := create(f.to, stdout)
	if err != nil {
		return err
	}
	lines, err := exportTo(ctx, out, c, f)
	if err = done(err); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stderr, "exported, %d lines\n", lines)
	sayUploads(c, stderr)
	if f.final {
		_, _ = fmt.Fprintln(stderr, "nothing is accepted there any more; import this into the new store, and start the bridge on it. To go on with the old store "+
			"after all: bridge export -reopen")
	}
	return nil
}

// choose has another kind of store than the configuration says, if it is not empty.
func (c *Config) choose(kind string) error {
	switch {
	case kind == "", kind == "redis" && c.RedisURL != "":
	case kind == "redis":
		return errors.New("-store redis needs REDIS_URL")
	case kind == "file":
		c.RedisURL = ""
	default:
		return fmt.Errorf("-store %s: write file or redis", kind)
	}
	return nil
}

// create makes a file that only its owner may read. done ends it, and takes it away after an error.
func create(name string, stdout io.Writer) (w io.Writer, done func(error) error, err error) {
	if name == "-" {
		return stdout, func(err error) error { return err }, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the file that was asked for
	if errors.Is(err, fs.ErrExist) {
		return nil, nil, fmt.Errorf("-to %s: there is such a file already; name another", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("-to %s: %w", name, cause(err))
	}
	return file, func(err error) error {
		if err == nil {
			err = file.Sync()
		}
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	}, nil
}

// exportTo writes the export of a bridge that runs, if the store is its own, or else of the store itself.
func exportTo(ctx context.Context, w io.Writer, c Config, f exportFlags) (lines int, err error) {
	if f.url != "" {
		return exportFrom(ctx, w, c, f.url, f.final)
	}
	if c.RedisURL == "" {
		path := storeFile(c)
		if _, err := os.Stat(path); err != nil {
			return 0, fmt.Errorf("there is no store %s (%w)", path, cause(err))
		}
		if inUse, _ := bolt.Examine(path); inUse {
			address, err := localAddress(c)
			if err != nil {
				return 0, err
			}
			return exportFrom(ctx, w, c, "http://"+address, f.final)
		}
	}
	st, kind, err := openMovable(ctx, c, redis.Options{}, bolt.Options{Still: true})
	if err != nil {
		return 0, err
	}
	lines, err = writeExport(ctx, w, st, kind, f.final)
	return lines, errors.Join(err, st.Close())
}

// movable is a store as both kinds are.
type movable interface {
	store.Store
	store.Movable
}

// openMovable opens the store that the configuration says, which is of a kind.
func openMovable(ctx context.Context, c Config, ofRedis redis.Options, ofFile bolt.Options) (st movable, kind string, err error) {
	if c.RedisURL != "" {
		st, err := redis.Open(ctx, c.RedisURL.Reveal(), ofRedis)
		if err != nil {
			return nil, "", err
		}
		return st, "redis", nil
	}
	file, err := bolt.Open(storeFile(c), ofFile)
	if err != nil {
		return nil, "", err
	}
	return file, "file", nil
}

// exportFrom writes the export of a bridge that runs, and looks that it is whole.
func exportFrom(ctx context.Context, w io.Writer, c Config, base string, final bool) (lines int, err error) {
	address := strings.TrimRight(base, "/") + "/api/export"
	if final {
		address += "?final=true"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return 0, errors.New("-url: it is no URL")
	}
	if c.FirstKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.FirstKey.Reveal())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("the bridge at %s does not answer: %w", base, unwrapURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return 0, fmt.Errorf("the bridge at %s answers %d: %s", base, resp.StatusCode, said)
	}
	read, err := export.NewReader(io.TeeReader(resp.Body, w))
	for err == nil {
		_, err = read.Next()
	}
	if errors.Is(err, io.EOF) {
		return read.Lines(), nil
	}
	if final {
		err = fmt.Errorf("%w; if the bridge takes no events any more, stop it, and: bridge export -reopen", err)
	}
	return 0, err
}

func reopen(ctx context.Context, c Config, stderr io.Writer) error {
	st, _, err := openMovable(ctx, c, redis.Options{}, bolt.Options{Still: true})
	if err != nil {
		return err
	}
	if err := errors.Join(st.Reopen(ctx), st.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stderr, "the store takes events again")
	return err
}

// sayUploads says that visitors' files are to be copied, where there are any.
func sayUploads(c Config, stderr io.Writer) {
	if entries, err := os.ReadDir(c.Site.Uploads); err == nil && len(entries) > 0 {
		_, _ = fmt.Fprintf(stderr, "files that visitors sent are not in it: copy the folder %s too, if the new bridge is to have another\n", c.Site.Uploads)
	}
}

func importCommand(ctx context.Context, flags *flag.FlagSet, getenv func(string) string, stderr io.Writer) func() error {
	from := flags.String("from", "", "the `file` that bridge export wrote; - is the standard input")
	kind := flags.String("store", "", "file or redis: which store, if not the one that the configuration says")
	return func() error {
		c, err := loadConfig(getenv, os.ReadFile)
		if err == nil {
			err = c.choose(*kind)
		}
		switch {
		case err != nil:
			return err
		case *from == "":
			return errors.New("say where from: bridge import -from FILE, or -from - for the standard input")
		}
		in := io.ReadCloser(os.Stdin)
		if *from != "-" {
			if in, err = os.Open(*from); err != nil { //nolint:gosec // the file that was asked for
				return fmt.Errorf("-from %s: %w", *from, cause(err))
			}
		}
		err = runImport(ctx, in, c, stderr)
		return errors.Join(err, in.Close())
	}
}

func runImport(ctx context.Context, in io.Reader, c Config, stderr io.Writer) error {
	read, err := export.NewReader(in)
	if err != nil {
		return fmt.Errorf("-from: %w", err)
	}
	next := func() (store.Item, error) {
		if err := ctx.Err(); err != nil {
			return store.Item{}, err
		}
		return read.Next()
	}
	where := "this Redis"
	if c.RedisURL == "" {
		where = filepath.Clean(storeFile(c))
		err = bolt.Import(storeFile(c), next)
	} else {
		var st *redis.Store
		if st, err = redis.Open(ctx, c.RedisURL.Reveal(), redis.Options{}); err != nil {
			return err
		}
		err = errors.Join(st.Import(ctx, laneLeases, next), st.Close())
	}
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return fmt.Errorf("%s is not empty, and nothing of it is written over: name another in DATA_DIR or REDIS_URL, or take away what is there", where)
	case err != nil:
		return fmt.Errorf("nothing is imported: %w", err)
	}
	_, _ = fmt.Fprintf(stderr, "imported into %s, %d lines\n", where, read.Lines())
	return sayKey(ctx, c, stderr)
}

// sayKey says that the secrets are sealed with another key than the configuration has.
func sayKey(ctx context.Context, c Config, stderr io.Writer) error {
	st, _, err := openPlainStore(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = sealed.Open(ctx, st, c.SecretsKey)
	if errors.Is(err, sealed.ErrNoKey) || errors.Is(err, sealed.ErrWrongKey) {
		_, _ = fmt.Fprintln(stderr, "before the bridge can start:", err)
		err = nil
	}
	return errors.Join(err, st.Close())
}

// errClosed is what a start on a store says that was exported for good.
func errClosed(ctx context.Context, st store.Movable) error {
	at, moved, err := st.Moved(ctx)
	if err != nil || !moved {
		return err
	}
	return fmt.Errorf("what this store keeps was exported for good at %s, and goes on in another; to go on with this one after all: bridge export -reopen "+
		"(%w)", at.Format(time.RFC3339), bridge.ErrUnavailable)
}
