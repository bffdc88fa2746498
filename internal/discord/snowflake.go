package discord

import (
	"strconv"
	"time"
)

// snowflake is an id of Discord's: the milliseconds since the first second of 2015, shifted by 22 bits, and a counter. So ids tell
// when something was made, and what was made later has the higher one.
type snowflake uint64

const (
	discordEpoch  = 1_420_070_400_000 // milliseconds since 1970
	snowflakeBits = 22                // below the time
)

// parseSnowflake reads an id as Discord writes it. Anything else is none.
func parseSnowflake(text string) (snowflake, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return snowflake(n), err == nil && text[0] != '+' && n > 0
}

// flake is parseSnowflake where what is no id counts as the oldest.
func flake(text string) snowflake {
	f, _ := parseSnowflake(text)
	return f
}

func (f snowflake) String() string { return strconv.FormatUint(uint64(f), 10) }

func (f snowflake) time() time.Time {
	return time.UnixMilli(int64(f>>snowflakeBits) + discordEpoch)
}

// snowflakeAt returns the lowest id of an instant; 0 for one before Discord's time.
func snowflakeAt(t time.Time) snowflake {
	return snowflake(max(t.UnixMilli()-discordEpoch, 0)) << snowflakeBits
}
