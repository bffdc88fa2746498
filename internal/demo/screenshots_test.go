//go:build browser && screenshots

package demo_test

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestScreenshots draws the pictures in docs: make screenshots.
func TestScreenshots(t *testing.T) {
	b := browser{startBrowser(t), startDemo(t)}
	p := b.openDirect(t, screen{1280, 800, "light"})
	p.write("shop", "Lovely. Can it say “Nana” at the foot?")
	p.shows("#shop .message.visitor .tick", "Delivered")
	p.write("discord", "It can: I scratch it in before it is fired")
	p.shows("#shop .message.operator", "scratch it in")
	p.attach("shop", sketch(t), "Like this?")
	p.seen("#shop .message.visitor")
	for _, app := range apps() {
		p.seen("#" + app)
	}
	p.menu("slack", "Like this?", "React with 👍")
	p.shows("#shop .message.visitor .tick", "Read")
	p.write("slack", "Just like this")
	p.shows("#shop .message.operator", "Just like this")
	p.settled()
	p.save("demo.png")

	dark := b.openDirect(t, screen{1280, 800, "dark"})
	dark.until(`document.querySelector(".guest button")`)
	dark.do(chromedp.Click(chromedp.CSS("#power")))
	dark.shows("#control .process", "Dead")
	dark.write("shop", "And how long does that take?")
	dark.shows("#shop .message.visitor .tick", "Waiting for the bridge")
	dark.write("telegram", "A week, Mia")
	dark.settled()
	dark.save("demo-killed.png")
	dark.do(chromedp.Click(chromedp.CSS("#power")))
	dark.shows("#shop .message.operator", "A week, Mia")

	phone := b.openDirect(t, screen{390, 844, "light"})
	phone.shows("#shop .message.operator", "A week, Mia")
	phone.settled()
	phone.save("demo-phone-shop.png")
	phone = b.openDirect(t, screen{390, 844, "dark"})
	phone.look("telegram")
	phone.shows("#telegram .message .body", "A week, Mia")
	phone.settled()
	phone.save("demo-phone-telegram.png")

	late := b.open(t, screen{1280, 1240, "light"})
	late.rush("Ida")
	late.settled()
	late.savePart("demo-limits.png", image.Rect(400, 84, 1280, 1120))
	late.limit(false)
}

// sketch is the foot of a mug with something scratched into it.
func sketch(t *testing.T) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 320, 200))
	name := [...]string{
		"#...#..##..#...#..##.",
		"##..#.#..#.##..#.#..#",
		"#.#.#.####.#.#.#.####",
		"#..##.#..#.#..##.#..#",
		"#...#.#..#.#...#.#..#",
	}
	for y := range 200 {
		for x := range 320 {
			d := math.Hypot(float64(x-160), float64(y-100))
			c := color.RGBA{238, 228, 214, 255}
			switch col, row := (x-97)/6, (y-82)/7; {
			case x >= 97 && y >= 82 && row < len(name) && col < len(name[row]) && name[row][col] == '#':
				c = color.RGBA{92, 48, 28, 255}
			case d < 70:
				c = color.RGBA{200, 118, 79, 255}
			case d < 80:
				c = color.RGBA{170, 92, 58, 255}
			case d < 92:
				c = color.RGBA{47, 127, 141, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	path := filepath.Join(t.TempDir(), "sketch.png")
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// settled waits until all that there is to see is there.
func (p *tab) settled() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	p.until(`[...document.querySelectorAll("section img")].every((i) => i.offsetParent === null || i.complete)`)
	p.until(`new Promise((done) => setTimeout(() => done(true), 700))`) // what moves comes to rest
}

// save keeps a picture of what is seen.
func (p *tab) save(name string) {
	p.t.Helper()
	p.savePart(name, image.Rect(0, 0, int(p.screen.width), int(p.screen.height)))
}

// savePart keeps a picture of a part of what is seen.
func (p *tab) savePart(name string, part image.Rectangle) {
	p.t.Helper()
	raw, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		p.t.Fatal(err)
	}
	seen := image.NewRGBA(image.Rect(0, 0, part.Dx(), part.Dy()))
	draw.Draw(seen, seen.Bounds(), img, part.Min, draw.Src)
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, seen); err != nil {
		p.t.Fatal(err)
	}
	if small.Len() > 300_000 {
		p.t.Errorf("%s has %d bytes", name, small.Len())
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", name), small.Bytes(), 0o644); err != nil {
		p.t.Fatal(err)
	}
}
