package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/scoring"
)

// pageFile writes the report of runs to a file and returns its address and size.
func pageFile(t *testing.T, runs ...*Run) (url string, size int) {
	t.Helper()
	page := page1(t, runs...)
	path := filepath.Join(t.TempDir(), HTMLFile)
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + path, len(page)
}

// mixedRun has samples of every status, rung and verdict.
func mixedRun(t *testing.T) *Run {
	t.Helper()
	g, dir := smallGrid(), t.TempDir()
	examples := g.write(t, dir, func(r *results.Record) bool {
		switch {
		case r.Order == 1 && r.NoiseIndex > 0:
			r.Status, r.Finish = scoring.StatusTruncated, finish.Length
		case r.Order == 2 && r.NoiseIndex == 2:
			r.Status, r.Answer, r.Rung, r.Correct, r.Text = scoring.StatusNoAnswer, "", "", false, "no idea"
		case r.Order == 3 && r.NoiseIndex == 2:
			r.Status, r.Finish, r.Answer, r.Rung, r.Correct, r.Error = scoring.StatusNonfinite, finish.Nonfinite, "",
				"", false, "a logit was not finite"
		}
		return true
	})
	return load(t, dir, examples)
}

// set chooses in a filter as a person does: its value changes, and it says so.
func (tb *tab) set(filter, value string) {
	tb.t.Helper()
	tb.eval(fmt.Sprintf(`(() => { const e = document.getElementById("filter-%s"); e.value = %q;
		e.dispatchEvent(new Event(e.type === "search" ? "input" : "change")); })()`, filter, value), nil)
}

// shown is how many samples the browser says there are.
func (tb *tab) shown() int {
	tb.t.Helper()
	var text string
	tb.eval(`document.querySelector(".pager [role=status]").textContent`, &text)
	n := 0
	if i := strings.LastIndex(text, " of "); i >= 0 {
		if _, err := fmt.Sscanf(text[i:], " of %d samples", &n); err != nil {
			tb.t.Fatalf("%q: %v", text, err)
		}
	}
	return n
}

