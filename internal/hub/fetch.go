package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's hash, which is what the hub names small files by
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
)

// fetch brings a file into a snapshot, unless it is there.
func (c *Client) fetch(ctx context.Context, ref Ref, commit string, listed remoteFile, p *progress) error {
	r := c.repo(ref)
	if r.hasFile(commit, listed) {
		p.skip(listed.Size)
		return nil
	}
	f, err := c.head(ctx, ref, commit, listed)
	if err != nil {
		return err
	}
	p.expect(f.Size - max(listed.Size, 0)) // what the listing did not know
	if err := os.MkdirAll(filepath.Dir(r.blob(f.Hash)), 0o755); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w; HF_HUB_CACHE names another place for it", err)
	}
	release, alone, err := c.lock(ctx, r, f.Hash, f.Name)
	if err != nil {
		return err
	}
	defer release()
	blob := r.blob(f.Hash)
	if info, err := os.Stat(blob); err == nil && info.Size() == f.Size {
		p.skip(f.Size)
		return r.link(commit, f.Name, f.Hash)
	} else if err == nil {
		c.logf("%s has %d bytes in the cache and %d on the hub; downloading it again", f.Name, info.Size(), f.Size)
	}
	part := blob + ".incomplete"
	if !alone {
		part = fmt.Sprintf("%s.%d.incomplete", blob, os.Getpid())
		defer os.Remove(part) //nolint:errcheck // it is gone when all went well
	}
	if err := c.download(ctx, ref, commit, f, part, p); err != nil {
		return err
	}
	if err := os.Rename(part, blob); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	return r.link(commit, f.Name, f.Hash)
}

// partial is a file on its way.
type partial struct {
	*os.File
	want remoteFile
	sum  hash.Hash
	size int64
	p    *progress
}

// openPartial opens what an earlier attempt left of a file, or nothing.
func openPartial(path string, want remoteFile, p *progress) (*partial, error) {
	f, err := files.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) // its permissions are those of the finished file
	if err != nil {
		return nil, fmt.Errorf("writing to the hub's cache: %w", err)
	}
	d := &partial{File: f, want: want, p: p}
	d.resetHash()
	if info, err := f.Stat(); err == nil && info.Size() > want.Size {
		return d, d.restart()
	}
	if d.size, err = io.Copy(d.sum, f); err != nil {
		return d, fmt.Errorf("reading %s: %w", path, err)
	}
	p.add(d.size)
	return d, nil
}

// resetHash makes the hash that the file's name is: sha256, or git's, which is sha1 over a header and the contents.
func (d *partial) resetHash() {
	if len(d.want.Hash) == 2*sha256.Size {
		d.sum = sha256.New()
		return
	}
	d.sum = sha1.New() //nolint:gosec // see the import
	_, _ = fmt.Fprintf(d.sum, "blob %d\x00", d.want.Size)
}

// restart throws away what is there.
func (d *partial) restart() error {
	d.p.add(-d.size)
	d.size = 0
	d.resetHash()
	if err := d.Truncate(0); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	return nil
}

// Write appends and hashes; more than was announced is an error.
func (d *partial) Write(b []byte) (int, error) {
	if d.size+int64(len(b)) > d.want.Size {
		return 0, fmt.Errorf("%w: it is longer than the %d bytes announced", ErrDamaged, d.want.Size)
	}
	n, err := d.File.Write(b)
	_, _ = d.sum.Write(b[:n]) // a hash never fails
	d.size += int64(n)
	d.p.add(int64(n))
	return n, err
}

func (d *partial) hashMatches() bool { return hex.EncodeToString(d.sum.Sum(nil)) == d.want.Hash }

