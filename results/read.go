package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/gsmeval/gsmeval/internal/files"
)

// TornError says that the last line of a journal is not whole, as a write that was cut short leaves it. The records
// before Offset are good.
type TornError struct {
	Path   string
	Line   int   // from 1
	Offset int64 // of the line's first byte
	Size   int64 // bytes from Offset to the end of the file
}

func (e *TornError) Error() string {
	return fmt.Sprintf("%s: the last line (line %d, byte %d) is not whole: its writer was cut short, "+
		"or is still at work", e.Path, e.Line, e.Offset)
}

// DamageError says that a journal was changed after it was written.
type DamageError struct {
	Path   string
	Line   int   // from 1
	Offset int64 // of the line's first byte
	Reason error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: line %d (byte %d) is damaged: %v: "+
		"restore the file from a copy, or keep its first %d bytes only and resume the run",
		e.Path, e.Line, e.Offset, e.Reason, e.Offset)
}

func (e *DamageError) Unwrap() error { return e.Reason }

// FingerprintError says that a record belongs to another run.
type FingerprintError struct {
	Path      string
	Line      int   // from 1
	Offset    int64 // of the line's first byte
	Want, Got string
}

func (e *FingerprintError) Error() string {
	return fmt.Sprintf("%s: line %d (byte %d) belongs to the run with fingerprint %s, not to %s", e.Path, e.Line,
		e.Offset, e.Got, e.Want)
}

// Read returns the records of a journal in the order of the file, checked one by one and never held together. An empty
// fingerprint stands for that of the first record. Reading stops at the first error: a *TornError after the last good
// record, a *DamageError or a *FingerprintError where the record is refused. It takes no lock, so that a run can be
// looked at while it is written.
func Read(path, fingerprint string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		f, err := files.Open(path)
		if err != nil {
			yield(Record{}, fmt.Errorf("opening the journal: %w", err))
			return
		}
		defer f.Close() //nolint:errcheck // nothing was written
		stop := errors.New("stopped")
		err = scan(path, f, fingerprint, func(r *Record, _ []byte, _ int64) error {
			if !yield(*r, nil) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(Record{}, err)
		}
	}
}

// scan calls fn with every record, its line (newline included, valid until fn returns) and the line's offset. An error
// of fn ends it; a *DamageError of fn is completed with the place.
func scan(path string, r io.Reader, fingerprint string, fn func(r *Record, line []byte, offset int64) error) error {
	lines := lineReader{br: bufio.NewReaderSize(r, 1<<16)}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		rec, err := line.parse()
		if errors.Is(err, errTorn) {
			last, perr := lines.atEnd()
			if perr != nil {
				return fmt.Errorf("reading %s: %w", path, perr)
			}
			if last {
				return &TornError{Path: path, Line: line.number, Offset: line.offset, Size: lines.offset - line.offset}
			}
		}
		if err != nil {
			return &DamageError{Path: path, Line: line.number, Offset: line.offset, Reason: err}
		}
		if fingerprint == "" {
			fingerprint = rec.Run
		}
		if rec.Run != fingerprint {
			return &FingerprintError{
				Path: path, Line: line.number, Offset: line.offset, Want: fingerprint,
				Got: rec.Run,
			}
		}
		if err := fn(&rec, line.data, line.offset); err != nil {
			var damage *DamageError
			if errors.As(err, &damage) {
				damage.Path, damage.Line, damage.Offset = path, line.number, line.offset
			}
			return err
		}
	}
}

// A line is what lies between two newlines of a journal.
type line struct {
	data   []byte // newline included; valid until the next line is read
	offset int64
	number int // from 1
	long   bool
}

func (l line) parse() (Record, error) {
	if l.long || !bytes.HasSuffix(l.data, []byte{'\n'}) {
		return Record{}, errTorn
	}
	return parseLine(l.data[:len(l.data)-1])
}

// lineReader reads lines of bounded length: what exceeds maxLine is skipped.
type lineReader struct {
	br     *bufio.Reader
	buf    []byte
	offset int64
	number int
}

func (l *lineReader) next() (line, error) {
	l.buf = l.buf[:0]
	l.number++
	out := line{offset: l.offset, number: l.number}
	for {
		part, err := l.br.ReadSlice('\n')
		l.offset += int64(len(part))
		if len(l.buf)+len(part) > maxLine {
			out.long = true
		} else {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			if l.offset == out.offset {
				return out, io.EOF
			}
		case err != nil:
			return out, err
		}
		out.data = l.buf
		return out, nil
	}
}

// atEnd reports whether the line that was read last is the file's last.
func (l *lineReader) atEnd() (bool, error) {
	_, err := l.br.Peek(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
