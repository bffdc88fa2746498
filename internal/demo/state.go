package demo

import (
	"time"
)

// switches are what the page has turned on.
type switches struct {
	Limits       bool `json:"limits"`
	CallbackDown bool `json:"callbackDown"`
	// Language is what operators read; empty: English.
	Language string `json:"language,omitempty"`
}

// steps are the first things to try, and which of them have been tried.
type steps struct {
	Wrote          bool `json:"wrote"`
	Answered       bool `json:"answered"`
	WroteWhileDead bool `json:"-"`
	Survived       bool `json:"survived"`
}

// update changes the state under its lock.
func (d *demo) update(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.changedLocked()
}

// changedLocked wakes whoever shows the state. The caller holds the lock.
func (d *demo) changedLocked() {
	close(d.change)
	d.change = make(chan struct{})
}

// changes returns a channel that is closed at the next change.
func (d *demo) changes() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.change
}

// state is all that the page shows, in parts that are sent when they change.
func (d *demo) state() map[string]any {
	parts := map[string]any{}
	d.ownState(parts)
	// After the shop: what it knows to be in an app is shown there.
	faults := []string{}
	for _, a := range d.apps {
		parts[a.name()] = a.look()
		faults = append(faults, a.faults()...)
	}
	parts["faults"] = faults
	return parts
}

// ownState adds the parts that are the demo's own.
func (d *demo) ownState(parts map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	shop := struct {
		Visitors  []visitor `json:"visitors"`
		Online    bool      `json:"online"`
		Operators []person  `json:"operators"`
		Next      string    `json:"next"` // the name of the next visitor, if one gives none
	}{Visitors: []visitor{}, Online: d.online, Operators: []person{}, Next: people()[d.entered%len(people())].Name}
	for _, v := range d.visitors {
		shown := *v
		shown.Messages = append([]chatMessage{}, tail(v.Messages, maxMessages)...)
		if v.Direct != nil {
			copied := *v.Direct
			shown.Direct = &copied
		}
		if time.Since(v.typed) > typingShown+time.Second {
			shown.Typing = ""
		}
		shop.Visitors = append(shop.Visitors, shown)
	}
	for _, o := range d.operators {
		shop.Operators = append(shop.Operators, person{o.Name, o.Platform, string(o.Status)})
	}
	process := d.process
	process.Unsent = len(d.outbox)
	parts["shop"], parts["bridge"], parts["switches"], parts["steps"] = shop, process, d.switches, d.steps
	parts["received"] = append([]received{}, d.received...)
	parts["page"] = map[string]string{"bridge": address(d.bridge), "door": d.bridge + widgetPath, "version": d.version}
}

// person is an operator as visitors hear of them.
type person struct {
	Name     string `json:"name"`
	Platform string `json:"platform"`
	Status   string `json:"status"`
}
