package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pocketping/bridge/internal/demo"
	"github.com/pocketping/bridge/internal/site"
)

const usage = `bridge – answers a website's visitors from chat

  bridge               serve, configured by the environment and .env
  bridge demo [-once]  try it on this machine, on a page, with stand-ins for everything around it
  bridge init          ask for what is needed, look whether it works, and write it into .env
  bridge check         look at the configuration, and say all that is wrong with it; with -online, ask the platforms, the store, PUBLIC_URL
                       and the app server too; with -send, write a message to each platform and take it away
  bridge health        ask the bridge on this machine's PORT whether it is ready; for health checks
  bridge compact       give the disk back what the embedded store no longer needs, while no bridge runs
  bridge export        write all that the store keeps into a file, for a backup or, with -final, for a move to another store
  bridge import        fill an empty store with what bridge export wrote
  bridge version       print the version
`

// run is the program. It returns the exit code: 0 for success, 1 for a fault, 2 for a wrong command line. childEnv, NAME=value,
// is what this executable needs in the environment to be the program, should it start itself.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, childEnv ...string) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("bridge "+command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	var do func() error
	switch command {
	case "serve":
		do = func() error { return serve(ctx, getenv, stdout) }
	case "demo":
		once := flags.Bool("once", false, "do one round trip, without the page, and exit 0 or 1")
		do = func() error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return demo.Run(ctx, demo.Options{Command: []string{self}, Env: childEnv, Out: stdout, Once: *once, Version: buildVersion()})
		}
	case "check":
		online := flags.Bool("online", false, "ask all that the configuration names: the platforms, the store, PUBLIC_URL, the app server")
		send := flags.Bool("send", false, "with -online: open a thread on each platform, write there, and take it away again")
		do = func() error {
			if *online || *send {
				return checkOnline(ctx, getenv, *send, stdout)
			}
			return check(getenv, stdout)
		}
	case "health":
		do = func() error { return health(ctx, getenv) }
	case "compact":
		do = func() error { return compact(getenv, stdout) }
	case "init":
		do = initCommand(ctx, flags, getenv, stdout)
	case "export":
		do = exportCommand(ctx, flags, getenv, stdout, stderr)
	case "import":
		do = importCommand(ctx, flags, getenv, stderr)
	case "version", "-version", "--version":
		do = func() error {
			_, err := fmt.Fprintln(stdout, buildVersion())
			return err
		}
	case "help", "-h", "-help", "--help":
		_, _ = io.WriteString(stdout, usage)
		return 0
	default:
		_, _ = fmt.Fprintf(stderr, "there is no command %q\n\n%s", command, usage)
		return 2
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "bridge %s takes no %q\n\n%s", command, flags.Arg(0), usage)
		return 2
	}
	if err := do(); err != nil {
		_, _ = fmt.Fprintln(stderr, "bridge:", err)
		return 1
	}
	return 0
}

// check says what the configuration comes to.
func check(getenv func(string) string, stdout io.Writer) error {
	c, err := loadConfig(getenv, os.ReadFile)
	if err != nil {
		return err
	}
	for _, warning := range c.Warnings {
		if _, err := fmt.Fprintln(stdout, "note:", warning); err != nil {
			return err
		}
	}
	if c.SecretsKey == "" {
		const plain = "note: SECRETS_KEY is not set: callbacks' secrets and the keys that links are signed with are in the store as they are"
		if _, err := fmt.Fprintln(stdout, plain); err != nil {
			return err
		}
	}
	wrong := faults(c.Misspelt)
	if err := writable(c.DataDir); err != nil {
		wrong = append(wrong, "DATA_DIR: "+err.Error())
	}
	if len(wrong) > 0 {
		return wrong
	}
	_, err = fmt.Fprintln(stdout, "the configuration is usable")
	return err
}

// writable says what is wrong with a folder in which files are to be made. One that is not there yet is made at the start.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			return fmt.Errorf("%s cannot be used (%w); name a folder that this user may write to", quote(dir), cause(err))
		case !info.IsDir():
			return fmt.Errorf("%s is a file; name a folder", quote(dir))
		}
		f, err := os.CreateTemp(dir, ".bridge-check-*")
		if err != nil {
			return fmt.Errorf("nothing can be written in %s (%w); name a folder that this user may write to", quote(dir), cause(err))
		}
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}
}

// localAddress is where the bridge of a configuration is reached from its own machine.
func localAddress(c Config) (string, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), err
}

// health asks the bridge of the same configuration whether it is ready.
func health(ctx context.Context, getenv func(string) string) error {
	c, err := loadConfig(getenv, os.ReadFile)
	if err != nil {
		return err
	}
	address, err := localAddress(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz?verbose", nil)
	if err != nil {
		return err
	}
	if c.FirstKey != "" { // who has one is told more
		req.Header.Set("Authorization", "Bearer "+c.FirstKey.Reveal())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the bridge does not answer on %s", address)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		return fmt.Errorf("the bridge is not ready: %s", said)
	}
	return nil
}

// newLogger returns the logger that the configuration asks for.
func newLogger(c Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "session" && a.Value.Kind() == slog.KindString {
			a.Value = slog.StringValue(site.LogID(a.Value.String()))
		}
		return a
	}}
	if c.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
