package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/lease"
)

// waitNotice is how often a process that waits says so.
const waitNotice = 30 * time.Second

// lock takes the lock under which the Python library downloads the same blob, too, and waits while another process has
// it. alone is false on file systems that know no such locks.
func (c *Client) lock(ctx context.Context, r repo, hash, name string) (release func(), alone bool, err error) {
	path := filepath.Join(r.locks, hash+".lock")
	if err := os.MkdirAll(r.locks, 0o755); err != nil {
		return nil, false, fmt.Errorf("locking the hub's cache: %w", err)
	}
	var said time.Time
	for {
		f, err := files.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
		if err != nil {
			return nil, false, fmt.Errorf("locking the hub's cache: %w", err)
		}
		release = func() { _ = f.Close() } // the file stays: another process may be waiting for it
		err = lease.Flock(f)
		switch {
		case err == nil && lease.HasName(f, path):
			return release, true, nil
		case err == nil: // the last holder removed the file between the two calls
			release()
			continue
		case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOLCK),
			errors.Is(err, syscall.EINVAL):
			return release, false, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			release()
			return nil, false, fmt.Errorf("locking %s: %w", path, err)
		}
		release()
		if time.Since(said) > waitNotice {
			c.logf("another process is downloading %s; waiting for it (its lock is %s)", name, path)
			said = time.Now()
		}
		select {
		case <-time.After(c.lockPoll):
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}
