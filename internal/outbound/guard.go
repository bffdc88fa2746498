package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// GuardSetting is the setting that a Guard is read from, as its errors name it.
const GuardSetting = "ALLOW_PRIVATE_CALLBACKS"

const (
	maxURL        = 8192 // bytes; an attachment's may be as long
	maxHost       = 253  // characters, RFC 1035
	lookupTimeout = 5 * time.Second
)

// Guard keeps URLs that others gave us away from addresses inside the network: loopback, private, shared (CGNAT) and unique
// local ones, unless the setting allows them; link-local, metadata, multicast, unspecified and reserved ones always. It looks
// twice: CheckURL when a URL is told to us, and a client's dialer at the very address that it connects to, so that a name
// that meanwhile leads elsewhere does not help. A Guard does not change and may be used by several goroutines.
type Guard struct {
	all    bool
	ranges []netip.Prefix
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Strict returns the guard that allows public addresses only.
func Strict() *Guard {
	return &Guard{lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// NewGuard reads the setting: off or nothing, on, or a list of ranges in CIDR notation (or single addresses), separated by
// commas.
func NewGuard(setting string) (*Guard, error) {
	g := Strict()
	switch strings.ToLower(strings.TrimSpace(setting)) {
	case "", "off", "false", "no", "0":
		return g, nil
	case "on", "true", "yes", "1":
		g.all = true
		return g, nil
	}
	for item := range strings.SplitSeq(setting, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		p, err := netip.ParsePrefix(item)
		if addr, aerr := netip.ParseAddr(item); aerr == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q is neither on, nor off, nor a range such as 10.0.0.0/8", GuardSetting, item)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		g.ranges = append(g.ranges, p.Masked())
	}
	return g, nil
}

// RefusedError says why a Guard refuses a URL or an address. Reason reads on after a field's name; it carries neither the URL
// nor the host nor the address.
type RefusedError struct {
	Reason string
}

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// CheckURL says with a *RefusedError why a URL may not be called, and nil if it may. A host name is looked up, and refused
// when any of its addresses is. When the look-up itself fails (but for a name that does not exist) the URL passes: the
// address is looked at again when it is called.
func (g *Guard) CheckURL(ctx context.Context, rawURL string) error {
	if len(rawURL) > maxURL {
		return refuse("must have at most %d bytes", maxURL)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return refuse("is not a valid URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return refuse("must begin with http:// or https://")
	}
	if u.User != nil {
		return refuse("must have no user name and no password")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return refuse("has a port that is not between 1 and 65535")
		}
	}
	host := u.Hostname()
	if host == "" || len(host) > maxHost {
		return refuse("has no valid host")
	}
	if strings.HasPrefix(u.Host, "[") || strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Is6() {
			return refuse("has no valid host")
		}
		return g.CheckAddr(addr)
	}
	return g.checkName(ctx, host)
}

func (g *Guard) checkName(ctx context.Context, host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.CheckAddr(addr)
	}
	// One dot at the end is the root. What a client would map to another spelling (full-width digits, other dots) is not
	// taken at all.
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, label := range labels {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
		}) {
			return refuse("has a host that is not written in plain letters, digits, hyphens and dots")
		}
	}
	// No top-level domain is a number, but resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses.
	if last := labels[len(labels)-1]; isNumber(last) {
		return refuse("has an address that is not written as four decimal numbers")
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := g.lookup(ctx, host)
	if err != nil {
		if d, ok := errors.AsType[*net.DNSError](err); ok && d.IsNotFound {
			return refuse("has a host that does not exist")
		}
		return nil
	}
	for _, addr := range addrs {
		if err := g.CheckAddr(addr); err != nil {
			return err
		}
	}
	return nil
}

func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// control is called by the dialer with the address that it is about to connect to.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return refuse("is not reached by TCP")
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return refuse("leads to an address that cannot be read")
	}
	return g.CheckAddr(ap.Addr())
}

// CheckAddr says with a *RefusedError why an address may not be called, and nil if it may.
func (g *Guard) CheckAddr(addr netip.Addr) error {
	if !addr.IsValid() {
		return refuse("leads to an address that cannot be read")
	}
	if addr.Zone() != "" {
		return refuse("leads to an address with a zone, which is never allowed")
	}
	addr = addr.Unmap()
	inner := addr
	if v4, ok := embedded(addr); ok {
		inner = v4
	}
	kind, never := classify(inner)
	if kind == "" {
		return nil
	}
	if never {
		return refuse("leads to %s, which is never allowed", kind)
	}
	if g.all || slices.ContainsFunc(g.ranges, func(p netip.Prefix) bool { return p.Contains(inner) }) {
		return nil
	}
	return refuse("leads to %s; %s=on, or a list with its range, allows it", kind, GuardSetting)
}

