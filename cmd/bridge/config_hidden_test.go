package main

import (
	"strings"
	"testing"
)

// Whichever variable a secret stands in, in the environment, in .env or in a file that is named, however it is written there and whatever
// is wrong with it: no fault and no warning quotes it.
func TestConfigQuotesNoSecretOfAnyVariable(t *testing.T) {
	secrets := map[string]string{
		"hexadecimal": "5ecb3f0d72a8e6914cbf05ecb3fa72d8e6914cbf", "base64": "q8Zr/3kPa+9xWv/Lm2d/Tc7+JhY5sXoE/b4Rn6uGi1A=", "base32": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
		"letters": "kqzwvxjhbnmlfdsrtypgcqzwvxjhbn", "a bot's": "MTA0NzU2.Gx7abC.q8Zr3kPa9xWvLm2dTc7JhY5sXoEb4Rn6uGi1AQ", "Telegram's": "5081736294:AAFq8Zr3kPa9xWvLm2dTc7JhY5sXoEb4Rn6u",
		"Slack's": "xoxb-50817362941-q8Zr3kPa9xWvLm2d", "a UUID": "3f2b8c1e-9d47-4a6b-8e15-7c0f2d9a6b34", "a password": "s3cret!Pass.word7Q",
	}
	keys, _ := servedKeys()
	for what, secret := range secrets {
		forms := []string{secret, "x " + secret, "x," + secret + ",y", secret + "\x01", "https://user:" + secret + "@host/", "https://host/?k=" + secret, "/" + secret + "/[", "whsec_" + secret + "?", strings.Repeat(" x", 12) + secret}
		if what == "a password" { // looks like no key: it is known by where it stands
			forms = []string{"https://user:" + secret + "@host/", "redis://:" + secret + "@host:x", "http://" + secret + "@host"}
		}
		for _, name := range keys {
			for i, form := range forms {
				if i > 0 && what != "base64" && what != "a password" {
					break // one of them in all forms is enough
				}
				for where, given := range map[string][2]map[string]string{
					"the environment": {{name: form}},
					".env":            {nil, {".env": name + "='" + form + "'\n" + strings.Trim(form, " ,\x01/?[") + "=x\n"}},
					"a file's name":   {{name + "_FILE": form}},
					"a file":          {{name + "_FILE": "/f", "BOT_RANGES_FILE": "/f"}, {"/f": form}},
				} {
					c, err := load(given[0], given[1])
					said := strings.Join(append(c.Warnings, c.Misspelt...), "\n")
					if err != nil {
						said += err.Error()
					}
					for n := 0; n+8 <= len(secret); n += 4 { // nor a part that helps to guess it
						if strings.Contains(said, secret[n:n+8]) {
							t.Fatalf("%s, %s secret %q in %s: %s", name, what, form, where, said)
						}
					}
				}
			}
		}
	}
}

// What is no secret is told as it was written.
func TestConfigQuotesWhatIsWrong(t *testing.T) {
	for _, plain := range []string{"soon", "Mon-Fri 9-25", "Europe/Pariss", "10.0.0.0/33", "bridge.example.com:99999", "https://shop.example.com/path", "123456789012345678", "conversations-of-the-shop", "2026-13-25"} {
		if got := hide(plain, nil); got != plain {
			t.Errorf("%q is shown as %q", plain, got)
		}
	}
}
