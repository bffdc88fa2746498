package telegram

// This file is the part of the Bot API's definition that the sandbox serves: Bot API 10.1 of 11 June 2026, as
// https://core.telegram.org/bots/api words it and github.com/PaulSonOfLars/telegram-bot-api-spec makes it readable by
// machines (commit 160fd99507e1c7c77e92dc90f5993d724735b51c). A test compares it with that definition where it is at hand.

// specVersion is the version of the Bot API that the tables below are of.
const specVersion = "Bot API 10.1"

// need says whether a field must be there.
type need int

const (
	optional need = iota
	required
	// unserved is optional in the Bot API, and a fault here: the sandbox would have to pretend.
	unserved
)

// field is a parameter of a method or a field of an object. Type is the definition's own wording; alternatives are joined by
// " or ".
type field struct {
	Name string
	Type string
	Need need
}

// definition is a method with its parameters, or a type of object with its fields.
type definition struct {
	Name   string
	Fields []field
}

// methodTable returns the methods that the sandbox serves, with all the parameters that the Bot API has for them.
func methodTable() []definition {
	return []definition{
		{Name: "getMe"},
		{"getUpdates", []field{
			{"offset", "Integer", optional},
			{"limit", "Integer", optional},
			{"timeout", "Integer", optional},
			{"allowed_updates", "Array of String", optional},
		}},
		{"setWebhook", []field{
			{"url", "String", required},
			{"certificate", "InputFile", unserved},
			{"ip_address", "String", unserved},
			{"max_connections", "Integer", optional},
			{"allowed_updates", "Array of String", optional},
			{"drop_pending_updates", "Boolean", optional},
			{"secret_token", "String", optional},
		}},
		{"deleteWebhook", []field{
			{"drop_pending_updates", "Boolean", optional},
		}},
		{Name: "getWebhookInfo"},
		{"getChat", []field{
			{"chat_id", "Integer or String", required},
		}},
		{"getChatMember", []field{
			{"chat_id", "Integer or String", required},
			{"user_id", "Integer", required},
		}},
		{"sendMessage", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", optional},
			{"direct_messages_topic_id", "Integer", unserved},
			{"text", "String", required},
			{"parse_mode", "String", optional},
			{"entities", "Array of MessageEntity", optional},
			{"link_preview_options", "LinkPreviewOptions", optional},
			{"disable_notification", "Boolean", optional},
			{"protect_content", "Boolean", optional},
			{"allow_paid_broadcast", "Boolean", unserved},
			{"message_effect_id", "String", unserved},
			{"suggested_post_parameters", "SuggestedPostParameters", unserved},
			{"reply_parameters", "ReplyParameters", optional},
			{"reply_markup", "InlineKeyboardMarkup or ReplyKeyboardMarkup or ReplyKeyboardRemove or ForceReply", optional},
		}},
		{"sendPhoto", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", optional},
			{"direct_messages_topic_id", "Integer", unserved},
			{"photo", "InputFile or String", required},
			{"caption", "String", optional},
			{"parse_mode", "String", optional},
			{"caption_entities", "Array of MessageEntity", unserved},
			{"show_caption_above_media", "Boolean", unserved},
			{"has_spoiler", "Boolean", unserved},
			{"disable_notification", "Boolean", optional},
			{"protect_content", "Boolean", optional},
			{"allow_paid_broadcast", "Boolean", unserved},
			{"message_effect_id", "String", unserved},
			{"suggested_post_parameters", "SuggestedPostParameters", unserved},
			{"reply_parameters", "ReplyParameters", optional},
			{"reply_markup", "InlineKeyboardMarkup or ReplyKeyboardMarkup or ReplyKeyboardRemove or ForceReply", unserved},
		}},
		{"sendDocument", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", optional},
			{"direct_messages_topic_id", "Integer", unserved},
			{"document", "InputFile or String", required},
			{"thumbnail", "InputFile or String", unserved},
			{"caption", "String", optional},
			{"parse_mode", "String", optional},
			{"caption_entities", "Array of MessageEntity", unserved},
			{"disable_content_type_detection", "Boolean", optional},
			{"disable_notification", "Boolean", optional},
			{"protect_content", "Boolean", optional},
			{"allow_paid_broadcast", "Boolean", unserved},
			{"message_effect_id", "String", unserved},
			{"suggested_post_parameters", "SuggestedPostParameters", unserved},
			{"reply_parameters", "ReplyParameters", optional},
			{"reply_markup", "InlineKeyboardMarkup or ReplyKeyboardMarkup or ReplyKeyboardRemove or ForceReply", unserved},
		}},
		{"sendMediaGroup", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", optional},
			{"direct_messages_topic_id", "Integer", unserved},
			{"media", "Array of InputMediaAudio or Array of InputMediaDocument or Array of InputMediaLivePhoto or " +
				"Array of InputMediaPhoto or Array of InputMediaVideo", required},
			{"disable_notification", "Boolean", optional},
			{"protect_content", "Boolean", optional},
			{"allow_paid_broadcast", "Boolean", unserved},
			{"message_effect_id", "String", unserved},
			{"reply_parameters", "ReplyParameters", optional},
		}},
		{"getFile", []field{
			{"file_id", "String", required},
		}},
		{"editMessageText", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", optional},
			{"message_id", "Integer", optional},
			{"inline_message_id", "String", unserved},
			{"text", "String", optional},
			{"parse_mode", "String", optional},
			{"entities", "Array of MessageEntity", optional},
			{"link_preview_options", "LinkPreviewOptions", optional},
			{"rich_message", "InputRichMessage", unserved},
			{"reply_markup", "InlineKeyboardMarkup", optional},
		}},
		{"editMessageCaption", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", optional},
			{"message_id", "Integer", optional},
			{"inline_message_id", "String", unserved},
			{"caption", "String", optional},
			{"parse_mode", "String", optional},
			{"caption_entities", "Array of MessageEntity", unserved},
			{"show_caption_above_media", "Boolean", unserved},
			{"reply_markup", "InlineKeyboardMarkup", unserved},
		}},
		{"deleteMessage", []field{
			{"chat_id", "Integer or String", required},
			{"message_id", "Integer", required},
		}},
		{"createForumTopic", []field{
			{"chat_id", "Integer or String", required},
			{"name", "String", required},
			{"icon_color", "Integer", optional},
			{"icon_custom_emoji_id", "String", unserved},
		}},
		{"editForumTopic", []field{
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", required},
			{"name", "String", optional},
			{"icon_custom_emoji_id", "String", unserved},
		}},
		{"closeForumTopic", []field{
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", required},
		}},
		{"reopenForumTopic", []field{
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", required},
		}},
		{"deleteForumTopic", []field{
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", required},
		}},
		{"sendChatAction", []field{
			{"business_connection_id", "String", unserved},
			{"chat_id", "Integer or String", required},
			{"message_thread_id", "Integer", optional},
			{"action", "String", required},
		}},
		{"setMessageReaction", []field{
			{"chat_id", "Integer or String", required},
			{"message_id", "Integer", required},
			{"reaction", "Array of ReactionType", optional},
			{"is_big", "Boolean", optional},
		}},
		{"answerCallbackQuery", []field{
			{"callback_query_id", "String", required},
			{"text", "String", optional},
			{"show_alert", "Boolean", optional},
			{"url", "String", unserved},
			{"cache_time", "Integer", optional},
		}},
		{"setMyCommands", []field{
			{"commands", "Array of BotCommand", required},
			{"scope", "BotCommandScope", optional},
			{"language_code", "String", optional},
		}},
	}
}

