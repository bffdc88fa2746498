package presence

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones, whatever the machine has
)

func hours(t *testing.T, text, holidays, zone string) Hours {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHours(text, holidays, loc)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParseHours(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"Mon-Fri 09:00-12:00 13:00-18:00; Sat 10:00-14:00": "",
		"mon, Wednesday 9:00-17:30 ;":                      "",
		"Sat-Mon 00:00-24:00":                              "",
		"Fri 22:00-02:00":                                  "",
		";":                                                `";" has no day`,
		"09:00-18:00":                                      `"09:00-18:00" has no day before it`,
		"Mon":                                              `"Mon" has no time behind it`,
		"Mon-Fre 09:00-18:00":                              `"Mon-Fre" is no day of the week`,
		"Lun 09:00-18:00":                                  `"Lun" is no day of the week`,
		"Mon 9-18":                                         `"9-18" is no time from and to`,
		"Mon 09:00":                                        `"09:00" is no time from and to`,
		"Mon 09:00-25:00":                                  `"09:00-25:00" is no time from and to`,
		"Mon 24:00-25:00":                                  `"24:00-25:00" is no time from and to`,
		"Mon 09:00-18:00 Tue 09:00-18:00":                  `"Tue" is no time from and to`,
		"Mon 09:00–18:00":                                  `"09:00–18:00" is no time from and to`,
	} {
		_, err := ParseHours(text, "", nil)
		if got := fmtError(err); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"2026-12-25 2026-12-26, 2027-01-01": "", "2026-02-29": `"2026-02-29" is no date`, "25.12.2026": `"25.12.2026" is no date`,
	} {
		_, err := ParseHours("", text, nil)
		if got := fmtError(err); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func fmtError(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// The moments at which the hours turn, one after the other.
func TestHoursTurn(t *testing.T) {
	for _, c := range []struct {
		name, hours, holidays, zone, from string
		want                              string // openings and closings from then on
	}{
		{"a week", "Mon-Fri 09:00-12:00 13:00-18:00; Sat 10:00-14:00", "", "Europe/Paris", "2026-11-19T20:00:00+01:00", `
			2026-11-20T09:00:00+01:00 open, 2026-11-20T12:00:00+01:00 shut, 2026-11-20T13:00:00+01:00 open, 2026-11-20T18:00:00+01:00 shut,
			2026-11-21T10:00:00+01:00 open, 2026-11-21T14:00:00+01:00 shut, 2026-11-23T09:00:00+01:00 open`},
		{"holidays", "Mon-Sun 09:00-18:00", "2026-12-25 2026-12-26", "Europe/Paris", "2026-12-24T12:00:00+01:00", `
			2026-12-24T18:00:00+01:00 shut, 2026-12-27T09:00:00+01:00 open, 2026-12-27T18:00:00+01:00 shut`},
		{"holidays alone", "", "2026-12-25", "UTC", "2026-12-24T12:00:00Z", `
			2026-12-25T00:00:00Z shut, 2026-12-26T00:00:00Z open`},
		{"over midnight, and a holiday", "Thu-Sat 22:00-02:00", "2026-12-25", "UTC", "2026-12-24T12:00:00Z", `
			2026-12-24T22:00:00Z open, 2026-12-25T02:00:00Z shut, 2026-12-26T22:00:00Z open, 2026-12-27T02:00:00Z shut`},
		{"day and night is one block", "Mon-Sun 00:00-24:00", "2026-12-25", "UTC", "2026-12-20T12:00:00Z", `
			2026-12-25T00:00:00Z shut, 2026-12-26T00:00:00Z open`},
		{"blocks that touch and overlap", "Mon 09:00-12:00 12:00-13:00 12:30-15:00", "", "UTC", "2026-11-23T00:00:00Z", `
			2026-11-23T09:00:00Z open, 2026-11-23T15:00:00Z shut, 2026-11-30T09:00:00Z open`},
		// In Paris, 2026-03-29 has no 02:00 to 03:00, and 2026-10-25 has it twice.
		{"spring, around", "Sun 01:00-04:00", "", "Europe/Paris", "2026-03-28T12:00:00+01:00", `
			2026-03-29T01:00:00+01:00 open, 2026-03-29T04:00:00+02:00 shut, 2026-04-05T01:00:00+02:00 open`},
		{"spring, into the gap", "Sun 01:00-02:30", "", "Europe/Paris", "2026-03-28T12:00:00+01:00", `
			2026-03-29T01:00:00+01:00 open, 2026-03-29T03:00:00+02:00 shut`},
		{"spring, out of the gap", "Sun 02:30-04:00", "", "Europe/Paris", "2026-03-28T12:00:00+01:00", `
			2026-03-29T03:00:00+02:00 open, 2026-03-29T04:00:00+02:00 shut`},
		{"spring, in the gap", "Sun 02:15-02:45", "", "Europe/Paris", "2026-03-28T12:00:00+01:00", `
			2026-04-05T02:15:00+02:00 open, 2026-04-05T02:45:00+02:00 shut`},
		{"spring, a working day", "Mon-Sun 09:00-18:00", "", "Europe/Paris", "2026-03-28T12:00:00+01:00", `
			2026-03-28T18:00:00+01:00 shut, 2026-03-29T09:00:00+02:00 open, 2026-03-29T18:00:00+02:00 shut`},
		{"autumn, around", "Sun 01:00-04:00", "", "Europe/Paris", "2026-10-24T12:00:00+02:00", `
			2026-10-25T01:00:00+02:00 open, 2026-10-25T04:00:00+01:00 shut`},
		{"autumn, into the hour that comes twice", "Sun 01:00-02:30", "", "Europe/Paris", "2026-10-24T12:00:00+02:00", `
			2026-10-25T01:00:00+02:00 open, 2026-10-25T02:30:00+02:00 shut, 2026-10-25T02:00:00+01:00 open, 2026-10-25T02:30:00+01:00 shut`},
		{"autumn, in the hour that comes twice", "Sun 02:15-02:45", "", "Europe/Paris", "2026-10-24T12:00:00+02:00", `
			2026-10-25T02:15:00+02:00 open, 2026-10-25T02:45:00+02:00 shut, 2026-10-25T02:15:00+01:00 open, 2026-10-25T02:45:00+01:00 shut`},
		{"autumn, a working day", "Mon-Sun 09:00-18:00", "", "Europe/Paris", "2026-10-24T20:00:00+02:00", `
			2026-10-25T09:00:00+01:00 open, 2026-10-25T18:00:00+01:00 shut`},
		// In São Paulo, 2018-11-04 has no 00:00 to 01:00.
		{"a day without a midnight", "Mon-Sun 00:00-12:00", "", "America/Sao_Paulo", "2018-11-03T18:00:00-03:00", `
			2018-11-04T01:00:00-02:00 open, 2018-11-04T12:00:00-02:00 shut`},
		{"a day of it", "Mon 09:00-18:00", "", "UTC", "2026-11-23T10:00:00Z", `2026-11-23T18:00:00Z shut`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := hours(t, c.hours, c.holidays, c.zone)
			at, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			for want := range strings.SplitSeq(c.want, ",") {
				next, what := h.NextClose(at), " shut"
				if !h.Open(at) {
					next, what = h.NextOpen(at), " open"
				}
				if got := next.In(h.Location()).Format(time.RFC3339) + what; got != strings.TrimSpace(want) {
					t.Fatalf("got %s, want %s", got, strings.TrimSpace(want))
				}
				at = next
			}
		})
	}
	if h := (Hours{}); !h.Open(time.Now()) || !h.NextClose(time.Now()).IsZero() {
		t.Error("without hours it closes")
	}
}

// Whatever the hours are: between one turn and the next, every minute is as the first.
func TestHoursTurnNoLaterThanTheyDo(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	days := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	clock := func() string {
		return time.Date(2026, 1, 1, random.IntN(24), 15*random.IntN(4), 0, 0, time.UTC).Format("15:04")
	}
	for range 60 {
		var parts []string
		for range 1 + random.IntN(4) {
			parts = append(parts, days[random.IntN(7)]+"-"+days[random.IntN(7)]+" "+clock()+"-"+clock())
		}
		zone := []string{"Europe/Paris", "America/New_York", "UTC", "Australia/Lord_Howe", "America/Sao_Paulo"}[random.IntN(5)]
		text := strings.Join(parts, "; ")
		h := hours(t, text, "2026-10-26", zone)
		at := time.Date(2026, []time.Month{3, 4, 10, 11}[random.IntN(4)], 1+random.IntN(30), random.IntN(24), 0, 0, 0, time.UTC)
		end := at.AddDate(0, 0, 9)
		for at.Before(end) {
			open := h.Open(at)
			next := h.NextClose(at)
			if !open {
				next = h.NextOpen(at)
			}
			if next.IsZero() {
				next = end
			}
			for ; at.Before(next) && at.Before(end); at = at.Add(5 * time.Minute) {
				if h.Open(at) != open {
					t.Fatalf("%s in %s: it turns at %v, and not at %v alone", text, zone, at, next)
				}
			}
			at = next
			if at.Before(end) && h.Open(at) == open {
				t.Fatalf("%s in %s: it does not turn at %v", text, zone, at)
			}
		}
	}
}
