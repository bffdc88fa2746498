// Package telegram is a stand-in for Telegram's Bot API: an http.Handler that speaks the API's wire protocol, with the chats,
// topics and operators behind it. Tests and the demo run on it. It knows the Bot API and nothing of the bridge.
//
// It serves the methods of its table and no others, as the Bot API server and the Telegram servers behind it answer them:
// their checks, their order, their wording. Where the behaviour is not in the documentation, a comment names its source.
// "Bot API server" is github.com/tdlib/telegram-bot-api, "TDLib" is github.com/tdlib/td, on which it rests.
//
// Two things differ on purpose. A request that the Bot API's definition does not allow is refused and kept as a fault, even
// where the real server shrugs it off, so that a test can fail on it. And the limits of pace are off until SetLimits.
//
// Left out, and refused as a fault rather than pretended: media methods but sendPhoto, sendDocument and sendMediaGroup, files by
// URL and by file_id, thumbnails, MarkdownV2 and Markdown, keyboards, formatted quotes in replies, inline and business messages, custom
// emoji as icons, channels.
//
// Files are kept as they were sent, where Telegram converts photos, and long ones of the bot are counted and summed only.
//
// Time is the time package's, so all of it can run in a synctest bubble.
package telegram
