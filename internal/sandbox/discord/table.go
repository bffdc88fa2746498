package discord

import "net/http"

// This file is the part of Discord's HTTP API that the sandbox serves, as Discord's own definition for machines has it:
// github.com/discord/discord-api-spec, specs/openapi.json of version 10, commit 74fda0fad044407ea280043a03ffc9bc64c4e49e of
// 18 July 2026. A test compares it with that definition where it is at hand. Versions 9 and 10 do not differ in what is here.
//
// A type is written as: string, integer, number, boolean, object, null, snowflake, date-time, the name of an object or of a list
// of values below, [T] for an array of T; (a..b) after it are the bounds of its length, value or number; alternatives are
// joined by " | ".

// specVersion is the version of the definition that the tables below are of.
const specVersion = "10"

// need says whether a field must be there.
type need int

const (
	optional need = iota
	required
	// unserved is optional for Discord, and a fault here: the sandbox would have to pretend.
	unserved
)

// field is a parameter of an operation or a field of an object.
type field struct {
	Name string
	Type string
	Need need
}

// definition is a type of object with its fields.
type definition struct {
	Name   string
	Fields []field
}

// operation is an operation of the API. Its name is the definition's operationId; calls and actions go by it.
type operation struct {
	Name   string
	Method string
	Path   string
	// Codes are the statuses of success; none: 200.
	Codes []int
	// Public operations need no token: who has the token in the path may call them.
	Public bool
	// Multipart operations take files beside the body.
	Multipart bool
	Body      string
	Query     []field
}