// download completes a file and checks it. A copy whose hash is wrong is thrown away, and fetched once more: what was
// resumed may be the damaged part.
func (c *Client) download(
	ctx context.Context, ref Ref, commit string, f remoteFile, path string, p *progress,
) (err error) {
	if err := enoughSpace(filepath.Dir(path), f, path); err != nil {
		return err
	}
	d, err := openPartial(path, f, p)
	if d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
	}
	if err != nil {
		return err
	}
	if d.size > 0 && d.size < f.Size {
		c.logf("%s: going on at %s of %s", f.Name, megabytes(d.size), megabytes(f.Size))
	}
	for again := false; ; again = true {
		furthest := d.size // not where it was before: a server may begin anew for ever
		if err := c.retry(ctx, func() (bool, error) {
			err := c.get(ctx, ref, commit, d)
			progressed := d.size > furthest
			furthest = max(furthest, d.size)
			return progressed, err
		}); err != nil {
			return fmt.Errorf("downloading %s of %s: %w", f.Name, ref.ID, err)
		}
		if d.hashMatches() {
			break
		}
		got := hex.EncodeToString(d.sum.Sum(nil))
		if err := d.restart(); err != nil {
			return err
		}
		if again {
			return fmt.Errorf("downloading %s of %s: %w: its hash is %s, the hub names %s; the copy was thrown away. "+
				"A proxy or mirror on the way is at fault",
				f.Name, ref.ID, ErrDamaged, got, f.Hash)
		}
		c.logf("%s is damaged (its hash is %s instead of %s); downloading it again", f.Name, got, f.Hash)
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("writing to the hub's cache: %w", err)
	}
	return nil
}

// get asks for the rest of a file.
func (c *Client) get(ctx context.Context, ref Ref, commit string, d *partial) error {
	if d.size == d.want.Size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.stall, func() { cancel(errStalled) })
	defer watch.Stop()
	header := http.Header{}
	if d.size > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.size))
	}
	resp, err := c.request(ctx, http.MethodGet, c.address(ref, commit, d.want.Name), header)
	if err != nil {
		return stalled(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	switch resp.StatusCode {
	case http.StatusOK: // the whole, whether or not a part was asked for
		if err := d.restart(); err != nil {
			return err
		}
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/%d", d.size, d.want.Size-1, d.want.Size)
		if got := resp.Header.Get("Content-Range"); got != want {
			if err := d.restart(); err != nil {
				return err
			}
			return transient{fmt.Errorf("%s was asked for %s and sends %q",
				printable(resp.Request.URL.Host), want, printable(got)), 0}
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if err := d.restart(); err != nil {
			return err
		}
		return transient{fmt.Errorf("%s has no such part of %s", printable(resp.Request.URL.Host), d.want.Name), 0}
	default:
		return c.responseError(ref, d.want.Name, resp)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{d}, &watched{resp.Body, watch, c.stall}, make([]byte, 1<<20))
	var path *os.PathError
	switch {
	case errors.Is(err, ErrDamaged):
		return errors.Join(err, d.restart())
	case errors.As(err, &path):
		return fmt.Errorf("writing to the hub's cache: %w; HF_HUB_CACHE names another place for it", err)
	case err != nil:
		return stalled(ctx, c.networkError(ctx, printable(resp.Request.URL.Host), err))
	case d.size < d.want.Size:
		return transient{fmt.Errorf("%s ended at %s of %s", d.want.Name, megabytes(d.size), megabytes(d.want.Size)), 0}
	}
	return nil
}

// stalled tells a transfer that this side cut because it stood still from one that the user interrupts.
func stalled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return transient{errStalled, 0}
	}
	return err
}

// watched puts a watch off for as long as something comes.
type watched struct {
	r     io.Reader
	watch *time.Timer
	stall time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.watch.Reset(w.stall)
	}
	return n, err
}

// enoughSpace refuses a file that the disk has no room for.
func enoughSpace(dir string, f remoteFile, part string) error {
	need := f.Size
	if info, err := os.Stat(part); err == nil {
		need -= min(info.Size(), need)
	}
	var disk syscall.Statfs_t
	err := syscall.Statfs(dir, &disk) // what cannot be measured shows when it is written
	if free := int64(min(disk.Bavail, 1<<40)) * disk.Bsize; err == nil && need > free {
		return fmt.Errorf("%s needs %s, and %s has %s free; make room, or set HF_HUB_CACHE to another place",
			f.Name, megabytes(need), dir, megabytes(free))
	}
	return nil
}

func megabytes(n int64) string {
	s := fmt.Sprintf("%.1f", float64(n)/1e6)
	return strings.TrimSuffix(s, ".0") + " MB"
}
