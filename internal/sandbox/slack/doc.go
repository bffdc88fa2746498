// Package slack is a stand-in for Slack: an http.Handler that speaks the Web API, Socket Mode, the Events API, slash commands
// and incoming webhooks, with the channels, threads and operators behind them. Tests and the demo run on it. It knows Slack's
// wire protocols and nothing of the bridge.
//
// It serves the methods of its table and no others. Where the behaviour is not in the documentation
// (https://docs.slack.dev/reference/methods and /reference/events), a comment names its source.
//
// Two things differ on purpose. A request that the definition does not allow is refused and kept as a fault, even where Slack
// shrugs it off, so that a test can fail on it. And the limits of pace are off until SetLimits.
//
// Left out, and refused as a fault rather than pretended: attachments, markdown_text, streaming, scheduled messages,
// interactive answers, views, canvases, Slack Connect, Enterprise Grid, and everything that needs a user's token.
//
// Time is the time package's, so all of it but the sockets can run in a synctest bubble.
package slack