// embedded returns the IPv4 address that a translator would make of an IPv6 address.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return addr, false
	}
	b := addr.As16()
	at := -1
	switch {
	case netip.PrefixFrom(netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b}), 96).Contains(addr): // NAT64, RFC 6052
		at = 12
	case b[0] == 0x20 && b[1] == 0x02: // 6to4, RFC 3056
		at = 2
	case [12]byte(b[:12]) == [12]byte{} && (b[12] != 0 || b[13] != 0): // IPv4-compatible, RFC 4291; :: and ::1 are their own
		at = 12
	}
	if at < 0 {
		return addr, false
	}
	return netip.AddrFrom4([4]byte(b[at : at+4])), true
}

// classify returns what kind of address it is, or nothing for a public one, and whether no setting allows it. The ranges are
// those of the IANA special-purpose registries, the metadata addresses those of the clouds that document them.
func classify(addr netip.Addr) (kind string, never bool) {
	for _, r := range []struct {
		prefix string
		kind   string
		never  bool
	}{
		{"169.254.169.254/32", "a cloud's metadata address", true},
		{"169.254.170.2/32", "a cloud's metadata address", true},   // Amazon ECS
		{"100.100.100.200/32", "a cloud's metadata address", true}, // Alibaba
		{"192.0.0.192/32", "a cloud's metadata address", true},     // Oracle
		{"168.63.129.16/32", "a cloud's metadata address", true},   // Azure
		{"fd00:ec2::/32", "a cloud's metadata address", true},      // Amazon
		{"fd20:ce::254/128", "a cloud's metadata address", true},   // Google
		{"0.0.0.0/8", "an unspecified address", true},
		{"::/128", "an unspecified address", true},
		{"169.254.0.0/16", "a link-local address (169.254.0.0/16)", true},
		{"fe80::/10", "a link-local address (fe80::/10)", true},
		{"224.0.0.0/4", "a multicast address (224.0.0.0/4)", true},
		{"ff00::/8", "a multicast address (ff00::/8)", true},
		{"240.0.0.0/4", "a reserved address (240.0.0.0/4)", true}, // with 255.255.255.255

		{"127.0.0.0/8", "a loopback address (127.0.0.0/8)", false},
		{"::1/128", "a loopback address (::1/128)", false},
		{"10.0.0.0/8", "a private address (10.0.0.0/8)", false},
		{"172.16.0.0/12", "a private address (172.16.0.0/12)", false},
		{"192.168.0.0/16", "a private address (192.168.0.0/16)", false},
		{"100.64.0.0/10", "a shared address (100.64.0.0/10)", false},
		{"fc00::/7", "a unique local address (fc00::/7)", false},
		{"fec0::/10", "a site-local address (fec0::/10)", false},
		{"198.18.0.0/15", "an address for benchmarks (198.18.0.0/15)", false},
		{"192.0.0.0/24", "a reserved address (192.0.0.0/24)", false},
		{"192.88.99.0/24", "a reserved address (192.88.99.0/24)", false},
		{"192.0.2.0/24", "an address for examples (192.0.2.0/24)", false},
		{"198.51.100.0/24", "an address for examples (198.51.100.0/24)", false},
		{"203.0.113.0/24", "an address for examples (203.0.113.0/24)", false},
		{"2001::/32", "a Teredo address (2001::/32)", true}, // hides an IPv4 address
		{"2001::/23", "a reserved address (2001::/23)", false},
		{"2001:db8::/32", "an address for examples (2001:db8::/32)", false},
		{"3fff::/20", "an address for examples (3fff::/20)", false},
		{"64:ff9b:1::/48", "an address of a local translator (64:ff9b:1::/48)", true}, // hides an IPv4 address
	} {
		if netip.MustParsePrefix(r.prefix).Contains(addr) {
			return r.kind, r.never
		}
	}
	if addr.Is6() && addr.As16()[0]>>5 != 1 { // all of 2000::/3 is global, the rest is not assigned
		return "a reserved address", true
	}
	return "", false
}
