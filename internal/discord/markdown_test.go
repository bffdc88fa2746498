package discord

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testBook() resolver {
	named := func(names map[string]string) func(string) string { return func(id string) string { return names[id] } }
	return resolver{
		user: named(map[string]string{"1": "Ana", "2": "Eva *Lead*"}), role: named(map[string]string{"3": "Team"}),
		channel: named(map[string]string{"4": "support"}),
	}
}

func TestReadable(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"", ""},
		{"plain text, 1 < 2 & 3 > 2", "plain text, 1 < 2 & 3 > 2"},
		{"**bold** *it* _it_ __under__ ~~gone~~ ||hidden||", "bold it it under gone hidden"},
		{"***both*** **_mixed_** *a **b** c* **a *b* c**", "both mixed a b c a b c"},
		{"**two\nlines**", "two\nlines"},
		{"snake_case_name and 2*3*4 and a * b * c", "snake_case_name and 234 and a * b * c"},
		{"unclosed **bold and *it and `code", "unclosed **bold and *it and `code"},
		{`\*so\* \_it\_ \# \\ \a \😀`, `*so* _it_ # \ \a \😀`},
		{"# Head\n## Second\n### Third\n#### not\n#not\n-# small", "Head\nSecond\nThird\n#### not\n#not\nsmall"},
		{`\# not a head`, "# not a head"},
		{"> quoted\n>>> more\n- item\n1. first", "> quoted\n>>> more\n- item\n1. first"},
		{"`a *b* <@1>` and ``x`y``", "`a *b* <@1>` and ``x`y``"},
		{"see:\n```go\nx := *p // **no**\n# no\n```\n**yes**", "see:\n```go\nx := *p // **no**\n# no\n```\nyes"},
		{"\\```no fence *it*```", "```no fence it```"},
		{"hi <@1>, <@!2>, <@9>, <@&3>, <@&9> in <#4>, <#9>", "hi @Ana, @Eva *Lead*, @someone, @Team, @role in #support, #channel"},
		{"<:smile:12> <a:wave_1:13> </close:14> <id:guide> <id:linked-roles:5>", ":smile: :wave_1: /close #guide #linked-roles"},
		{"<t:1618953630> <t:1618953630:t> <t:1618953630:T> <t:1618953630:D> <t:1618953630:F> <t:1618953630:R>",
			"20 April 2021 21:20 UTC 21:20 UTC 21:20:30 UTC 20 April 2021 Tuesday, 20 April 2021 21:20 UTC 20 April 2021 21:20 UTC"},
		{"<https://a.test/_x_> https://b.test/_y_*z* **https://c.test/**", "https://a.test/_x_ https://b.test/_y_*z* https://c.test/"},
		{"[text](https://a.test) [https://b.test](https://b.test) [**b**](<https://c.test>) [no](x)",
			"text (https://a.test) https://b.test b (https://c.test) [no](x)"},
		{"@everyone @here @ana", "@everyone @here @ana"},
		{`¯\_(ツ)_/¯`, "¯_(ツ)_/¯"},
		{"**", "**"},
		{"****", "****"},
		{"* item\n* other", "* item\n* other"},
		{"<@1", "<@1"},
		{"||a||b||", "ab||"},
		{"`", "`"}, {"```", "```"}, {"``````", "``````"}, {`\`, `\`},
		{"_a_b_", "_a_b_"},
		{"**a\\**b**", "a**b"},
		{"**`a**`**", "`a**`"},
		{" spaces \n", "spaces"},
	} {
		if got := readable(c.typed, testBook()); got != c.want {
			t.Errorf("%q reads\n%q, not\n%q", c.typed, got, c.want)
		}
	}
}

// Nothing that is typed makes reading fail, and what has no marks is left as it is.
func TestReadableProperties(t *testing.T) {
	pieces := []string{"*", "**", "_", "__", "~~", "||", "`", "```", "\\", "<", ">", "<@1>", "[", "](", ")", "https://a.test/_", "a", " ", "\n", "😀", "# ", "-# "}
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 60).Draw(rt, "text"), "")
		_ = readable(text, testBook())
		bare := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", " b", "é", "😀", ".", ",", "(", ")", "!", "&", "=", "%"}), 0, 30).Draw(rt, "bare"), "")
		if got := readable(bare, testBook()); got != strings.TrimSpace(bare) {
			rt.Fatalf("%q reads %q", bare, got)
		}
		// What was escaped is read as it was.
		if got := readable(escape(text, false), testBook()); !strings.Contains(text, "```") && !strings.Contains(text, "http") && got != strings.TrimSpace(text) {
			rt.Fatalf("%q, escaped, reads %q", text, got)
		}
	})
}