// typeTable returns the objects that may stand in those parameters. An object type named by a parameter and missing here is
// not served.
func typeTable() []definition {
	return []definition{
		{"ReplyParameters", []field{
			{"message_id", "Integer", required},
			{"chat_id", "Integer or String", optional},
			{"allow_sending_without_reply", "Boolean", optional},
			{"quote", "String", optional},
			{"quote_parse_mode", "String", unserved},
			{"quote_entities", "Array of MessageEntity", unserved},
			{"quote_position", "Integer", optional},
			{"checklist_task_id", "Integer", unserved},
			{"poll_option_id", "String", unserved},
		}},
		{"InlineKeyboardMarkup", []field{
			{"inline_keyboard", "Array of Array of InlineKeyboardButton", required},
		}},
		{"InlineKeyboardButton", []field{
			{"text", "String", required},
			{"icon_custom_emoji_id", "String", unserved},
			{"style", "String", optional},
			{"url", "String", unserved},
			{"callback_data", "String", optional},
			{"web_app", "WebAppInfo", unserved},
			{"login_url", "LoginUrl", unserved},
			{"switch_inline_query", "String", unserved},
			{"switch_inline_query_current_chat", "String", unserved},
			{"switch_inline_query_chosen_chat", "SwitchInlineQueryChosenChat", unserved},
			{"copy_text", "CopyTextButton", unserved},
			{"callback_game", "CallbackGame", unserved},
			{"pay", "Boolean", unserved},
		}},
		{"LinkPreviewOptions", []field{
			{"is_disabled", "Boolean", optional},
			{"url", "String", optional},
			{"prefer_small_media", "Boolean", optional},
			{"prefer_large_media", "Boolean", optional},
			{"show_above_text", "Boolean", optional},
		}},
		{"MessageEntity", []field{
			{"type", "String", required},
			{"offset", "Integer", required},
			{"length", "Integer", required},
			{"url", "String", optional},
			{"user", "User", unserved},
			{"language", "String", optional},
			{"custom_emoji_id", "String", unserved},
			{"unix_time", "Integer", unserved},
			{"date_time_format", "String", unserved},
		}},
		{"InputMediaPhoto", []field{
			{"type", "String", required},
			{"media", "String", required},
			{"caption", "String", optional},
			{"parse_mode", "String", optional},
			{"caption_entities", "Array of MessageEntity", unserved},
			{"show_caption_above_media", "Boolean", unserved},
			{"has_spoiler", "Boolean", unserved},
		}},
		{"InputMediaVideo", []field{
			{"type", "String", required},
			{"media", "String", required},
			{"thumbnail", "String", unserved},
			{"cover", "String", unserved},
			{"start_timestamp", "Integer", unserved},
			{"caption", "String", optional},
			{"parse_mode", "String", optional},
			{"caption_entities", "Array of MessageEntity", unserved},
			{"show_caption_above_media", "Boolean", unserved},
			{"width", "Integer", optional},
			{"height", "Integer", optional},
			{"duration", "Integer", optional},
			{"supports_streaming", "Boolean", optional},
			{"has_spoiler", "Boolean", unserved},
		}},
		{"InputMediaDocument", []field{
			{"type", "String", required},
			{"media", "String", required},
			{"thumbnail", "String", unserved},
			{"caption", "String", optional},
			{"parse_mode", "String", optional},
			{"caption_entities", "Array of MessageEntity", unserved},
			{"disable_content_type_detection", "Boolean", optional},
		}},
		{"ReactionTypeEmoji", []field{
			{"type", "String", required},
			{"emoji", "String", required},
		}},
		{"ReactionTypeCustomEmoji", []field{
			{"type", "String", required},
			{"custom_emoji_id", "String", required},
		}},
		{"ReactionTypePaid", []field{
			{"type", "String", required},
		}},
		{"BotCommand", []field{
			{"command", "String", required},
			{"description", "String", required},
		}},
		{"BotCommandScopeDefault", []field{
			{"type", "String", required},
		}},
		{"BotCommandScopeAllPrivateChats", []field{
			{"type", "String", required},
		}},
		{"BotCommandScopeAllGroupChats", []field{
			{"type", "String", required},
		}},
		{"BotCommandScopeAllChatAdministrators", []field{
			{"type", "String", required},
		}},
		{"BotCommandScopeChat", []field{
			{"type", "String", required},
			{"chat_id", "Integer or String", required},
		}},
		{"BotCommandScopeChatAdministrators", []field{
			{"type", "String", required},
			{"chat_id", "Integer or String", required},
		}},
		{"BotCommandScopeChatMember", []field{
			{"type", "String", required},
			{"chat_id", "Integer or String", required},
			{"user_id", "Integer", required},
		}},
	}
}

