package bridge

import "net/http"

// Webhook is a platform that can send us updates as HTTP requests, instead of being asked for them.
type Webhook interface {
	// Webhook returns what takes the platform's requests, each with its own proof of where it comes from, and hands their
	// updates to the inbox; nil when none are expected. A request is answered with 2xx only after Accept returned nil, so that
	// the platform repeats what was not taken. Requests may come to a bridge on which Listen does not run, and before it runs:
	// of several bridges on one store, any may be asked.
	Webhook(inbox Inbox) http.Handler
}
