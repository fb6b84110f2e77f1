package report

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// chromium is a real headless Chromium, driven by its DevTools protocol over a pipe.
type chromium struct {
	t    *testing.T
	in   *os.File
	mu   sync.Mutex
	last int
	wait map[int]chan reply
	log  []string // console messages, security reports and addresses asked for
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// startChromium starts the program that GSMEVAL_CHROMIUM names, or skips the test.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	path := os.Getenv("GSMEVAL_CHROMIUM")
	if path == "" {
		t.Skip("set GSMEVAL_CHROMIUM to the path of a Chromium to look at reports in it")
	}
	commands, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", //nolint:noctx // ended below
		"--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(),
		"about:blank")
	cmd.ExtraFiles = []*os.File{commands, answers}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	_ = commands.Close()
	_ = answers.Close()
	c := &chromium{t: t, in: in, wait: map[int]chan reply{}}
	go c.read(out)
	t.Cleanup(func() {
		_ = in.Close()
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("chromium: %s", stderr.String())
		}
	})
	return c
}

func (c *chromium) read(out *os.File) {
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m reply
		if json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &m) != nil {
			continue
		}
		c.mu.Lock()
		switch {
		case m.ID != 0:
			c.wait[m.ID] <- m
		case m.Method == "Log.entryAdded", m.Method == "Runtime.exceptionThrown",
			m.Method == "Runtime.consoleAPICalled":
			c.log = append(c.log, string(m.Params))
		case m.Method == "Network.requestWillBeSent":
			var p struct {
				Request struct {
					URL string `json:"url"`
				} `json:"request"`
			}
			if json.Unmarshal(m.Params, &p) == nil {
				c.log = append(c.log, "request "+p.Request.URL)
			}
		}
		c.mu.Unlock()
	}
}

// send does one command and returns its result.
func (c *chromium) send(session, method string, params any) json.RawMessage {
	c.t.Helper()
	got := make(chan reply, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.wait[id] = got
	c.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if session != "" {
		m["sessionId"] = session
	}
	data, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.in.Write(append(data, 0)); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	select {
	case r := <-got:
		if r.Error != nil {
			c.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		return r.Result
	case <-time.After(60 * time.Second):
		c.t.Fatalf("%s: no answer in a minute", method)
	}
	return nil
}

// tab is a page of a size and a colour scheme.
type tab struct {
	*chromium
	session string
}

type look struct {
	width, height int
	dark          bool
}

func (c *chromium) open(l look) *tab {
	c.t.Helper()
	var target struct {
		ID string `json:"targetId"`
	}
	must(c.t, c.send("", "Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	var s struct {
		ID string `json:"sessionId"`
	}
	must(c.t, c.send("", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}), &s)
	tb := &tab{c, s.ID}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		tb.do(domain+".enable", nil)
	}
	tb.do("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": l.width, "height": l.height,
		"deviceScaleFactor": 1, "mobile": l.width < 600,
	})
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	tb.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{
		"name":  "prefers-color-scheme",
		"value": scheme,
	}}})
	return tb
}

func must(t *testing.T, data json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func (tb *tab) do(method string, params any) json.RawMessage {
	tb.t.Helper()
	return tb.send(tb.session, method, params)
}

// eval runs a JavaScript expression, awaits its promise and reads its value into a Go one.
func (tb *tab) eval(expression string, into any) {
	tb.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	must(tb.t, tb.do("Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true,
		"returnByValue": true,
	}), &r)
	if r.Exception != nil {
		tb.t.Fatalf("%s: %s", expression, r.Exception)
	}
	if into != nil {
		must(tb.t, r.Result.Value, into)
	}
}

// until waits until an expression is true.
func (tb *tab) until(expression string) {
	tb.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		var ok bool
		tb.eval("Boolean("+expression+")", &ok)
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	tb.t.Fatalf("not within 30 s: %s", expression)
}

// show opens an address and waits until the browser of samples stands there.
func (tb *tab) show(url string) {
	tb.t.Helper()
	tb.do("Page.navigate", map[string]any{"url": url})
	if !strings.HasPrefix(url, "about:") {
		tb.until("document.documentElement?.dataset.ready")
	}
}

// key presses a key.
func (tb *tab) key(name string) {
	tb.t.Helper()
	code := map[string]int{"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}[name]
	press := map[string]any{"type": "keyDown", "key": name, "windowsVirtualKeyCode": code}
	if text := map[string]string{"Enter": "\r", " ": " "}[name]; text != "" {
		press["text"] = text
	}
	tb.do("Input.dispatchKeyEvent", press)
	tb.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "windowsVirtualKeyCode": code})
}

// picture keeps the whole page as a PNG where GSMEVAL_PICTURES names a directory, to be looked at.
func (tb *tab) picture(name string) {
	tb.t.Helper()
	dir := os.Getenv("GSMEVAL_PICTURES")
	if dir == "" {
		return
	}
	method, params := "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}
	if strings.HasSuffix(name, ".pdf") {
		method, params = "Page.printToPDF", map[string]any{"preferCSSPageSize": true, "printBackground": true}
	} else {
		var size struct {
			CSS struct{ Width, Height float64 } `json:"cssContentSize"`
		}
		must(tb.t, tb.do("Page.getLayoutMetrics", nil), &size)
		params["clip"] = map[string]any{
			"x": 0, "y": 0, "width": size.CSS.Width, "height": min(size.CSS.Height, 16000),
			"scale": 1,
		}
	}
	var r struct {
		Data string `json:"data"`
	}
	must(tb.t, tb.do(method, params), &r)
	data, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name, data, 0o600); err != nil {
		tb.t.Fatal(err)
	}
}

// messages are what the console and the security policy said, and which addresses were asked for.
func (c *chromium) messages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.log...)
}
