package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/joho/godotenv"
	"github.com/pocketping/bridge/internal/bridge"
)

// environment reads single values, and collects what is wrong with them.
type environment struct {
	getenv   func(string) string
	readFile func(string) ([]byte, error)
	file     map[string]string // of .env
	faults   faults
	read     strings.Builder // the values that were read, a line each
	secrets  []bridge.Secret // those of them that are secrets
}

// fault adds one line. The format must print no secret; values that are none are quoted with quote. What may be a secret all the same, in
// the wrong variable, is left out.
func (e *environment) fault(name, format string, args ...any) {
	line := name + ": " + e.discreet(fmt.Sprintf(format, args...))
	if !slices.Contains(e.faults, line) {
		e.faults = append(e.faults, line)
	}
}

// failed says whether a fault of the variable is known already.
func (e *environment) failed(name string) bool {
	return slices.ContainsFunc(e.faults, func(line string) bool {
		return strings.HasPrefix(line, name+": ") || strings.HasPrefix(line, name+"_FILE: ")
	})
}

// readEnvFile reads .env, if there is one. The parser's own errors quote the file and are not passed on.
func (e *environment) readEnvFile() {
	data, err := e.readFile(envFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		e.fault(envFile, "cannot be read (%v); make it readable, or take it away", cause(err))
		return
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	parse := func(data []byte) (map[string]string, bool) {
		m, err := godotenv.Parse(bytes.NewReader(data))
		_, nameless := m[""]
		return m, err == nil && !nameless
	}
	var ok bool
	if e.file, ok = parse(data); ok {
		return
	}
	// The fault is in the line behind the longest beginning that can be read.
	lines, good := bytes.SplitAfter(data, []byte("\n")), 0
	for i := range lines {
		if _, ok := parse(bytes.Join(lines[:i], nil)); ok {
			good = i
		}
	}
	e.file = nil
	e.fault(envFile, "line %d is not of the form NAME=value; put a value with #, $, quotes or spaces in 'single quotes'", good+1)
}

// text returns a variable's value; the real environment goes before the file.
func (e *environment) text(name string) string {
	if v := strings.TrimSpace(e.getenv(name)); v != "" {
		return e.note(v)
	}
	return e.note(strings.TrimSpace(e.file[name]))
}

// secret returns the value of a variable, or what is in the file that its NAME_FILE points to, without the end of line.
// Either of them in the real environment goes before both in .env.
func (e *environment) secret(name string) bridge.Secret {
	lookups := []func(string) string{e.getenv, func(name string) string { return e.file[name] }}
	for _, get := range lookups {
		value, path := strings.TrimSpace(get(name)), strings.TrimSpace(get(name+"_FILE"))
		e.note(path)
		switch {
		case value != "" && path != "":
			e.fault(name, "is set, and %s_FILE too; leave one of them out", name)
			return ""
		case value != "":
			return e.sawSecret(value)
		case path != "":
			return e.secretFile(name, path)
		}
	}
	return ""
}

func (e *environment) secretFile(name, path string) bridge.Secret {
	data, err := e.readFile(path)
	if err != nil {
		file := "the file"
		if filepath.IsAbs(path) { // else it may be the secret itself, in the wrong variable
			file = quote(path)
		}
		e.fault(name+"_FILE", "%s cannot be read (%v); name a file that this process may read", file, cause(err))
		return ""
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		e.fault(name+"_FILE", "%s is empty; write the value of %s into it", quote(path), name)
	}
	return e.sawSecret(value)
}

// list returns a comma-separated value, without empty items.
func (e *environment) list(name string) []string {
	var items []string
	for item := range strings.SplitSeq(e.text(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// choice returns one of the words, the first when nothing is set.
func (e *environment) choice(name string, words ...string) string {
	text := strings.ToLower(e.text(name))
	switch {
	case text == "":
		return words[0]
	case !slices.Contains(words, text):
		e.fault(name, "%s is none of its words; write %s", quote(text), strings.Join(words, ", "))
	}
	return text
}

// boolean returns whether something is on.
func (e *environment) boolean(name string, unset bool) bool {
	text := e.text(name)
	switch strings.ToLower(text) {
	case "":
		return unset
	case "true", "1", "yes", "on":
		return true
	case "false", "0", "no", "off":
		return false
	}
	e.fault(name, "%s is neither true nor false; write true, 1, yes or on, or else false, 0, no or off", quote(text))
	return unset
}

func (e *environment) integer(name string, unset, low, high int, what string) int {
	text := e.text(name)
	if text == "" {
		return unset
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		e.fault(name, "%s is not %s; write a whole number from %d to %d", quote(text), what, low, high)
	}
	return n
}

// pace returns a number of calls, 0 for off.
func (e *environment) pace(name string, unset int, per string) int {
	text := e.text(name)
	if strings.EqualFold(text, "off") {
		return 0
	}
	if text == "" {
		return unset
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1_000_000 {
		e.fault(name, "%s is no number of calls %s; write a whole number from 1 on, or off to be paced by refusals alone", quote(text), per)
	}
	return n
}

// rate returns events a second, 0 for no limit.
func (e *environment) rate(name string) float64 {
	text := e.text(name)
	if text == "" || strings.EqualFold(text, "off") {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= 1_000_000) {
		e.fault(name, "%s is no number of events a second; write a number such as 50, or 0 for no limit", quote(text))
	}
	return n
}

// size returns a number of bytes, of what is held in memory.
func (e *environment) size(name string, unset int64) int64 { return e.sizeUpTo(name, unset, maxBody) }

func (e *environment) sizeUpTo(name string, unset, most int64) int64 {
	text := e.text(name)
	if text == "" {
		return unset
	}
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit, known := map[string]int64{"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 1_000_000, "mib": 1 << 20}[strings.ToLower(
		strings.TrimSpace(text[len(digits):]))]
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !known || err != nil || n < 0:
		e.fault(name, "%s is no size; write bytes, or a whole number with kB, KiB, MB or MiB, such as 1MiB", quote(text))
	case n > most/unit || n*unit < minBody:
		e.fault(name, "%s is out of bounds; write a size from 1KiB to %dMiB", quote(text), most>>20)
	}
	return n * unit
}

// url returns an http or https URL without a slash at its end.
func (e *environment) url(name, unset, example string) string {
	text := e.text(name)
	if text == "" {
		return unset
	}
	e.checkURL(name, text, example, false)
	return strings.TrimRight(text, "/")
}

// checkURL finds fault with what is neither empty nor an absolute http or https URL. The text is not quoted: URLs carry
// secrets.
func (e *environment) checkURL(name, text, example string, query bool) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		e.fault(name, "is no http:// or https:// URL; write it like %s", example)
	case u.User != nil:
		e.fault(name, "has a user or a password before its host, which is not supported; write it like %s", example)
	case u.Fragment != "" || u.RawQuery != "" && !query:
		e.fault(name, "has a part behind ? or # that it cannot have; write it like %s", example)
	}
}

// address returns a host:port to listen on, or nothing. An empty host is every address of the machine.
func (e *environment) address(name string) string {
	text := e.text(name)
	if text == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > math.MaxUint16 || host != "" && !plainHost(host) {
		e.fault(name, "%s is no address to listen on; write a host and a port, such as 127.0.0.1:9090, or :9090 for every address", quote(text))
	}
	return text
}

// origins returns CORS origins as browsers write them: scheme and host in lower case, without the scheme's own port.
func (e *environment) origins(name string) []string { return e.originsOf(name, e.list(name)) }

func (e *environment) originsOf(name string, items []string) []string {
	const how = "write origins such as https://example.com,https://www.example.com, or * alone for any"
	var origins []string
	for _, item := range items {
		u, err := url.Parse(item)
		switch {
		case item == "*":
			origins = append(origins, item)
			continue
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
			u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			e.fault(name, "%s is no origin; %s", quote(item), how)
			continue
		}
		host := strings.ToLower(u.Host)
		host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
		origins = append(origins, u.Scheme+"://"+host)
	}
	if len(origins) > 1 && slices.Contains(origins, "*") {
		e.fault(name, "has * beside others; %s", how)
	}
	return origins
}

// prefixes reads ranges of addresses; an address alone is the range of itself.
func (e *environment) prefixes(name, how string) []netip.Prefix {
	var out []netip.Prefix
	for _, item := range e.list(name) {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(item); err == nil {
				a = a.WithZone("").Unmap()
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil || p.Addr().Is4In6() {
			e.fault(name, "%s is no range of addresses; write %s", quote(item), how)
			continue
		}
		out = append(out, p.Masked())
	}
	return out
}

// quote prints a value that is no secret, without what may be one all the same; a long one is cut.
func quote(text string) string {
	text = hide(text, nil)
	if r := []rune(text); len(r) > 40 {
		text = string(r[:40]) + "…"
	}
	return strconv.Quote(text)
}

// cause returns what a file's error says without the path, which the caller has named.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
