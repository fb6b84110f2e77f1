package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Why the hub does not give something. The errors of this package say more and wrap one of these where it applies.
var (
	ErrNotFound     = errors.New("not found")
	ErrNoRevision   = errors.New("no such revision")
	ErrNoFile       = errors.New("no such file")
	ErrGated        = errors.New("gated")
	ErrUnauthorised = errors.New("not authorised")
	ErrRateLimited  = errors.New("rate limited")
	ErrUnreachable  = errors.New("cannot be reached")
	ErrNotCached    = errors.New("not in the cache")
	ErrDamaged      = errors.New("damaged")
)

// maxRetryAfter is the longest wait that the hub may ask for.
const maxRetryAfter = 5 * time.Minute

// transient marks an error that may pass. after is how long the hub asks to wait, 0 where it does not say.
type transient struct {
	err   error
	after time.Duration
}

func (t transient) Error() string { return t.err.Error() }
func (t transient) Unwrap() error { return t.err }

// responseError explains an answer that is no success.
func (c *Client) responseError(ref Ref, what string, resp *http.Response) error {
	code, message := resp.Header.Get("X-Error-Code"), printable(resp.Header.Get("X-Error-Message"))
	page := c.Endpoint + "/" + ref.Kind.urlPrefix() + ref.ID
	token := "set HF_TOKEN to a token of an account that may read it (" + c.Endpoint + "/settings/tokens)"
	if c.Token != "" {
		token = "the token in use has no access to it"
	}
	switch status := resp.StatusCode; {
	case code == "RevisionNotFound":
		return fmt.Errorf("%s has %w %q; its branches and commits are listed at %s/commits",
			ref.ID, ErrNoRevision, ref.Revision, page)
	case code == "EntryNotFound":
		return fmt.Errorf("%s has %w as %s", ref, ErrNoFile, what)
	case code == "GatedRepo":
		return fmt.Errorf("%s is %w: accept its terms at %s, then set HF_TOKEN to a token of that account "+
			"(%s/settings/tokens)", ref.ID, ErrGated, page, c.Endpoint)
	case message == "Access to this resource is disabled.":
		return fmt.Errorf("%s is %w to anybody: the hub has disabled it", ref.ID, ErrUnauthorised)
	case status == http.StatusUnauthorized && strings.HasPrefix(message, "Invalid credentials"):
		return fmt.Errorf("%s: %w: the hub does not know the token in use; make a new one at %s/settings/tokens, or "+
			"unset HF_TOKEN", ref.ID, ErrUnauthorised, c.Endpoint)
	case code == "RepoNotFound", status == http.StatusUnauthorized, status == http.StatusNotFound:
		return fmt.Errorf("%s %s: %w at %s: check the name; if it is private, %s",
			ref.Kind, ref.ID, ErrNotFound, c.Endpoint, token)
	case status == http.StatusForbidden:
		return fmt.Errorf("%s: %w (403%s): %s", ref, ErrUnauthorised, prefixed(": ", message), token)
	case status == http.StatusTooManyRequests:
		wait := retryAfter(resp.Header, time.Now())
		err := fmt.Errorf("%s: %w by %s%s; wait%s, or set HF_TOKEN for a higher limit",
			ref, ErrRateLimited, c.Endpoint, prefixed(": ", message), prefixed(" ", waitText(wait)))
		if wait > maxRetryAfter {
			return err
		}
		return transient{err, wait}
	case status == http.StatusRequestTimeout, status >= 500:
		err := fmt.Errorf("%s: %s answers %s%s; try again later",
			ref, printable(resp.Request.URL.Host), resp.Status, prefixed(": ", message))
		wait := retryAfter(resp.Header, time.Now())
		if wait > maxRetryAfter {
			return err
		}
		return transient{err, wait}
	default:
		return fmt.Errorf("%s: %s answers %s%s for %s",
			ref, printable(resp.Request.URL.Host), resp.Status, prefixed(": ", message), what)
	}
}

// waitText is a wait for a message, nothing where it is not known.
func waitText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.Round(time.Second).String()
}

// prefixed is a mark and a text behind it, or nothing where there is no text.
func prefixed(mark, text string) string {
	if text == "" {
		return ""
	}
	return mark + text
}

// printable makes what a server says fit for one line of a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if s = strings.TrimSpace(s); len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}

var rateReset = regexp.MustCompile(`r=0;t=(\d{1,6})`)

// retryAfter is how long the hub asks to wait: Retry-After in seconds or as a date, or the hub's own RateLimit header.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		if m := rateReset.FindStringSubmatch(strings.ReplaceAll(h.Get("RateLimit"), " ", "")); m != nil {
			v = m[1]
		}
	}
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(v); err == nil && date.After(now) {
		return date.Sub(now)
	}
	return 0
}

// networkError explains why no answer came. Addresses are left out but for the host: those of a CDN carry signatures.
func (c *Client) networkError(ctx context.Context, host string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	explained := fmt.Errorf("%s %w: %w; check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use what is "+
		"cached", host, ErrUnreachable, err)
	var op *net.OpError
	if !c.reached && errors.As(err, &op) && op.Op == "dial" {
		return explained // there is no network, or no hub: nothing to wait for
	}
	var timeout net.Error
	if errors.As(err, &timeout) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, errStalled) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "server closed") {
		return transient{explained, 0}
	}
	return explained
}

// errStalled ends a transfer that has stopped moving.
var errStalled = errors.New("the connection brings nothing any more")

// attempts is how often in a row something is tried that brings nothing.
const attempts = 5

// retry calls f until it succeeds, fails for good, or has failed too often in a row without moving on.
func (c *Client) retry(ctx context.Context, f func() (progressed bool, err error)) error {
	failed := 0
	for {
		progressed, err := f()
		var t transient
		if err == nil || !errors.As(err, &t) {
			return err
		}
		if progressed {
			failed = 0
		}
		if failed++; failed == attempts {
			return fmt.Errorf("%w (tried %d times)", t.err, attempts)
		}
		wait := max(t.after, time.Second<<(failed-1))
		c.logf("%v; trying again in %s", t.err, wait)
		select {
		case <-c.sleep(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