// operationTable returns the operations that the sandbox serves, with all the parameters that the API has for them.
func operationTable() []operation {
	return []operation{
		{
			Name: "get_gateway", Method: http.MethodGet,
			Path:   "/gateway",
			Public: true,
		},
		{
			Name: "get_bot_gateway", Method: http.MethodGet,
			Path: "/gateway/bot",
		},
		{
			Name: "get_my_user", Method: http.MethodGet,
			Path: "/users/@me",
		},
		{
			Name: "get_my_application", Method: http.MethodGet,
			Path: "/applications/@me",
		},
		{
			Name: "list_guild_application_commands", Method: http.MethodGet,
			Path: "/applications/{application_id}/guilds/{guild_id}/commands",
			Query: []field{
				{"with_localizations", "boolean", optional},
			},
		},
		{
			Name: "bulk_set_guild_application_commands", Method: http.MethodPut,
			Path: "/applications/{application_id}/guilds/{guild_id}/commands",
			Body: "[ApplicationCommandUpdateRequest](..130) | null",
		},
		{
			Name: "get_guild", Method: http.MethodGet,
			Path: "/guilds/{guild_id}",
			Query: []field{
				{"with_counts", "boolean", optional},
			},
		},
		{
			Name: "get_guild_member", Method: http.MethodGet,
			Path: "/guilds/{guild_id}/members/{user_id}",
		},
		{
			Name: "get_active_guild_threads", Method: http.MethodGet,
			Path: "/guilds/{guild_id}/threads/active",
		},
		{
			Name: "get_channel", Method: http.MethodGet,
			Path: "/channels/{channel_id}",
		},
		{
			Name: "update_channel", Method: http.MethodPatch,
			Path: "/channels/{channel_id}",
			Body: "UpdateDMRequestPartial | UpdateGroupDMRequestPartial | UpdateGuildChannelRequestPartial | UpdateThreadRequestPartial",
		},
		{
			Name: "delete_channel", Method: http.MethodDelete,
			Path: "/channels/{channel_id}",
		},
		{
			Name: "list_messages", Method: http.MethodGet,
			Path: "/channels/{channel_id}/messages",
			Query: []field{
				{"around", "snowflake", optional},
				{"before", "snowflake", optional},
				{"after", "snowflake", optional},
				{"limit", "integer(1..100)", optional},
			},
		},
		{
			Name: "create_message", Method: http.MethodPost,
			Path:      "/channels/{channel_id}/messages",
			Multipart: true, Body: "MessageCreateRequest",
		},
		{
			Name: "get_message", Method: http.MethodGet,
			Path: "/channels/{channel_id}/messages/{message_id}",
		},
		{
			Name: "update_message", Method: http.MethodPatch,
			Path:      "/channels/{channel_id}/messages/{message_id}",
			Multipart: true, Body: "MessageEditRequestPartial",
		},
		{
			Name: "delete_message", Method: http.MethodDelete,
			Path:  "/channels/{channel_id}/messages/{message_id}",
			Codes: []int{204},
		},
		{
			Name: "add_my_message_reaction", Method: http.MethodPut,
			Path:  "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me",
			Codes: []int{204},
		},
		{
			Name: "delete_my_message_reaction", Method: http.MethodDelete,
			Path:  "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me",
			Codes: []int{204},
		},
		{
			Name: "create_thread_from_message", Method: http.MethodPost,
			Path:  "/channels/{channel_id}/messages/{message_id}/threads",
			Codes: []int{201}, Body: "CreateTextThreadWithMessageRequest",
		},
		{
			Name: "create_thread", Method: http.MethodPost,
			Path:  "/channels/{channel_id}/threads",
			Codes: []int{201}, Multipart: true, Body: "CreateForumThreadRequest | CreateTextThreadWithoutMessageRequest",
		},
		{
			Name: "list_public_archived_threads", Method: http.MethodGet,
			Path: "/channels/{channel_id}/threads/archived/public",
			Query: []field{
				{"before", "date-time", optional},
				{"limit", "integer(2..100)", optional},
			},
		},
		{
			Name: "trigger_typing_indicator", Method: http.MethodPost,
			Path:  "/channels/{channel_id}/typing",
			Codes: []int{200, 204},
		},
		{
			Name: "list_channel_webhooks", Method: http.MethodGet,
			Path: "/channels/{channel_id}/webhooks",
		},
		{
			Name: "create_webhook", Method: http.MethodPost,
			Path: "/channels/{channel_id}/webhooks",
			Body: "CreateWebhookRequest",
		},
		{
			Name: "execute_webhook", Method: http.MethodPost,
			Path:  "/webhooks/{webhook_id}/{webhook_token}",
			Codes: []int{200, 204}, Public: true, Multipart: true, Body: "IncomingWebhookRequestPartial | IncomingWebhookUpdateRequestPartial",
			Query: []field{
				{"wait", "boolean", optional},
				{"thread_id", "snowflake", optional},
				{"with_components", "boolean", optional},
			},
		},
		{
			Name: "update_original_webhook_message", Method: http.MethodPatch,
			Path:   "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
			Public: true, Multipart: true, Body: "IncomingWebhookUpdateRequestPartial",
			Query: []field{
				{"thread_id", "snowflake", optional},
				{"with_components", "boolean", optional},
			},
		},
		{
			Name: "update_webhook_message", Method: http.MethodPatch,
			Path:   "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}",
			Public: true, Multipart: true, Body: "IncomingWebhookUpdateRequestPartial",
			Query: []field{
				{"thread_id", "snowflake", optional},
				{"with_components", "boolean", optional},
			},
		},
		{
			Name: "delete_webhook_message", Method: http.MethodDelete,
			Path:  "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}",
			Codes: []int{204}, Public: true,
			Query: []field{
				{"thread_id", "snowflake", optional},
			},
		},
		{
			Name: "create_interaction_response", Method: http.MethodPost,
			Path:  "/interactions/{interaction_id}/{interaction_token}/callback",
			Codes: []int{200, 204}, Public: true, Multipart: true, Body: "InteractionCallback",
			Query: []field{
				{"with_response", "boolean", optional},
			},
		},
	}
}

