// Package bridgeclient connects an app server to the PocketPing bridge.
//
// [Attach] wires an instance of the PocketPing Go SDK in one line:
//
//	attached, err := bridgeclient.Attach(pp, bridgeclient.Config{URL: "http://localhost:3001", APIKey: key})
//
// [Client] is the same connection for a program without the SDK: typed events in and out.
//
// What is sent waits in an outbox, in order for each session, until the bridge has accepted it. It is sent again with the same
// body and the same Idempotency-Key, so the bridge takes it once. No call waits for the network. With Config.Spool the outbox
// is on disk and survives the process; without it, it is in memory.
//
// What operators do comes by the bridge's stream, which needs no route and no public address, or, with Config.Callback, by
// signed callbacks. Both repeat what was not taken, and both drop what was taken before.
//
// The package needs the standard library alone. It finds the SDK's types by the methods of the instance that it is given.
package bridgeclient
