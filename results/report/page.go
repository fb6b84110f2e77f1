package report

import (
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page.html
var pageText string

//go:embed style.css
var styleText string

//go:embed browser.js
var scriptText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// The style and the script as they stand in the page. The policy names them by their hashes, so not a byte may change
// on the way: they are put in as whole elements.
var (
	styleElement  = template.HTML("<style>" + styleText + "</style>")    //nolint:gosec // a file of this package
	scriptElement = template.HTML("<script>" + scriptText + "</script>") //nolint:gosec // a file of this package
)

// policy is the page's content security policy: nothing is loaded, and nothing runs but this style and this script. A
// page that is served may ask its server whether there is news.
func policy(live bool) string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	connect := "'none'"
	if live {
		connect = "'self'"
	}
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; connect-src %s; base-uri 'none'; "+
		"form-action 'none'",
		hash(scriptText), hash(styleText), connect)
}

// dataElements are the browser's data: elements that no browser runs, of letters and digits alone.
func dataElements(blocks []string) template.HTML {
	var b strings.Builder
	for i, block := range blocks {
		fmt.Fprintf(&b, "<script type=\"application/gzip\" id=\"data-%d\">%s</script>\n", i, block)
	}
	return template.HTML(b.String()) //nolint:gosec // base64 has no character that means anything in HTML
}
