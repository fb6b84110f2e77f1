package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const maxRedirects = 10

// request sends one request and follows redirects. The token is sent to the endpoint's own scheme, host and port only.
// A HEAD request stops where a redirect leaves the endpoint: what it asks for stands in that answer.
func (c *Client) request(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("the address %q: %w", printable(address), err)
	}
	home, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("HF_ENDPOINT: %w", err)
	}
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", printable(u.Host), err)
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", "gsmeval")
		req.Header.Set("Accept-Encoding", "identity") // sizes and hashes are those of the file itself
		if c.Token != "" && sameOrigin(u, home) {
			req.Header.Set("Authorization", "Bearer "+c.Token)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, c.networkError(ctx, printable(u.Host), err)
		}
		c.reached = true
		location := resp.Header.Get("Location")
		if resp.StatusCode/100 != 3 || location == "" {
			return resp, nil
		}
		next, err := u.Parse(location)
		if err == nil && method == http.MethodHead && !sameOrigin(next, home) {
			return resp, nil
		}
		_ = resp.Body.Close() // nothing of it is wanted
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s redirects to no address at all", printable(u.Host))
		case next.Scheme != "https" && (next.Scheme != "http" || u.Scheme == "https"):
			return nil, fmt.Errorf("%s redirects from %s to %q, which is refused",
				printable(u.Host), u.Scheme, printable(next.Scheme))
		}
		u = next
	}
	return nil, fmt.Errorf("%s redirects more than %d times", printable(u.Host), maxRedirects)
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// remoteFile is a file of a repository as the hub lists it. Size is -1 and Hash empty where the hub does not say.
type remoteFile struct {
	Name string
	Size int64
	Hash string // sha256 of a large file, git's hash of a small one
}

// listing is a repository at a commit.
type listing struct {
	Commit string
	Files  map[string]remoteFile
	Names  []string // in the hub's order
}

// maxListing bounds the answer to a question about a repository; 100,000 files take about 30 MB.
const maxListing = 64 << 20

// list asks which commit a revision is and which files it has.
func (c *Client) list(ctx context.Context, ref Ref) (*listing, error) {
	address := fmt.Sprintf("%s/api/%ss/%s/revision/%s?blobs=true",
		c.Endpoint, string(ref.Kind), ref.ID, url.PathEscape(ref.Revision))
	var found *listing
	err := c.retry(ctx, func() (bool, error) {
		resp, err := c.request(ctx, http.MethodGet, address, nil)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close() //nolint:errcheck // it was only read
		if resp.StatusCode != http.StatusOK {
			return false, c.responseError(ref, "a revision", resp)
		}
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxListing+1))
		if err != nil {
			return false, c.networkError(ctx, printable(resp.Request.URL.Host), err)
		}
		if len(data) > maxListing {
			return false, fmt.Errorf("%s: its list of files has more than %d MB", ref, maxListing>>20)
		}
		found, err = parseListing(data)
		if err != nil {
			return false, fmt.Errorf("%s: %s does not answer as a hub does (%w); check HF_ENDPOINT and the proxy",
				ref, printable(resp.Request.URL.Host), err)
		}
		return false, nil
	})
	return found, err
}

func parseListing(data []byte) (*listing, error) {
	var raw struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   *int64 `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   *int64 `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, errors.New("not JSON of the expected form")
	}
	if !commitHash.MatchString(raw.SHA) {
		return nil, fmt.Errorf("its commit is %q", printable(raw.SHA))
	}
	l := &listing{Commit: raw.SHA, Files: make(map[string]remoteFile, len(raw.Siblings))}
	for _, s := range raw.Siblings {
		f := remoteFile{Name: s.Name, Size: -1, Hash: s.BlobID}
		if s.Size != nil {
			f.Size = *s.Size
		}
		if s.LFS != nil {
			f.Hash = s.LFS.SHA256
			if s.LFS.Size != nil {
				f.Size = *s.LFS.Size
			}
		}
		if !blobHash.MatchString(f.Hash) {
			f.Hash = ""
		}
		l.Files[s.Name] = f
		l.Names = append(l.Names, s.Name)
	}
	return l, nil
}

// address is where a file of a commit is.
func (c *Client) address(ref Ref, commit, name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return c.Endpoint + "/" + ref.Kind.urlPrefix() + ref.ID + "/resolve/" + commit + "/" + strings.Join(parts, "/")
}

// head completes what the listing says of a file with what the file's own address says.
func (c *Client) head(ctx context.Context, ref Ref, commit string, listed remoteFile) (remoteFile, error) {
	f := listed
	err := c.retry(ctx, func() (bool, error) {
		resp, err := c.request(ctx, http.MethodHead, c.address(ref, commit, listed.Name), nil)
		if err != nil {
			return false, err
		}
		_ = resp.Body.Close() // a HEAD has none
		if resp.StatusCode != http.StatusOK && resp.StatusCode/100 != 3 {
			return false, c.responseError(ref, listed.Name, resp)
		}
		f, err = described(listed, commit, resp)
		if err != nil {
			return false, fmt.Errorf("%s: %s: %w", ref, listed.Name, err)
		}
		return false, nil
	})
	return f, err
}

// described reads hash and size from the headers of a file's address.
func described(f remoteFile, commit string, resp *http.Response) (remoteFile, error) {
	if got := resp.Header.Get("X-Repo-Commit"); got != commit {
		return f, fmt.Errorf("the server names the commit %q instead of %s; HF_ENDPOINT is no hub, or a proxy "+
			"answers for it", printable(got), commit)
	}
	etag := resp.Header.Get("X-Linked-Etag")
	if etag == "" {
		etag = resp.Header.Get("Etag")
	}
	if etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`); blobHash.MatchString(etag) {
		if f.Hash != "" && f.Hash != etag {
			return f, fmt.Errorf("%w: the hub lists the hash %s and serves %s; try again later",
				ErrDamaged, f.Hash, etag)
		}
		f.Hash = etag
	}
	if f.Hash == "" {
		return f, errors.New("the hub names no hash to check it by")
	}
	size := resp.Header.Get("X-Linked-Size")
	if size == "" && resp.StatusCode == http.StatusOK {
		size = resp.Header.Get("Content-Length")
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		if f.Size >= 0 && f.Size != n {
			return f, fmt.Errorf("%w: the hub lists %d bytes and serves %d; try again later", ErrDamaged, f.Size, n)
		}
		f.Size = n
	}
	if f.Size < 0 {
		return f, errors.New("the hub does not say how long it is")
	}
	return f, nil
}
