package slack

// This file is the part of Slack's definition that the sandbox serves: the methods and events of
// https://docs.slack.dev/reference as of 20 August 2026, made readable by machines by github.com/slack-ruby/slack-api-ref
// (specCommit). A test compares it with that definition where it is at hand.

// specCommit is the commit of slack-api-ref that the tables below are of.
const specCommit = "f4837c0cb6dba1b1122ce66a5b69195ce47213f8"

// need says whether an argument must be there.
type need int

const (
	optional need = iota
	required
	// unserved is optional on Slack, and a fault here: the sandbox would have to pretend.
	unserved
	// former is an argument that the definition no longer has, and that github.com/slack-go/slack still sends.
	former
)

// argument is an argument of a method. Type is the definition's own wording; alternatives are joined by " or ".
type argument struct {
	Name string
	Type string
	Need need
}

// method is a method with all its arguments, and the errors that the sandbox answers it with.
type method struct {
	Name string
	// Tier is the method's class of pace; 0: none, or one of its own
	// (https://docs.slack.dev/apis/web-api/rate-limits, and the page of each method).
	Tier int
	App  bool // takes the app token alone
	Any  bool // takes both tokens
	// Scopes: one of them is needed. Of several, which one depends on the kind of channel.
	Scopes []string
	Args   []argument
	Errors []string
	// Seen are errors that the definition does not have for the method.
	Seen []string
}

// commonErrors returns what every method may be answered with.
func commonErrors() []string {
	return []string{
		"account_inactive", "fatal_error", "internal_error", "invalid_auth", "invalid_form_data", "invalid_post_type",
		"missing_scope", "not_allowed_token_type", "not_authed", "ratelimited", "token_expired", "token_revoked", "unknown_method",
	}
}

// eventTable returns the subscriptions that the sandbox has.
func eventTable() []string {
	return []string{
		"app_mention", "channel_left", "file_deleted", "file_shared", "group_left", "member_joined_channel", "message.channels",
		"message.groups", "message.im", "reaction_added", "reaction_removed", "tokens_revoked",
	}
}

