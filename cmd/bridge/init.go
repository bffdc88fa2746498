package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// initFlags are what bridge init is told.
type initFlags struct {
	to    string
	force bool
	given map[string]string // by -set
}

func initCommand(ctx context.Context, flags *flag.FlagSet, getenv func(string) string, stdout io.Writer) func() error {
	f := initFlags{given: map[string]string{}}
	flags.StringVar(&f.to, "to", envFile, "the `file` to write")
	flags.BoolVar(&f.force, "force", false, "write over a file that is there, without asking")
	flags.Func("set", "`NAME=value` of a setting, which is then not asked for; may be given several times", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if keys, _ := servedKeys(); !ok || !slices.Contains(keys, name) {
			return errors.New("write NAME=value, with the name of a setting")
		}
		f.given[name] = value
		return nil
	})
	return func() error {
		t := openTerminal(os.Stdin, stdout)
		return runInit(ctx, f, getenv, t, stdout)
	}
}

// runInit asks for what is needed, looks at it as bridge check -online does, and writes it. Without a terminal everything must be given.
func runInit(ctx context.Context, f initFlags, getenv func(string) string, t *terminal, out io.Writer) error {
	if err := mayWrite(ctx, f, t); err != nil {
		return err
	}
	s := &setup{ctx: ctx, terminal: t, out: out, values: map[string]string{}}
	keys, _ := servedKeys()
	for _, name := range keys {
		if value := strings.TrimSpace(getenv(name)); value != "" {
			s.values[name] = value
		}
	}
	maps.Copy(s.values, f.given)
	s.platforms()
	s.site()
	if s.values["API_KEY"] == "" && len(s.wrong) == 0 {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // ends the program rather than return an error
		s.values["API_KEY"] = hex.EncodeToString(key)
		s.say("\nAPI_KEY is made: what asks the bridge's API shows it.")
	}
	if s.err != nil {
		return s.err
	}
	if len(s.wrong) == 0 {
		if _, err := s.config(); err != nil {
			s.wrong = append(s.wrong, linesOf(err)...)
		}
	}
	if len(s.wrong) > 0 {
		return fmt.Errorf("nothing is written:\n  %s", strings.Join(s.wrong, "\n  "))
	}
	text, err := envText(s.values)
	if err == nil {
		err = writeWhole(f.to, text)
	}
	if err != nil {
		return err
	}
	s.say("\n%s is written; nobody but you may read it. It begins with\n\n  bridge\n\nand an app server is connected by its address and API_KEY: see docs/connect-your-site.md", f.to)
	return nil
}

// mayWrite asks whether a file that is there may be written over.
func mayWrite(ctx context.Context, f initFlags, t *terminal) error {
	if _, err := os.Stat(f.to); errors.Is(err, fs.ErrNotExist) || f.force {
		return nil
	} else if err != nil {
		return fmt.Errorf("-to %s: %w", f.to, cause(err))
	}
	if t != nil {
		answer, err := t.ask(ctx, f.to+" is there already. Write over it? [y/N]", false)
		if err != nil {
			return err
		}
		if strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
			return nil
		}
	}
	return fmt.Errorf("%s is there already; name another by -to, or write over it by -force", f.to)
}

// plainValue needs no quotes in .env.
var plainValue = regexp.MustCompile(`^[A-Za-z0-9_./:@,+=-]*$`)

// envText is the settings as a file, those of one part together.
func envText(values map[string]string) (string, error) {
	var b strings.Builder
	b.WriteString("# Made by bridge init. docs/configuration.md has all settings; bridge check -online looks whether these work.\n")
	part := ""
	keys, _ := servedKeys()
	slices.SortStableFunc(keys, func(a, b string) int { return strings.Compare(partOf(a), partOf(b)) })
	for _, name := range keys {
		value := values[name]
		if value == "" {
			continue
		}
		if p := partOf(name); p != part {
			part = p
			b.WriteByte('\n')
		}
		if !plainValue.MatchString(value) {
			if strings.ContainsAny(value, "'\r\n") {
				return "", fmt.Errorf("%s: has a quote or an end of line, and cannot be in a file of settings", name)
			}
			value = "'" + value + "'"
		}
		b.WriteString(name + "=" + value + "\n")
	}
	return b.String(), nil
}

// partOf is what a setting belongs to.
func partOf(name string) string {
	part, _, _ := strings.Cut(name, "_")
	switch part {
	case "TELEGRAM", "DISCORD", "SLACK", "WIDGET":
		return part
	}
	return ""
}

// writeWhole writes a file that only its owner may read, wholly or not at all.
func writeWhole(name, text string) error {
	temp, err := os.CreateTemp(filepath.Dir(name), ".bridge-init-*") // for its owner alone
	if err != nil {
		return fmt.Errorf("%s: %w", name, cause(err))
	}
	_, err = temp.WriteString(text)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, cause(err)), os.Remove(temp.Name()))
	}
	return nil
}

func linesOf(err error) []string {
	if f, ok := errors.AsType[faults](err); ok {
		return f
	}
	return []string{err.Error()}
}
