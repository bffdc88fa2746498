// Package bridge holds the words of the house: sessions, messages, events, threads, updates, the platforms' interface and
// the reasons for which a delivery fails. It knows the wire contract's shapes and nothing of a store or of a platform's API,
// of HTTP only that a platform may call us, and imports the standard library only.
//
// # What the bridge promises
//
// Accepted means durable. A request is answered with 200, and a platform's update is acknowledged, only after its event is
// in the log of the store. What the log rests on is the store's matter: the embedded store, and Redis with appendfsync
// always, keep it through a power cut; Redis with everysec may lose the last second or two when it
// is killed or its host goes.
//
// Nothing accepted is lost. Every lane works through the log from a durable cursor; an event is finished for a lane when it
// was delivered, when the lane has no use for it, or when it was given up: by a refusal that no repetition cures, or after
// 24 hours of attempts. What is given up is kept as a dead letter and said.
//
// Order. The events of one session reach one destination in the order in which they were accepted. Sessions do not wait for
// each other, destinations do not wait for each other.
//
// Repeats. An event accepted once is sent once, except where the answer to a call was lost, or the process ended between a
// call's answer and its record: such a call is made again. Discord and Slack let the bridge recognise its own repeat;
// Telegram and webhooks may show it twice, and it is counted.
//
// Isolation. No request waits for a chat platform, and a platform that is slow or gone holds up its own lane alone.
//
// Silence. Whatever an operator writes outside a visitor's thread, and whatever is a command, never reaches a visitor. No
// log line, error or answer carries a secret.
package bridge
