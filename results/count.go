package results

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Count is how far a journal has come.
type Count struct {
	Records int
	Torn    bool      // the last line is not whole: it is being written, or its writer was cut short
	Written time.Time // when the file was last written, by the clock of its file system
}

// CountRecords counts the lines of a journal and checks the last one. It takes no lock and reads no record, so that a
// run can be looked at from anywhere while it is written; a journal that is not there has no records.
func CountRecords(path string) (Count, error) {
	f, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Count{}, nil
	}
	if err != nil {
		return Count{}, fmt.Errorf("counting samples: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return Count{}, fmt.Errorf("counting samples: %w", err)
	}
	c := Count{Written: info.ModTime()}
	buf := make([]byte, 1<<20)
	var at, last, end int64 // of the last whole line: its first byte and the one after its newline
	for {
		n, err := f.Read(buf)
		for part, from := buf[:n], at; len(part) > 0; {
			i := bytes.IndexByte(part, '\n')
			if i < 0 {
				break
			}
			c.Records++
			from += int64(i) + 1
			last, end = end, from
			part = part[i+1:]
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Count{}, fmt.Errorf("counting samples: %w", err)
		}
	}
	c.Torn = end < at
	if c.Records == 0 || end-last > maxLine {
		return c, nil
	}
	line := make([]byte, end-last-1)
	if _, err := f.ReadAt(line, last); err != nil {
		return Count{}, fmt.Errorf("counting samples: %w", err)
	}
	if !intact(line) {
		c.Records--
		c.Torn = true
	}
	return c, nil
}