// TestChromiumFilters compares what every filter leaves with a count of the records.
func TestChromiumFilters(t *testing.T) {
	c := startChromium(t)
	r := mixedRun(t)
	url, _ := pageFile(t, r)
	tb := c.open(look{1280, 900, false})
	tb.show(url)
	var records []results.Record
	for rec, err := range results.Read(r.journal(), "") {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	// right tells whether the sample of another condition is right, and whether it counts.
	right := func(noise, temp int, like *results.Record) (correct, counts bool) {
		i := slices.IndexFunc(records, func(x results.Record) bool {
			return x.NoiseIndex == noise && x.TempIndex == temp && x.Replicate == like.Replicate && x.ID == like.ID
		})
		return records[i].Correct, records[i].Status.Counted()
	}
	gained := func(from, to bool) func(x *results.Record) bool {
		return func(x *results.Record) bool {
			before, counts := right(0, 1, x)
			return x.NoiseIndex == 1 && x.TempIndex == 2 && counts && x.Status.Counted() && before == from &&
				x.Correct == to
		}
	}
	index := func(list []string, s string) string { return fmt.Sprint(slices.Index(list, s)) }
	b, _ := unpacked(t, page1(t, r))
	for name, test := range map[string]struct {
		set  map[string]string
		want func(x *results.Record) bool
	}{
		"all": {nil, func(*results.Record) bool { return true }},
		"condition": {
			map[string]string{"c": "5"},
			func(x *results.Record) bool { return x.NoiseIndex == 1 && x.TempIndex == 2 },
		},
		"seed": {map[string]string{"r": "1"}, func(x *results.Record) bool { return x.Replicate == 1 }},
		"status": {
			map[string]string{"s": index(b.Statuses, "truncated")},
			func(x *results.Record) bool { return x.Status == scoring.StatusTruncated },
		},
		"nonfinite": {
			map[string]string{"s": index(b.Statuses, "nonfinite")},
			func(x *results.Record) bool { return x.Status == scoring.StatusNonfinite },
		},
		"rung": {map[string]string{"g": index(b.Rungs, "")}, func(x *results.Record) bool { return x.Rung == "" }},
		"verdict": {
			map[string]string{"w": "right", "c": "0"},
			func(x *results.Record) bool { return x.Correct && x.NoiseIndex == 0 && x.TempIndex == 0 },
		},
		"gained":   {map[string]string{"c": "5", "v": "1", "o": "gained"}, gained(false, true)},
		"lost":     {map[string]string{"c": "5", "v": "1", "o": "lost"}, gained(true, false)},
		"both":     {map[string]string{"c": "5", "v": "1", "o": "both"}, gained(true, true)},
		"question": {map[string]string{"q": "7"}, func(x *results.Record) bool { return x.ID == 7 }},
		"words":    {map[string]string{"q": "question 11:"}, func(x *results.Record) bool { return x.ID == 11 }},
		"nothing": {
			map[string]string{"q": "no question has these words"},
			func(*results.Record) bool { return false },
		},
	} {
		want := 0
		for i := range records {
			if test.want(&records[i]) {
				want++
			}
		}
		if want == 0 && name != "nothing" {
			t.Errorf("%s: the run has no such sample, so the test shows nothing", name)
		}
		tb.show("about:blank#" + name) // the next address is then another page, not a place in this one
		tb.show(url)
		for key, value := range test.set {
			tb.set(key, value)
		}
		if got := tb.shown(); got != want {
			t.Errorf("%s: %d samples, want %d", name, got, want)
		}
		// The address holds the filters: whoever opens it sees the same.
		var hash string
		tb.eval("location.hash", &hash)
		tb.show("about:blank#" + name)
		tb.show(url + hash)
		if got := tb.shown(); got != want {
			t.Errorf("%s: %d samples at %s, want %d", name, got, hash, want)
		}
	}
	quiet(t, c, url)
}

// TestChromiumShowsMarkupAsText opens a report whose every text is markup. Nothing of it runs, and nothing is asked
// for.
func TestChromiumShowsMarkupAsText(t *testing.T) {
	c := startChromium(t)
	url, _ := pageFile(t, hostileRun(t))
	tb := c.open(look{1280, 900, false})
	tb.show(url)
	tb.eval(`document.querySelector(".sample summary").click()`, nil)
	tb.until(`document.querySelector(".sample[open] mark")`)
	var got struct{ Title, Question, Text, Mark, Option string }
	tb.eval(`({Title: document.title, Question: document.querySelector(".sample .question").textContent,
		Text: [...document.querySelectorAll(".sample[open] pre")].at(-1).textContent, Mark: document.querySelector(".sample mark").textContent,
		Option: document.querySelector("#filter-c option:last-child").textContent})`, &got)
	if got.Title != hostile+" – gsmeval report" &&
		got.Title != strings.Join(strings.Fields(hostile), " ")+" – gsmeval report" {
		t.Errorf("the title is %q", got.Title)
	}
	if got.Question != hostile || got.Text != hostile+"#### 1" || got.Mark != "1" ||
		got.Option != "activation 0.2, "+hostile {
		t.Errorf("texts do not arrive as they are: %+v", got)
	}
	// A sample that failed has no answer to mark, but a cause.
	var failed string
	tb.eval(`[...document.querySelectorAll("#filter-s option")].find(o => o.textContent === "error").value`, &failed)
	tb.set("s", failed)
	tb.eval(`document.querySelector(".sample summary").click()`, nil)
	tb.until(`document.querySelector(".sample[open] .facts")`)
	var unmarked struct{ Text, Facts string }
	tb.eval(`({Text: [...document.querySelectorAll(".sample[open] pre")].at(-1).textContent, Facts: document.querySelector(".sample[open] .facts").textContent})`, &unmarked)
	if unmarked.Text != hostile+"#### 1" || !strings.HasSuffix(unmarked.Facts, "cause: "+hostile) {
		t.Errorf("the failed sample's texts do not arrive as they are: %+v", unmarked)
	}
	var images, scripts int
	tb.eval(`document.querySelectorAll("main img").length`, &images)
	tb.eval(`document.querySelectorAll("main script").length`, &scripts)
	if images+scripts > 0 {
		t.Errorf("%d images and %d scripts came from texts", images, scripts)
	}
	quiet(t, c, url)
	// The policy holds: were markup to get through, it would not run.
	tb.eval(`(() => { const s = document.createElement("script"); s.textContent = "window.ran = 1"; document.body.append(s); })()`, nil)
	var ran bool
	tb.eval("window.ran === 1", &ran)
	if ran {
		t.Error("a script that the policy does not name has run")
	}
}

// quiet checks that the page asked for nothing but itself and broke no policy.
func quiet(t *testing.T, c *chromium, url string) {
	t.Helper()
	for _, m := range c.messages() {
		if asked, ok := strings.CutPrefix(m, "request "); !ok || !strings.HasPrefix(asked, url) &&
			!strings.HasPrefix(asked, "about:") {
			t.Errorf("chromium: %s", m)
		}
	}
}

// TestChromiumKeyboard goes through a report with the keyboard alone.
func TestChromiumKeyboard(t *testing.T) {
	c := startChromium(t)
	url, _ := pageFile(t, mixedRun(t))
	tb := c.open(look{1280, 900, false})
	tb.show(url)
	focus := func() (at string) {
		tb.eval(`(() => { const e = document.activeElement; return e.id || e.className || e.textContent.trim().slice(0, 40) || e.tagName; })()`, &at)
		return at
	}
	tb.key("Tab")
	if at := focus(); at != "skip" {
		t.Errorf("the first stop is %q, not the link to the samples", at)
	}
	tb.key("Enter")
	seen := []string{}
	for range 40 {
		tb.key("Tab")
		seen = append(seen, focus())
		var outline string
		tb.eval(`getComputedStyle(document.activeElement).outlineStyle`, &outline)
		if outline == "none" {
			t.Errorf("nothing shows that %q has the focus", focus())
		}
		var summary bool
		tb.eval(`document.activeElement.matches(".sample > summary")`, &summary)
		if summary {
			break
		}
	}
	for _, id := range []string{
		"filter-c", "filter-r", "filter-w", "filter-s", "filter-g", "filter-v", "filter-o",
		"filter-q", "Next",
	} {
		if !slices.Contains(seen, id) {
			t.Errorf("the keyboard does not come by %s: %v", id, seen)
		}
	}
	tb.key("Enter")
	tb.until(`document.querySelector(".sample[open] pre")`)
	// A choice by keyboard counts as one.
	before := tb.shown()
	tb.eval(`document.getElementById("filter-c").focus()`, nil)
	tb.key("ArrowDown")
	if after := tb.shown(); after >= before || after == 0 {
		t.Errorf("%d samples before and %d after choosing the first condition by keyboard", before, after)
	}
}

// TestChromiumAccessible checks what a screen reader needs.
func TestChromiumAccessible(t *testing.T) {
	c := startChromium(t)
	url, _ := pageFile(t, mixedRun(t))
	tb := c.open(look{1280, 900, false})
	tb.show(url)
	tb.eval(`document.querySelector(".sample summary").click()`, nil)
	tb.until(`document.querySelector(".sample[open] pre")`)
	for what, bad := range map[string]string{
		"tables without a caption":           `[...document.querySelectorAll("table")].filter(t => !t.caption?.textContent)`,
		"header cells without a scope":       `[...document.querySelectorAll("th")].filter(h => !["col", "row"].includes(h.scope))`,
		"rows without a header":              `[...document.querySelectorAll("tbody tr")].filter(r => r.cells[0].tagName !== "TH")`,
		"pictures without a name":            `[...document.querySelectorAll("svg[role=img]")].filter(s => s.getAttribute("aria-labelledby").split(" ").some(id => !document.getElementById(id)?.textContent))`,
		"pictures that are neither":          `[...document.querySelectorAll("svg")].filter(s => s.getAttribute("role") !== "img" && s.getAttribute("aria-hidden") !== "true")`,
		"controls without a label":           `[...document.querySelectorAll("select, input")].filter(e => !e.labels.length)`,
		"buttons without a text":             `[...document.querySelectorAll("button")].filter(e => !e.textContent)`,
		"sections without a name":            `[...document.querySelectorAll("section")].filter(s => !document.getElementById(s.getAttribute("aria-labelledby"))?.textContent)`,
		"elements that jump the tab order":   `[...document.querySelectorAll("[tabindex]")].filter(e => e.tabIndex > 0)`,
		"ids that stand twice":               `[...document.querySelectorAll("[id]")].filter(e => document.querySelectorAll("#" + CSS.escape(e.id)).length > 1)`,
		"links that lead nowhere":            `[...document.querySelectorAll("a")].filter(a => !/^#c=/.test(a.getAttribute("href")) && !document.querySelector(a.getAttribute("href")))`,
		"headings that skip a level":         `[...document.querySelectorAll("h1, h2, h3")].filter((h, i, all) => i > 0 && h.tagName[1] - all[i - 1].tagName[1] > 1)`,
		"main headings but one":              `[...document.querySelectorAll("h1")].slice(1)`,
		"controls smaller than a fingertip":  `[...document.querySelectorAll("select, button, input[type=search]")].filter(e => e.getBoundingClientRect().height < 36)`,
		"things that only a mouse can click": `[...document.querySelectorAll("[onclick], div[role=button]")]`,
	} {
		var list []string
		tb.eval(bad+`.map(e => e.outerHTML.slice(0, 120))`, &list)
		if len(list) > 0 {
			t.Errorf("%s: %q", what, list)
		}
	}
	var tables, pictures int
	tb.eval(`document.querySelectorAll("table").length`, &tables)
	tb.eval(`document.querySelectorAll("svg[role=img]").length`, &pictures)
	if tables < 4 || pictures < 8 {
		t.Errorf("%d tables and %d pictures were looked at", tables, pictures)
	}
}

// TestChromiumFits looks at a report on a phone and on a desk, light and dark, and on paper.
func TestChromiumFits(t *testing.T) {
	c := startChromium(t)
	g, dir := smallGrid(), t.TempDir()
	g.labels[2] = "activation 0.2 absmax include " + strings.Repeat("q_proj,", 12)
	examples := g.write(t, dir, nil)
	url, _ := pageFile(t, load(t, dir, examples))
	for name, l := range map[string]look{
		"desk": {1280, 900, false}, "desk-dark": {1280, 900, true},
		"phone": {390, 844, false}, "phone-dark": {390, 844, true},
	} {
		tb := c.open(l)
		tb.show(url)
		tb.eval(`document.querySelectorAll(".sample")[1].querySelector("summary").click()`, nil)
		tb.until(`document.querySelector(".sample[open] pre")`)
		var wide int
		tb.eval("document.documentElement.scrollWidth", &wide)
		if wide > l.width {
			var who []string
			tb.eval(fmt.Sprintf(`[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > %d).map(e => e.outerHTML.slice(0, 80))`, l.width), &who)
			t.Errorf("%s: the page is %d pixels wide on a screen of %d: %q", name, wide, l.width, who)
		}
		var back string
		tb.eval("getComputedStyle(document.body).backgroundColor", &back)
		if dark := back != "rgb(255, 255, 255)"; dark != l.dark {
			t.Errorf("%s: the background is %s", name, back)
		}
		var small float64 // of a plot's letters, in pixels
		tb.eval(`Math.min(...[...document.querySelectorAll(".plot text")].map(e => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getScreenCTM().a))`, &small)
		if small < 10 {
			t.Errorf("%s: letters of %.1f pixels in a plot", name, small)
		}
		tb.picture(name + ".png")
		if name != "desk-dark" {
			continue
		}
		// Paper is white, whatever the screen is.
		tb.do("Emulation.setEmulatedMedia", map[string]any{
			"media":    "print",
			"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}},
		})
		tb.eval("getComputedStyle(document.body).backgroundColor", &back)
		var browser string
		tb.eval(`getComputedStyle(document.getElementById("browser")).display`, &browser)
		if back != "rgb(255, 255, 255)" || browser != "none" {
			t.Errorf("on paper the background is %s, and the browser of samples %s", back, browser)
		}
		var pdf struct{ Data string }
		must(t, tb.do("Page.printToPDF", map[string]any{"preferCSSPageSize": true, "printBackground": true}), &pdf)
		data, err := base64.StdEncoding.DecodeString(pdf.Data)
		if err != nil || !bytes.HasPrefix(data, []byte("%PDF")) {
			t.Fatalf("printing: %v, %.20q", err, data)
		}
		if n := bytes.Count(data, []byte("/Type /Page\n")); n < 2 || n > 8 {
			t.Errorf("%d pages", n)
		}
		tb.picture("paper.pdf")
	}
}

// TestChromiumOpensABigReport is the acceptance of size: 5 conditions x 5 seeds x 1,319 questions, under 15 MB, ready
// within two seconds.
func TestChromiumOpensABigReport(t *testing.T) {
	c := startChromium(t)
	dir, begin := t.TempDir(), time.Now()
	examples := bigGrid().write(t, dir, nil)
	t.Logf("made the run in %.1f s", time.Since(begin).Seconds())
	begin = time.Now()
	r := load(t, dir, examples)
	loaded := time.Since(begin)
	url, size := pageFile(t, r)
	t.Logf("read the run in %.1f s, made the report in %.1f s: %.1f MB for %d samples with %.1f MB of text",
		loaded.Seconds(), (time.Since(begin) - loaded).Seconds(), float64(size)/1e6, r.count,
		float64(sum(r.textBytes))/1e6)
	if r.count != 32975 || size >= 15_000_000 {
		t.Errorf("%d samples make a page of %d bytes, want 32975 and less than 15 MB", r.count, size)
	}
	best := 1 << 30
	for range 3 { // a busy machine is no fault of the page's
		tb := c.open(look{1280, 900, false})
		tb.show(url)
		var ready int
		tb.eval("Number(document.documentElement.dataset.ready)", &ready)
		best = min(best, ready)
		if n := tb.shown(); n != 32975 {
			t.Errorf("the browser shows %d samples", n)
		}
		var took float64
		tb.eval(`(async () => { const from = performance.now(); location.hash = "c=4&v=0&o=lost&p=3";
			await new Promise(done => setTimeout(done)); document.querySelectorAll(".sample")[20].querySelector("summary").click();
			while (!document.querySelector(".sample[open] mark")) await new Promise(done => setTimeout(done, 1)); return performance.now() - from; })()`, &took)
		t.Logf("ready after %d ms; filtered and the last sample of a page opened within %.0f ms", ready, took)
	}
	if best >= 2000 {
		t.Errorf("ready after %d ms at best, want less than 2000", best)
	}
	quiet(t, c, url)
}

func sum(list []int64) (total int64) {
	for _, n := range list {
		total += n
	}
	return total
}

// bigGrid has texts of about 700 bytes, as long as answers to GSM8K are.
func bigGrid() grid {
	g := smallGrid()
	g.noises, g.labels = []string{"{kind: none}"}, []string{"none"}
	for i := range 4 {
		g.noises = append(g.noises, fmt.Sprintf("{kind: activation, scale: %g}", 0.05*float64(i+1)))
		g.labels = append(g.labels, fmt.Sprintf("activation %g", 0.05*float64(i+1)))
	}
	g.temps, g.seeds, g.questions, g.sentences = []string{"T=1"}, 5, 1319, 8
	return g
}

// TestChromiumFollowsARun looks at a run in progress: the page shows what comes.
func TestChromiumFollowsARun(t *testing.T) {
	c := startChromium(t)
	g, dir := smallGrid(), t.TempDir()
	g.write(t, dir, nil)
	path := filepath.Join(dir, results.JournalFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	if err := os.WriteFile(path, bytes.Join(lines[:50], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	tb := c.open(look{1280, 900, false})
	tb.show(s.URL() + "#w=right")
	tb.until(`document.getElementById("live-state").textContent === "In progress: 50 of 216 samples."`)
	tb.until(`performance.getEntriesByName(new URL("version", location.href).href).length > 0`)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	tb.until(`document.getElementById("live-state")?.textContent === "Complete."`)
	tb.until(`document.documentElement?.dataset.ready`)
	var verdict string
	tb.eval(`document.getElementById("filter-w").value`, &verdict)
	if verdict != "right" {
		t.Errorf("after loading anew the filter is %q", verdict)
	}
	quiet(t, c, s.URL())
}
