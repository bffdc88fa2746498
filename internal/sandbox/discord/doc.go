// Package discord is a stand-in for Discord: an http.Handler that speaks its HTTP API, its gateway and its files' addresses,
// with the guilds, channels, threads and operators behind them. Tests and the demo run on it. It knows Discord and nothing of
// the bridge.
//
// The HTTP API is served under any path before /v9/ or /v10/, the gateway at the address that GET /gateway tells, files under
// /attachments/. It serves the operations of its table and no others, as Discord answers them: its checks, its codes, its
// wording. Where the behaviour is not in the documentation, a comment names its source. "The docs" are
// https://docs.discord.com/developers, kept in github.com/discord/discord-api-docs.
//
// Two things differ on purpose. A request that Discord's definition does not allow is refused and kept as a fault, even where
// Discord shrugs it off, so that a test can fail on it. And the limits of pace are off until SetLimits.
//
// Left out, and refused as a fault rather than pretended: components but buttons, polls, stickers, direct messages, voice, several shards,
// transport compression. Threads do not archive by themselves with time, they do so by a control. Text in code blocks can ping
// here.
//
// Time is the time package's.
package discord