// methodTable returns the methods that the sandbox serves, with all the arguments that Slack has for them.
func methodTable() []method {
	return []method{
		{
			Name: "apps.connections.open", Tier: 1, App: true,
		},
		{
			Name: "auth.test", Any: true,
		},
		{
			Name: "chat.delete", Tier: 3,
			Scopes: []string{"chat:write"},
			Args: []argument{
				{"as_user", "boolean", unserved},
				{"channel", "channel", required},
				{"ts", "timestamp", required},
			},
			Errors: []string{"cant_delete_message", "channel_not_found", "message_not_found"},
		},
		{
			Name:   "chat.postMessage",
			Scopes: []string{"chat:write"},
			Args: []argument{
				{"as_user", "boolean", unserved},
				{"attachments", "string or boolean", unserved},
				{"blocks", "string", optional},
				{"channel", "channel", required},
				{"current_draft_last_updated_ts", "string", unserved},
				{"icon_emoji", "string", optional},
				{"icon_url", "string", optional},
				{"link_names", "boolean", optional},
				{"markdown_text", "string", unserved},
				{"metadata", "string", optional},
				{"mrkdwn", "boolean", optional},
				{"parse", "string", optional},
				{"reply_broadcast", "boolean", optional},
				{"text", "string", optional},
				{"thread_ts", "string", optional},
				{"unfurl_links", "boolean", optional},
				{"unfurl_media", "boolean", optional},
				{"username", "string", optional},
			},
			Errors: []string{
				"channel_not_found", "invalid_blocks", "invalid_blocks_format", "invalid_metadata_format",
				"invalid_metadata_schema", "is_archived", "metadata_too_large", "msg_blocks_too_long",
				"no_text", "not_in_channel",
			},
		},
		{
			Name: "chat.update", Tier: 3,
			Scopes: []string{"chat:write"},
			Args: []argument{
				{"as_user", "boolean or string", unserved},
				{"attachments", "string", unserved},
				{"unfurled_attachments", "string", unserved},
				{"blocks", "string", optional},
				{"markdown_text", "string", unserved},
				{"metadata", "string", optional},
				{"channel", "channel", required},
				{"link_names", "boolean or string", optional},
				{"parse", "string", optional},
				{"text", "string", optional},
				{"ts", "timestamp", required},
				{"reply_broadcast", "boolean", unserved},
				{"file_ids", "array", unserved},
			},
			Errors: []string{
				"cant_update_message", "channel_not_found", "invalid_blocks", "invalid_blocks_format",
				"invalid_metadata_format", "invalid_metadata_schema", "is_inactive", "message_not_found",
				"metadata_too_large", "msg_too_long", "no_text",
			},
			Seen: []string{"msg_blocks_too_long"},
		},
		{
			Name: "conversations.history", Tier: 3,
			Scopes: []string{"channels:history", "groups:history", "im:history"},
			Args: []argument{
				{"channel", "channel", required},
				{"cursor", "string", optional},
				{"include_all_metadata", "boolean", optional},
				{"inclusive", "boolean", optional},
				{"latest", "timestamp", optional},
				{"limit", "number", optional},
				{"oldest", "timestamp", optional},
			},
			Errors: []string{
				"channel_not_found", "invalid_cursor", "invalid_ts_latest", "invalid_ts_oldest",
				"not_in_channel",
			},
		},
		{
			Name: "conversations.info", Tier: 3,
			Scopes: []string{"channels:read", "groups:read", "im:read"},
			Args: []argument{
				{"channel", "channel", required},
				{"include_locale", "boolean", optional},
				{"include_num_members", "boolean", optional},
			},
			Errors: []string{"channel_not_found"},
		},
		{
			Name: "conversations.join", Tier: 3,
			Scopes: []string{"channels:join"},
			Args: []argument{
				{"channel", "channel", required},
			},
			Errors: []string{"channel_not_found", "is_archived", "method_not_supported_for_channel_type"},
		},
		{
			Name: "conversations.replies", Tier: 3,
			Scopes: []string{"channels:history", "groups:history", "im:history"},
			Args: []argument{
				{"channel", "channel", required},
				{"cursor", "string", optional},
				{"include_all_metadata", "boolean", optional},
				{"inclusive", "boolean", optional},
				{"latest", "timestamp", optional},
				{"limit", "number", optional},
				{"oldest", "timestamp", optional},
				{"ts", "timestamp", required},
			},
			Errors: []string{
				"channel_not_found", "invalid_cursor", "invalid_ts_latest", "invalid_ts_oldest",
				"thread_not_found",
			},
			Seen: []string{"not_in_channel"},
		},
		{
			Name: "files.completeUploadExternal", Tier: 4,
			Scopes: []string{"files:write"},
			Args: []argument{
				{"files", "array", required},
				{"channel_id", "", optional},
				{"thread_ts", "string", optional},
				{"channels", "string", unserved},
				{"initial_comment", "string", optional},
				{"blocks", "string", optional},
				{"username", "string", optional},
				{"icon_url", "string", optional},
				{"icon_emoji", "string", optional},
			},
			Errors: []string{"channel_not_found", "file_not_found", "invalid_blocks", "not_in_channel"},
			Seen:   []string{"is_archived", "invalid_blocks_format", "msg_blocks_too_long"},
		},
		{
			Name: "files.delete", Tier: 3,
			Scopes: []string{"files:write"},
			Args: []argument{
				{"file", "file", required},
			},
			Errors: []string{"cant_delete_file", "file_deleted", "file_not_found"},
		},
		{
			Name: "files.getUploadURLExternal", Tier: 4,
			Scopes: []string{"files:write"},
			Args: []argument{
				{"length", "integer", required},
				{"filename", "string", required},
				{"snippet_type", "string", unserved},
				{"alt_txt", "string", optional},
			},
		},
		{
			Name: "files.info", Tier: 4,
			Scopes: []string{"files:read"},
			Args: []argument{
				{"cursor", "string", optional},
				{"file", "file", required},
				{"limit", "integer", optional},
				{"count", "integer", former},
				{"page", "integer", former},
			},
			Errors: []string{"file_deleted", "file_not_found"},
		},
		{
			Name: "reactions.add", Tier: 3,
			Scopes: []string{"reactions:write"},
			Args: []argument{
				{"channel", "channel", required},
				{"name", "string", required},
				{"timestamp", "string", required},
			},
			Errors: []string{
				"already_reacted", "bad_timestamp", "channel_not_found", "invalid_name", "is_archived",
				"message_not_found", "too_many_emoji",
			},
			Seen: []string{"not_in_channel"},
		},
		{
			Name: "reactions.remove", Tier: 2,
			Scopes: []string{"reactions:write"},
			Args: []argument{
				{"name", "string", required},
				{"file", "file", unserved},
				{"file_comment", "string", unserved},
				{"channel", "channel", optional},
				{"timestamp", "string", optional},
			},
			Errors: []string{
				"bad_timestamp", "channel_not_found", "invalid_name", "message_not_found", "no_item_specified",
				"no_reaction",
			},
			Seen: []string{"is_archived", "not_in_channel"},
		},
		{
			Name: "users.info", Tier: 4,
			Scopes: []string{"users:read"},
			Args: []argument{
				{"include_locale", "boolean", optional},
				{"user", "user", required},
			},
			Errors: []string{"user_not_found"},
		},
	}
}
