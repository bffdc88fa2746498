package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/callback"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
)

// The times of what is asked.
const (
	inspectWithin = 30 * time.Second // for all, side by side
	// clockMost is how far the clock may be from others': platforms' signatures are good for five minutes.
	clockMost = time.Minute
)

// found is what came of asking one part of what a bridge stands on.
type found struct {
	part  string   // such as telegram, store or clock
	about string   // what was found, in a few words
	lacks []string // what is missing, a line each: the setting, what is wrong, how it is mended
}

// inspectAll asks everything that a configuration names. Nothing of it is changed.
func inspectAll(ctx context.Context, parts []func(context.Context) found) []found {
	ctx, cancel := context.WithTimeout(ctx, inspectWithin)
	defer cancel()
	out := make([]found, len(parts))
	var work sync.WaitGroup
	for i, ask := range parts {
		work.Go(func() { out[i] = ask(ctx) })
	}
	work.Wait()
	return out
}

// checkOnline looks at the configuration, and asks all that it names: a line each. Where all is well, and it is to, it sends a message to each
// platform. It ends without an error only if all is well.
func checkOnline(ctx context.Context, getenv func(string) string, send bool, stdout io.Writer) error {
	if err := check(getenv, stdout); err != nil {
		return err
	}
	c, err := loadConfig(getenv, os.ReadFile)
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	platforms, err := openPlatforms(c, quiet)
	if err != nil {
		return err
	}
	parts := []func(context.Context) found{func(ctx context.Context) found { return inspectStore(ctx, c) }}
	parts = append(parts, platformParts(platforms, false)...)
	parts = append(parts, outwardParts(c, quiet)...)
	wrong := 0
	for _, f := range inspectAll(ctx, parts) {
		if len(f.lacks) == 0 {
			_, _ = fmt.Fprintf(stdout, "ok    %s: %s\n", f.part, f.about)
			continue
		}
		for _, lack := range f.lacks {
			_, _ = fmt.Fprintf(stdout, "WRONG %s\n", lack)
			wrong++
		}
	}
	if wrong == 0 && send {
		if wrong, err = sendTests(ctx, platforms, openTerminal(os.Stdin, stdout), stdout); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of these must be mended", wrong)
	}
	_, err = fmt.Fprintln(stdout, "all is well")
	return err
}

// outwardParts ask what others are to reach, and whom the bridge tells.
func outwardParts(c Config, log *slog.Logger) (parts []func(context.Context) found) {
	if c.PublicURL != "" {
		parts = append(parts, func(ctx context.Context) found { return inspectPublic(ctx, c) })
	}
	guard, err := outbound.NewGuard(c.PrivateCallbacks)
	if err != nil {
		return parts
	}
	registry := newRegistry(c, nil, guard, log)
	if c.BackendURL != "" {
		parts = append(parts, func(ctx context.Context) found {
			return inspectReceiver(ctx, registry, callback.Backend, "BACKEND_WEBHOOK_URL")
		})
	}
	if c.EventsURL != "" {
		parts = append(parts, func(ctx context.Context) found {
			return inspectReceiver(ctx, registry, callback.Webhook, "EVENTS_WEBHOOK_URL")
		})
	}
	return parts
}

// platformParts ask each platform; receives says whether a bridge does or is about to.
func platformParts(platforms []bridge.Platform, receives bool) (parts []func(context.Context) found) {
	for _, p := range platforms {
		parts = append(parts, func(ctx context.Context) found {
			f := found{part: p.Name()}
			asked, ok := p.(bridge.Inspector)
			if !ok {
				f.about = "a webhook, which only sends; it cannot be asked without a message"
				return f
			}
			in := asked.Inspect(ctx, receives)
			if f.lacks = in.Lacks; in.Clock.Abs() > clockMost {
				f.lacks = append(f.lacks, fmt.Sprintf("the clock: this machine's differs from %s's by %s, and what is signed counts as too old; set it, "+
					"with NTP for instance", bridge.Title(p.Name()), in.Clock.Abs().Round(time.Second)))
			}
			hears := "hears nothing"
			if in.Hears != "" {
				hears = "hears by " + in.Hears
			}
			if f.about = fmt.Sprintf("the bot %s writes in %s and %s", in.Bot, in.Place, hears); in.Advice != "" {
				f.about += "; " + in.Advice
			}
			return f
		})
	}
	return parts
}

