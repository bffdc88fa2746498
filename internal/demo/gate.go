package demo

import (
	"net"
	"sync"
)

// gate is a listener that can be shut: then whoever is connected is cut off, and whoever comes is turned away. To the other side
// the server is unreachable, whatever it speaks.
type gate struct {
	net.Listener

	mu   sync.Mutex // guards what follows
	shut bool
	open map[net.Conn]struct{}
}

func newGate(l net.Listener) *gate { return &gate{Listener: l, open: make(map[net.Conn]struct{})} }

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p := g.let(c); p != nil {
			return p, nil
		}
		_ = c.Close()
	}
}

func (g *gate) let(c net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil
	}
	g.open[c] = struct{}{}
	return &passed{c, g}
}

// set shuts the gate or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if !shut {
		return
	}
	for c := range g.open {
		_ = c.Close()
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// passed is a connection that was let in.
type passed struct {
	net.Conn
	gate *gate
}

// Close implements net.Conn.
func (p *passed) Close() error {
	p.gate.mu.Lock()
	delete(p.gate.open, p.Conn)
	p.gate.mu.Unlock()
	return p.Conn.Close()
}
