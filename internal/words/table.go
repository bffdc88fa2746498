package words

// Table is all texts in one language. A comment says what stands in a text's places, in their order.
type Table struct {
	// How the language writes numbers, times and sizes.
	Form         func(n int) int // which of a Count's forms a number takes
	Forms        int             // how many there are
	DecimalPoint string
	Colon        string // between a sentence and what follows, with its blanks
	Quoted       One    // what somebody wrote
	Bytes        One    // number
	Kilobytes    One    // number
	Megabytes    One    // number
	Gigabytes    One    // number
	Seconds      One    // number
	Minutes      One    // number
	Hours        One    // number
	HoursMinutes Two    // hours, minutes
	Days         Count
	DateLayout   string // of package time: a day in figures
	LongDate     string // a day in words, of {day}, {month} and {year}
	WeekdayDate  string // a day in words, of {weekday}, {day}, {month} and {year}
	Months       [12]string
	Weekdays     [7]string // from Sunday on

	// Who is who.
	Visitor     string
	TheVisitor  string
	Operator    string
	AnOperator  string
	TheAI       string
	Something   string // that is not known by a word
	File        string // of which no name is known
	Blank       string // stands for a text that shows nothing
	OnSite      One    // name of somebody who wrote in the app
	OnPlatform  Two    // name, platform
	AccountOn   Two    // name, platform
	AndMore     Count
	NothingDone string

	// The card of a visitor, and what /info knows more.
	Verified       string
	NotVerified    string
	LabelVisitor   string
	LabelEmail     string
	LabelKnownAs   string
	LabelPhone     string
	LabelPage      string
	LabelCameFrom  string
	LabelPlace     string
	LabelAddress   string
	LabelDevice    string
	LabelLanguage  string
	LabelTimeZone  string
	LabelRating    string
	LabelVisitorID string
	LabelSession   string
	LabelThread    string
	RatingOf       One // score
	HereSince      One // time
	ClaimedSince   Two // name, time
	WaitsSince     One // time
	IsClosed       string
	CardAnswers    One // name
	CardUnanswered string

	// The menu of commands. Arguments: [x] may be left out, x|y is a choice; until, add, remove, on, off and yes are typed as they are.
	GroupAnswer       string
	GroupTalk         string
	GroupConversation string
	GroupVisitor      string
	GroupYou          string
	GroupTeam         string
	ArgDuration       string
	ArgAway           string
	ArgText           string
	ArgReason         string
	ArgVisitorID      string
	ArgName           string
	ArgCanned         string
	ArgCode           string
	ArgCommand        string
	HelpOnline        string
	HelpAway          string
	HelpOffline       string
	HelpStatus        string
	HelpInfo          string
	HelpReply         string
	HelpSend          string
	HelpNote          string
	HelpClaim         string
	HelpUnclaim       string
	HelpAssign        string
	HelpOK            string
	HelpRemind        string
	HelpBlock         string
	HelpUnblock       string
	HelpHistory       string
	HelpTranscript    string
	HelpRead          string
	HelpDelete        string
	HelpClose         string
	HelpReopen        string
	HelpCSAT          string
	HelpAI            string
	HelpFind          string
	HelpBlocked       string
	HelpCanned        string
	HelpName          string
	HelpLink          string
	HelpUnlink        string
	HelpID            string
	HelpHelp          string
	OptionOnline      string
	OptionAway        string
	OptionReply       string
	OptionNote        string
	OptionClaim       string
	OptionAssign      string
	OptionWhen        string
	OptionReminder    string
	OptionReason      string
	OptionVisitor     string
	OptionOnOff       string
	OptionFind        string
	OptionCanned      string
	OptionCannedName  string
	OptionCannedText  string
	OptionName        string
	OptionCode        string
	OptionCommand     string

	// /help, and what is no command.
	HelpInThread   One // mark of a command
	HelpInternal   Two // mark of one, marks of all
	HelpElsewhere  One // how a command is written: one of the next two
	EitherMark     string
	OneMark        string // where slash commands do not work in threads
	HelpOfThreads  One    // commands
	HelpMore       One    // mark of a command
	HelpOnThread   string
	HelpAliases    One // commands
	UnknownCommand One // command
	DidYouMean     One // command
	HelpListsAll   One // command
	TakesNothing   One // command
	WantsSomething Two // command, usage
	DoesNotTake    Two // command, usage
	GiveInReply    One // command
	UnknownReply   One // command
	GiveInThread   One // command
	WorksInChannel One // channel
	WorksOnlyThere One // command
	ThisCommand    string
	CannotReadTime Two // what was typed, command
	CannotReadWhen One // what was typed
	NoTopics       string
	ListIsNoThread string
	ListThreadSoon string
	ListThreadsAt  One // links

	// Presence.
	YouAreOnline      string
	YouAreOnlineUntil One // time
	OnlineAfterHours  string
	YouAreAway        string
	YouAreAwayUntil   One // time
	YouAreOffline     string
	MarkedAway        Two // name, for how long
	StatusOnline      string
	StatusAway        string
	StatusOffline     string
	NobodyYet         string
	OutsideHours      string
	OutsideHoursUntil One   // time
	ForVisitors       One   // name
	StatusSince       Three // who, status, time
	StatusUntil       One   // time
	ByCommand         string
	ByAnswering       string
	ByTimeout         string
	ByHours           string
	ByApp             string
	ByRemoval         string

	// Names and accounts.
	NameTooLong      Count
	NothingToSee     string
	VisitorsSeeYou   One // name
	NameChangeHint   string
	NameIsHidden     Two   // the operator's name, the one that visitors see
	NameIsTaken      One   // whose it is
	YouAre           One   // name
	YouAreOne        Three // name, accounts, id
	LinkCode         One   // code
	LinkDone         Two   // accounts, status
	LinkDoneOther    One   // who
	LinkTriedOther   Two   // who has typed the code, too; who is to be linked
	LinkAsked        One   // who
	LinkWanted       One   // who
	LinkUnknownCode  string
	LinkAskedAlready One // who
	LinkCodeTaken    string
	LinkNotAsked     string
	LinkOtherAsks    One // who confirms
	LinkBeginnerGone string
	LinkSamePerson   string
	LinkHasAccount   One // who
	LinkNone         string
	Unlinked         string

	// What operators write.
	SentToVisitor     string
	SentText          One // text
	Noted             string
	NoteText          Two // name, text
	NotOperator       string
	NotOperatorText   One // name
	NotOperatorHint   One // account
	NothingWithheld   string
	WithheldOfOther   string
	WithheldDropped   string
	HeldNotSent       string
	HeldEdit          string
	HeldNeedsBlank    One    // command
	HeldCanned        One    // name
	HeldUnknown       One    // what was typed
	HeldMaybe         Two    // what was typed, what may be meant
	HeldSend          One    // mark of a command
	HeldSendOrYes     One    // mark of a command
	Yes               string // by which a held message is sent; “yes” does in every language
	No                string
	EditNoCommand     string
	EditNoNote        string
	EditFilesTold     string
	NothingUnread     string
	MarkedRead        Count
	DeleteHow         string
	DeleteNotYours    string
	DeleteOfOther     string
	Deleted           string
	RatingAsked       string
	AIOn              string
	AIOff             string
	OtherAnswers      Two // who has answered, who takes care
	VisitorSeesNoMore One // what is shown in its place
	FileTooBigForBot  string
	LiveLocation      string

	// Who takes care of a visitor.
	TakenSince      Two // name, time
	TakesCare       One // name
	TakesCareNoMore One // name
	FreedFrom       Two // who has freed, from whom
	VisitorIsFree   string
	NotClaimed      string
	YouTakeCare     string
	AlreadyTakes    One // name
	AsksToTake      Two // who asks, who is asked
	IsAskedToTake   One // name
	NobodyAsked     string
	OtherIsAsked    One // name
	NoOtherOperator string
	WhoIs           Two // what was typed, names

	// Conversations.
	ClosedAlready     Two // name, time
	IsOpen            string
	ReopenedAnswer    string
	ClosedBy          One // who
	ReopenedBy        One // who
	ClosedInApp       string
	FirstVisit        string
	OtherVisits       string
	NothingToFind     string
	NobodyFound       One // what was typed
	FoundBy           One // what was typed
	OpenConversations Count
	WaitingAnswers    Count
	WaitsFor          Two // who, for how long
	WaitsClaimed      One // name
	FiltersRefused    Count
	LaneDelivering    string
	LanePaused        string
	LaneOther         string
	LaneBehind        One // for how long
	LaneWaiting       Two // how many, for how long
	RemindedAt        One // time
	Reminder          string
	HasWaited         Two // who, for how long
	HasWaitedStill    Two // who, for how long
	PageClosed        string
	PageClosedEmail   One // address

	// Blocked visitors.
	BlockedAlready One // how
	Blocked        string
	BlockedBy      One // who
	BlockedNotice  One // who, and why
	UnblockByID    string
	NotBlocked     string
	UnblockedBy    One // who
	Unblocked      string
	UnblockedOther One   // visitor
	BlockedSince   Three // name, platform, time
	NobodyBlocked  string
	BlockedList    string
	BlockedVisitor Three // visitor, id, how

	// Canned replies.
	CannedNameForm  Count
	CannedIsCommand One // name
	CannedNoText    One // name
	TextTooLong     Count
	CannedFull      Count
	CannedReplaced  Two // name, what it said
	CannedKept      One // name
	CannedUnknown   One // name
	CannedOneName   string
	CannedRemoved   Two // name, what it said
	CannedTakes     One // usage
	CannedNone      string
	CannedList      string

	// What an app tells of a conversation.
	AITakesOver      string
	VisitorRates     One // score
	VisitorLeft      string
	VisitorLeftAfter One // for how long
	WasDeleted       string
	TextBelow        string
	LongText         Two // number of characters, name of the file
	MoreFiles        Two // number, names

	// What waits.
	ListHead        Two // number of visitors, platform
	ListMessages    Count
	ListDone        string
	NoticeWaits     Four // messages, visitors, limit, since when
	PlatformLimit   One  // platform
	PlatformLimitOf Two  // platform, calls
	Messages        Count
	VisitorsWait    Count
	CallsAMinute    Count

	// What fails.
	NotShownOn       Two   // platform, cause
	FilesNotShownOn  Three // files, platform, cause
	AnswerNotTaken   One   // cause
	ChangeNotTaken   One   // cause
	StuckFor         Three // what, cause, what becomes of it
	StuckAnswer      string
	StuckEdit        string
	StuckDeletion    string
	StuckClose       string
	StuckRating      string
	StuckThreeDays   string
	StuckQuarter     string
	ThreadsGo        Two   // platform, cause
	TakesNoMessages  Three // platform, for how long, cause
	AsksToWait       Two   // platform, cause
	OpensNoThreads   Two   // platform, cause
	ReopensNoThreads Two   // platform, cause
	RefusesCalls     Three // platform, calls, cause
	TakesAgain       Two   // platform, after how long
	OpensAgain       Two   // platform, after how long
	CallsAgain       Two   // platform, after how long
	HookTakesNothing Two   // for how long, cause
	HookTakesAgain   One   // after how long
	CallbackNothing  Three // callback, for how long, cause
	CallbackAgain    Two   // callback, after how long
	CallbacksNothing Three // callbacks, for how long, cause
	CallbacksAgain   Two   // callbacks, after how long

	// What stands for what is no text.
	NoText       string
	Named        Two // what, its name
	Forwarded    string
	TooBig       Two // what, size
	Poll         string
	Place        string
	Location     string
	Contact      string
	Checklist    string
	Game         string
	Invoice      string
	PaidMedia    string
	Story        string
	Formatted    string
	PhotoOnly    string
	Photo        string
	Giveaway     string
	Animation    string
	Video        string
	VideoMessage string
	VoiceMessage string
	Audio        string
	Sticker      string
	Someone      string
	Role         string
	Group        string
	Channel      string
	ADate        string

	// Buttons, of at most bridge.MaxButtonLabel UTF-16 units, and what a press is answered with.
	ButtonClaim    string
	ButtonHandOver string
	ButtonClose    string
	ButtonAway     string
	ButtonBlock    string
	WhoIsAsked     string
	SentFor        Two // operator, text
	NoSuchVisitor  string
	NoSuchButton   string
	NoSuchOperator string
	NoSuchCanned   One // name

	// Drafts, and their buttons.
	ButtonSend     string
	ButtonEdit     string
	ButtonDrop     string
	DraftOf        Two   // author, text
	DraftEdited    Three // author, operator, text
	DraftSent      Two   // operator, author; the text follows
	DraftDropped   Two   // operator, author
	DraftIsSent    One   // operator
	DraftIsDropped One   // operator
	DraftIsGone    string
	DraftReply     string
	DraftNext      string
	DraftLong      Count
	NoSuchDraft    string

	// The transcript's file.
	TranscriptHead    string
	TranscriptMore    string
	TranscriptNone    string
	TranscriptOff     string // names the setting
	TranscriptNotice  string
	TranscriptDeleted string
	TranscriptEdited  string
	TranscriptFile    string
}