// inspectStore asks Redis, or looks at the embedded store's file.
func inspectStore(ctx context.Context, c Config) found {
	f := found{part: "store"}
	if c.RedisURL != "" {
		about, lacks, err := redis.Inspect(ctx, c.RedisURL.Reveal(), c.RedisWait)
		f.about, f.lacks = about, lacks
		if err != nil {
			f.lacks = append(f.lacks, "REDIS_URL: "+err.Error())
		}
		for i, lack := range f.lacks {
			if !strings.HasPrefix(lack, "REDIS_") {
				f.lacks[i] = "REDIS_URL: " + lack
			}
		}
		return f
	}
	path := storeFile(c)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.about = path + " is made at the start"
	case err != nil:
		f.lacks = []string{fmt.Sprintf("DATA_DIR: %s cannot be looked at (%v); name a folder of this user's", quote(path), cause(err))}
	default:
		f.about = fmt.Sprintf("%s, %s", path, sizeText(info.Size()))
		switch inUse, err := bolt.Examine(path); {
		case inUse:
			f.about += ", in use by a bridge that runs"
		case err != nil:
			f.lacks = []string{"DATA_DIR: " + err.Error()}
		}
	}
	return f
}

// inspectReceiver has a test event sent to an app server or a program.
func inspectReceiver(ctx context.Context, registry *callback.Registry, id, setting string) found {
	f := found{part: strings.ToLower(setting), about: "takes a test event"}
	result, err := registry.Test(ctx, id)
	switch {
	case err != nil:
		f.lacks = []string{setting + ": it cannot be tried: " + err.Error()}
	case result.Status == 0:
		f.lacks = []string{setting + ": nobody answers there (" + result.Fault + "); start the app server, or correct the URL"}
	case result.Status == http.StatusUnauthorized || result.Status == http.StatusForbidden:
		f.lacks = []string{fmt.Sprintf("%s: a test event is answered with %d; see that it takes the key and the signature of %s", setting, result.Status,
			strings.Replace(setting, "_URL", "_SECRET", 1))}
	case result.Status/100 == 2 || result.Status == http.StatusNotImplemented:
	case result.Status == http.StatusNotFound || result.Status == http.StatusMethodNotAllowed:
		f.lacks = []string{fmt.Sprintf("%s: a test event is answered with %d; correct the path of the URL, where POSTs must be taken", setting, result.Status)}
	default:
		f.lacks = []string{fmt.Sprintf("%s: a test event is answered with %d; its log says why", setting, result.Status)}
	}
	return f
}

// inspectPublic looks whether PUBLIC_URL leads here: to a bridge that runs, or else to a door that is opened for it where the bridge is
// to listen.
func inspectPublic(ctx context.Context, c Config) found {
	f := found{part: "public_url", about: "leads here"}
	word := rand.Text()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	ours := func(status int, body string) bool {
		return status == http.StatusOK && strings.Contains(body, `"protocol":`)
	}
	if err == nil && !strings.HasSuffix(c.Listen, ":0") {
		server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, word)
		})}
		go func() { _ = server.Serve(listener) }()
		defer func() { _ = server.Close() }()
		ours = func(_ int, body string) bool { return body == word }
	} else if err == nil {
		_ = listener.Close()
	}
	status, body, err := askHealth(ctx, c.PublicURL)
	const fix = "; point its proxy at this machine's PORT, or correct PUBLIC_URL"
	switch {
	case err != nil:
		f.lacks = []string{"PUBLIC_URL: it is not reached from here (" + err.Error() + ")" + fix}
	case !ours(status, body):
		f.lacks = []string{fmt.Sprintf("PUBLIC_URL: something else than this bridge answers there, with %d", status) + fix}
	}
	return f
}

// askHealth asks the bridge at a URL how it is. Its error shows neither the URL nor a secret.
func askHealth(ctx context.Context, base string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health", nil)
	if err != nil {
		return 0, "", errors.New("it is no URL")
	}
	client := outbound.NewClient(outbound.Options{Timeout: 15 * time.Second})
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", unwrapURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return 0, "", errors.New("its answer breaks off")
	}
	return resp.StatusCode, string(text), nil
}

// unwrapURL leaves of an HTTP client's error what does not show the URL.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// sayFound asks the platforms, whether PUBLIC_URL leads here and whether the app server answers, and logs what was found: a line for each
// part, and one for whatever is missing. It is for the start, beside the work.
func sayFound(ctx context.Context, c Config, platforms []bridge.Platform, log *slog.Logger) {
	parts := platformParts(platforms, true)
	if c.PublicURL != "" && !loopbackURL(c.PublicURL) {
		parts = append(parts, func(ctx context.Context) found { return inspectPublic(ctx, c) })
	}
	for _, f := range inspectAll(ctx, parts) {
		if ctx.Err() != nil {
			return
		}
		if len(f.lacks) == 0 {
			log.Info("ready", "part", f.part, "about", f.about)
		}
		for _, lack := range f.lacks {
			log.Warn("not ready", "part", f.part, "lack", lack)
		}
	}
}