// typeTable returns the objects that may stand in bodies. An object type named by a field and missing here is not served.
func typeTable() []definition {
	return []definition{
		{"ApplicationCommandUpdateRequest", []field{
			{"name", "string(1..32)", required},
			{"name_localizations", "object | null", unserved},
			{"description", "string(..100) | null", optional},
			{"description_localizations", "object | null", unserved},
			{"options", "[CommandOption](..25) | null", optional},
			{"default_member_permissions", "integer(0..18014398509481983) | null", optional},
			{"dm_permission", "boolean | null", optional},
			{"contexts", "[InteractionContextType](1..) | null", optional},
			{"integration_types", "[ApplicationIntegrationType](1..) | null", optional},
			{"handler", "ApplicationCommandHandler | null", unserved},
			{"type", "ApplicationCommandType | null", optional},
			{"id", "snowflake | null", unserved},
		}},
		{"ApplicationCommandBooleanOption", []field{
			{"type", "integer", required},
			{"name", "string(1..32)", required},
			{"name_localizations", "object | null", optional},
			{"description", "string(1..100)", required},
			{"description_localizations", "object | null", optional},
			{"required", "boolean | null", optional},
		}},
		{"ApplicationCommandIntegerOption", []field{
			{"type", "integer", required},
			{"name", "string(1..32)", required},
			{"name_localizations", "object | null", optional},
			{"description", "string(1..100)", required},
			{"description_localizations", "object | null", optional},
			{"required", "boolean | null", optional},
			{"autocomplete", "boolean | null", optional},
			{"choices", "[ApplicationCommandOptionIntegerChoice](..25) | null", optional},
			{"min_value", "Int53Type | null", optional},
			{"max_value", "Int53Type | null", optional},
		}},
		{"ApplicationCommandOptionIntegerChoice", []field{
			{"name", "string(1..100)", required},
			{"name_localizations", "object | null", optional},
			{"value", "Int53Type", required},
		}},
		{"ApplicationCommandStringOption", []field{
			{"type", "integer", required},
			{"name", "string(1..32)", required},
			{"name_localizations", "object | null", optional},
			{"description", "string(1..100)", required},
			{"description_localizations", "object | null", optional},
			{"required", "boolean | null", optional},
			{"autocomplete", "boolean | null", optional},
			{"min_length", "integer(0..6000) | null", optional},
			{"max_length", "integer(1..6000) | null", optional},
			{"choices", "[ApplicationCommandOptionStringChoice](..25) | null", optional},
		}},
		{"ApplicationCommandOptionStringChoice", []field{
			{"name", "string(1..100)", required},
			{"name_localizations", "object | null", optional},
			{"value", "string(..6000)", required},
		}},
		{"ApplicationCommandUserOption", []field{
			{"type", "integer", required},
			{"name", "string(1..32)", required},
			{"name_localizations", "object | null", optional},
			{"description", "string(1..100)", required},
			{"description_localizations", "object | null", optional},
			{"required", "boolean | null", optional},
		}},
		{"UpdateGuildChannelRequestPartial", []field{
			{"type", "integer | null", optional},
			{"name", "string(1..100)", optional},
			{"position", "integer(0..) | null", optional},
			{"topic", "string(0..4096) | null", optional},
			{"bitrate", "integer(8000..) | null", unserved},
			{"user_limit", "integer(0..) | null", unserved},
			{"nsfw", "boolean | null", optional},
			{"rate_limit_per_user", "integer(0..21600) | null", optional},
			{"parent_id", "snowflake | null", optional},
			{"permission_overwrites", "[ChannelPermissionOverwriteRequest](..100) | null", unserved},
			{"rtc_region", "string | null", unserved},
			{"video_quality_mode", "VideoQualityModes | null", unserved},
			{"default_auto_archive_duration", "ThreadAutoArchiveDuration | null", optional},
			{"default_reaction_emoji", "UpdateDefaultReactionEmojiRequest | null", unserved},
			{"default_thread_rate_limit_per_user", "integer(0..21600) | null", unserved},
			{"default_sort_order", "ThreadSortOrder | null", unserved},
			{"default_forum_layout", "ForumLayout | null", unserved},
			{"default_tag_setting", "ThreadSearchTagSetting | null", unserved},
			{"flags", "integer | null", optional},
			{"available_tags", "[UpdateThreadTagRequest](..20) | null", unserved},
		}},
		{"UpdateThreadRequestPartial", []field{
			{"name", "string(0..100) | null", optional},
			{"archived", "boolean | null", optional},
			{"locked", "boolean | null", optional},
			{"invitable", "boolean | null", unserved},
			{"auto_archive_duration", "ThreadAutoArchiveDuration | null", optional},
			{"rate_limit_per_user", "integer(0..21600) | null", optional},
			{"flags", "integer | null", optional},
			{"applied_tags", "[snowflake](..5) | null", optional},
			{"bitrate", "integer(8000..) | null", unserved},
			{"user_limit", "integer(0..99) | null", unserved},
			{"rtc_region", "string | null", unserved},
			{"video_quality_mode", "VideoQualityModes | null", unserved},
		}},
		{"MessageCreateRequest", []field{
			{"content", "string(..4000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"sticker_ids", "[snowflake](..3) | null", unserved},
			{"components", "[MessageComponent](..40) | null", optional},
			{"flags", "integer | null", optional},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
			{"poll", "PollCreateRequest | null", unserved},
			{"shared_client_theme", "CustomClientThemeShareRequest | null", unserved},
			{"message_reference", "MessageReferenceRequest | null", optional},
			{"nonce", "integer(-9223372036854775808..9223372036854775807) | string(..25) | null", optional},
			{"enforce_nonce", "boolean | null", optional},
			{"tts", "boolean | null", unserved},
		}},
		{"RichEmbed", []field{
			{"type", "string(..152133) | null", optional},
			{"url", "string(..2048) | null", optional},
			{"title", "string(..256) | null", optional},
			{"color", "integer(0..16777215) | null", optional},
			{"timestamp", "date-time | null", optional},
			{"description", "string(..4096) | null", optional},
			{"author", "RichEmbedAuthor | null", optional},
			{"image", "RichEmbedImage | null", optional},
			{"thumbnail", "RichEmbedThumbnail | null", optional},
			{"footer", "RichEmbedFooter | null", optional},
			{"fields", "[RichEmbedField](..25) | null", optional},
			{"provider", "RichEmbedProvider | null", optional},
			{"video", "RichEmbedVideo | null", optional},
		}},
		{"RichEmbedAuthor", []field{
			{"name", "string(..256) | null", optional},
			{"url", "string(..2048) | null", optional},
			{"icon_url", "string(..2048) | null", optional},
		}},
		{"RichEmbedImage", []field{
			{"url", "string(..2048) | null", optional},
			{"width", "integer | null", optional},
			{"height", "integer | null", optional},
			{"placeholder", "string(..64) | null", optional},
			{"placeholder_version", "integer(0..2147483647) | null", optional},
			{"is_animated", "boolean | null", optional},
			{"description", "string(..4096) | null", optional},
		}},
		{"RichEmbedThumbnail", []field{
			{"url", "string(..2048) | null", optional},
			{"width", "integer | null", optional},
			{"height", "integer | null", optional},
			{"placeholder", "string(..64) | null", optional},
			{"placeholder_version", "integer(0..2147483647) | null", optional},
			{"is_animated", "boolean | null", optional},
			{"description", "string(..4096) | null", optional},
		}},
		{"RichEmbedFooter", []field{
			{"text", "string(..2048) | null", optional},
			{"icon_url", "string(..2048) | null", optional},
		}},
		{"RichEmbedField", []field{
			{"name", "string(..256)", required},
			{"value", "string(..1024)", required},
			{"inline", "boolean | null", optional},
		}},
		{"RichEmbedProvider", []field{
			{"name", "string(..256) | null", optional},
			{"url", "string(..2048) | null", optional},
		}},
		{"RichEmbedVideo", []field{
			{"url", "string(..2048) | null", optional},
			{"width", "integer | null", optional},
			{"height", "integer | null", optional},
			{"placeholder", "string(..64) | null", optional},
			{"placeholder_version", "integer(0..2147483647) | null", optional},
			{"is_animated", "boolean | null", optional},
			{"description", "string(..4096) | null", optional},
		}},
		{"MessageAllowedMentionsRequest", []field{
			{"parse", "[AllowedMentionTypes | null](..1521) | null", optional},
			{"users", "[snowflake | null](..100) | null", optional},
			{"roles", "[snowflake | null](..100) | null", optional},
			{"replied_user", "boolean | null", optional},
		}},
		{"MessageAttachmentRequest", []field{
			{"id", "snowflake", required},
			{"filename", "string(1..1024) | null", optional},
			{"description", "string(..1024) | null", optional},
			{"duration_secs", "number(0..2147483647) | null", unserved},
			{"waveform", "string(..400) | null", unserved},
			{"title", "string(..1024) | null", unserved},
			{"is_spoiler", "boolean | null", optional},
			{"is_remix", "boolean | null", unserved},
		}},
		{"MessageReferenceRequest", []field{
			{"guild_id", "snowflake | null", optional},
			{"channel_id", "snowflake | null", optional},
			{"message_id", "snowflake", required},
			{"fail_if_not_exists", "boolean | null", optional},
			{"type", "MessageReferenceType | null", optional},
		}},
		{"MessageEditRequestPartial", []field{
			{"content", "string(..4000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"flags", "integer | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"sticker_ids", "[snowflake](..1521) | null", unserved},
			{"components", "[MessageComponent](..40) | null", optional},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
		}},
		{"CreateTextThreadWithMessageRequest", []field{
			{"name", "string(1..100)", required},
			{"auto_archive_duration", "ThreadAutoArchiveDuration | null", optional},
			{"rate_limit_per_user", "integer(0..21600) | null", optional},
		}},
		{"CreateForumThreadRequest", []field{
			{"name", "string(1..100)", required},
			{"auto_archive_duration", "ThreadAutoArchiveDuration | null", optional},
			{"rate_limit_per_user", "integer(0..21600) | null", optional},
			{"applied_tags", "[snowflake](..5) | null", optional},
			{"message", "BaseCreateMessageCreateRequest", required},
		}},
		{"BaseCreateMessageCreateRequest", []field{
			{"content", "string(..4000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"sticker_ids", "[snowflake](..3) | null", unserved},
			{"components", "[MessageComponent](..40) | null", optional},
			{"flags", "integer | null", optional},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
			{"poll", "PollCreateRequest | null", unserved},
			{"shared_client_theme", "CustomClientThemeShareRequest | null", unserved},
		}},
		{"CreateTextThreadWithoutMessageRequest", []field{
			{"name", "string(1..100)", required},
			{"auto_archive_duration", "ThreadAutoArchiveDuration | null", optional},
			{"rate_limit_per_user", "integer(0..21600) | null", optional},
			{"type", "integer | null", optional},
			{"invitable", "boolean | null", optional},
		}},
		{"IncomingWebhookRequestPartial", []field{
			{"content", "string(..2000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"components", "[MessageComponent](..40) | null", unserved},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
			{"poll", "PollCreateRequest | null", unserved},
			{"tts", "boolean | null", unserved},
			{"flags", "integer | null", optional},
			{"username", "string(1..80) | null", optional},
			{"avatar_url", "string(..2048) | null", optional},
			{"thread_name", "string(0..100) | null", optional},
			{"applied_tags", "[snowflake](..5) | null", optional},
		}},
		{"IncomingWebhookUpdateRequestPartial", []field{
			{"content", "string(..2000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"components", "[MessageComponent](..40) | null", optional},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
			{"poll", "PollCreateRequest | null", unserved},
			{"flags", "integer | null", optional},
		}},
		{"ActionRowComponentForMessageRequest", []field{
			{"type", "integer", required},
			{"id", "integer(0..) | null", optional},
			{"components", "[RowComponent](1..5)", required},
		}},
		{"ButtonComponentForMessageRequest", []field{
			{"type", "integer", required},
			{"id", "integer(0..) | null", optional},
			{"custom_id", "string(1..100) | null", optional},
			{"style", "ButtonStyleTypes", required},
			{"label", "string(..80) | null", optional},
			{"disabled", "boolean | null", optional},
			{"url", "string(..512) | null", unserved},
			{"sku_id", "snowflake | null", unserved},
			{"emoji", "ComponentEmojiForRequest | null", unserved},
		}},
		{"UpdateMessageInteractionCallbackRequest", []field{
			{"type", "integer", required},
			{"data", "IncomingWebhookUpdateForInteractionCallbackRequestPartial | null", optional},
		}},
		{"IncomingWebhookUpdateForInteractionCallbackRequestPartial", []field{
			{"content", "string(..2000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"components", "[MessageComponent](..40) | null", optional},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
			{"flags", "integer | null", optional},
		}},
		{"CreateMessageInteractionCallbackRequest", []field{
			{"type", "integer", required},
			{"data", "IncomingWebhookInteractionRequest | null", optional},
		}},
		{"IncomingWebhookInteractionRequest", []field{
			{"content", "string(..2000) | null", optional},
			{"embeds", "[RichEmbed](..10) | null", optional},
			{"allowed_mentions", "MessageAllowedMentionsRequest | null", optional},
			{"components", "[MessageComponent](..40) | null", optional},
			{"attachments", "[MessageAttachmentRequest](..10) | null", optional},
			{"poll", "PollCreateRequest | null", unserved},
			{"tts", "boolean | null", unserved},
			{"flags", "integer | null", optional},
		}},
		{"PongInteractionCallbackRequest", []field{
			{"type", "integer", required},
		}},
		{"CreateWebhookRequest", []field{
			{"name", "string(1..80)", required},
			{"avatar", "string | null", optional},
		}},
	}
}

// valueTable returns the types that are one of several values.
func valueTable() map[string][]string {
	return map[string][]string{
		"ButtonStyleTypes":           {"1", "2", "3", "4", "5", "6"},
		"AllowedMentionTypes":        {"users", "roles", "everyone"},
		"ApplicationCommandType":     {"1", "2", "3", "4"},
		"ApplicationIntegrationType": {"0", "1"},
		"InteractionContextType":     {"0", "1", "2"},
		"MessageReferenceType":       {"0"},
		"ThreadAutoArchiveDuration":  {"60", "1440", "4320", "10080"},
	}
}

// unionTable returns the names that stand here for one of several objects.
func unionTable() map[string][]string {
	return map[string][]string{
		"MessageComponent": {
			"ActionRowComponentForMessageRequest",
			"ContainerComponentForMessageRequest",
			"FileComponentForMessageRequest",
			"MediaGalleryComponentForMessageRequest",
			"SectionComponentForMessageRequest",
			"SeparatorComponentForMessageRequest",
			"TextDisplayComponentForMessageRequest",
		},
		"RowComponent": {
			"ButtonComponentForMessageRequest",
			"ChannelSelectComponentForMessageRequest",
			"MentionableSelectComponentForMessageRequest",
			"RoleSelectComponentForMessageRequest",
			"StringSelectComponentForMessageRequest",
			"UserSelectComponentForMessageRequest",
		},
		"CommandOption": {
			"ApplicationCommandAttachmentOption",
			"ApplicationCommandBooleanOption",
			"ApplicationCommandChannelOption",
			"ApplicationCommandIntegerOption",
			"ApplicationCommandMentionableOption",
			"ApplicationCommandNumberOption",
			"ApplicationCommandRoleOption",
			"ApplicationCommandStringOption",
			"ApplicationCommandSubcommandGroupOption",
			"ApplicationCommandSubcommandOption",
			"ApplicationCommandUserOption",
		},
		"InteractionCallback": {
			"ApplicationCommandAutocompleteCallbackRequest",
			"CreateMessageInteractionCallbackRequest",
			"LaunchActivityInteractionCallbackRequest",
			"ModalInteractionCallbackRequest",
			"PongInteractionCallbackRequest",
			"SocialLayerSKUPurchaseEligibilityInteractionCallbackRequest",
			"UpdateMessageInteractionCallbackRequest",
		},
	}
}