// unionTable returns the types that are one of several.
func unionTable() map[string][]string {
	return map[string][]string{
		"ReactionType": {
			"ReactionTypeEmoji",
			"ReactionTypeCustomEmoji",
			"ReactionTypePaid",
		},
		"BotCommandScope": {
			"BotCommandScopeDefault",
			"BotCommandScopeAllPrivateChats",
			"BotCommandScopeAllGroupChats",
			"BotCommandScopeAllChatAdministrators",
			"BotCommandScopeChat",
			"BotCommandScopeChatAdministrators",
			"BotCommandScopeChatMember",
		},
	}
}

// updateKinds returns the kinds of update that allowed_updates can name: the fields of Update but its id.
func updateKinds() []string {
	return []string{
		"message",
		"edited_message",
		"channel_post",
		"edited_channel_post",
		"business_connection",
		"business_message",
		"edited_business_message",
		"deleted_business_messages",
		"guest_message",
		"message_reaction",
		"message_reaction_count",
		"inline_query",
		"chosen_inline_result",
		"callback_query",
		"shipping_query",
		"pre_checkout_query",
		"purchased_paid_media",
		"poll",
		"poll_answer",
		"my_chat_member",
		"chat_member",
		"chat_join_request",
		"chat_boost",
		"removed_chat_boost",
		"managed_bot",
	}
}

// reactionEmoji returns the emoji that ReactionTypeEmoji lists.
func reactionEmoji() []string {
	return []string{
		"❤", "👍", "👎", "🔥", "🥰", "👏", "😁", "🤔", "🤯", "😱", "🤬", "😢", "🎉", "🤩", "🤮", "💩", "🙏", "👌", "🕊", "🤡",
		"🥱", "🥴", "😍", "🐳", "❤‍🔥", "🌚", "🌭", "💯", "🤣", "⚡", "🍌", "🏆", "💔", "🤨", "😐", "🍓", "🍾", "💋", "🖕", "😈",
		"😴", "😭", "🤓", "👻", "👨‍💻", "👀", "🎃", "🙈", "😇", "😨", "🤝", "✍", "🤗", "🫡", "🎅", "🎄", "☃", "💅", "🤪", "🗿",
		"🆒", "💘", "🙉", "🦄", "😘", "💊", "🙊", "😎", "👾", "🤷‍♂", "🤷", "🤷‍♀", "😡",
	}
}
