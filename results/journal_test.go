package results

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/lease"
)

// complete appends what the journal lacks of keys, in batches, and puts it in order.
func complete(t *testing.T, path string, keys []Key, batch int) []byte {
	t.Helper()
	j, err := Open(path, testRun)
	if err != nil {
		t.Fatal(err)
	}
	fillJournal(t, j, keys, batch)
	if err := j.Finalize(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return readFile(t, path)
}

func fillJournal(t *testing.T, j *Journal, keys []Key, batch int) {
	t.Helper()
	var todo []Record
	for _, k := range keys {
		if !j.Has(k) {
			todo = append(todo, testRecord(k))
		}
	}
	for part := range slices.Chunk(todo, batch) {
		if err := j.Append(part); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func shuffled(keys []Key) []Key {
	out := slices.Clone(keys)
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out
}

func TestJournalFinalizeIsCanonical(t *testing.T) {
	t.Parallel()
	keys := sampled(testGrid(2, 2, 2, 9), 2)
	var want []byte
	for _, k := range keys {
		r := testRecord(k)
		var err error
		if want, err = r.AppendLine(want); err != nil {
			t.Fatal(err)
		}
	}
	for _, batch := range []int{1, 7, 100} {
		path := filepath.Join(t.TempDir(), "samples.jsonl")
		if got := complete(t, path, shuffled(keys), batch); !bytes.Equal(got, want) {
			t.Errorf("batches of %d: the file is not the records in canonical order", batch)
		}
		if got := complete(t, path, keys, batch); !bytes.Equal(got, want) {
			t.Errorf("batches of %d: finalizing again has changed the file", batch)
		}
		names, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(names, []string{path}) {
			t.Errorf("files left: %v", names)
		}
	}
}

func TestJournalGoesOnAfterFinalize(t *testing.T) {
	t.Parallel()
	keys := testGrid(1, 2, 1, 5)
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	j, err := Open(path, testRun)
	if err != nil {
		t.Fatal(err)
	}
	fillJournal(t, j, []Key{keys[7], keys[2]}, 1)
	if err := j.Finalize(); err != nil {
		t.Fatal(err)
	}
	fillJournal(t, j, shuffled(keys), 3)
	if j.Len() != len(keys) {
		t.Errorf("%d records, want %d", j.Len(), len(keys))
	}
	i := 0
	for r, err := range j.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Key() != keys[i] {
			t.Errorf("record %d is %v, want %v", i, r.Key(), keys[i])
		}
		i++
	}
	if i != len(keys) {
		t.Errorf("%d records read, want %d", i, len(keys))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]Record{testRecord(keys[0])}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("appending to a closed journal: %v", err)
	}
}

// TestJournalIsCheckedAsItIsRead: a record that is refused leaves the journal as it is, its torn last line too.
func TestJournalIsCheckedAsItIsRead(t *testing.T) {
	t.Parallel()
	m := newMemFS()
	whole := m.finish(t, "whole", testGrid(1, 2, 1, 3), 2)
	torn := whole[:len(whole)-5]
	m.put("torn", torn)
	asked := 0
	refuse := func(*Record) error {
		if asked++; asked == 2 {
			return errors.New("of other temperatures")
		}
		return nil
	}
	if _, err := openLocked(m, "torn", testRun, nil, refuse); err == nil || err.Error() != "torn: of other temperatures" {
		t.Errorf("error %v", err)
	}
	if asked != 2 || !bytes.Equal(m.get(t, "torn"), torn) {
		t.Errorf("asked %d times; the journal was changed: %v", asked, !bytes.Equal(m.get(t, "torn"), torn))
	}
}

func TestJournalCutAtEveryByte(t *testing.T) {
	t.Parallel()
	keys := testGrid(1, 2, 1, 3)
	m := newMemFS()
	want := m.finish(t, "whole", keys, 2)
	j, err := openLocked(m, "unsorted", testRun, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	fillJournal(t, j, shuffled(keys), 2)
	whole := m.get(t, "unsorted")
	for n := range len(whole) + 1 {
		name := fmt.Sprintf("cut-%d", n)
		m.put(name, whole[:n])
		tail := whole[bytes.LastIndexByte(whole[:n], '\n')+1 : n]
		j, err := openLocked(m, name, testRun, nil, nil)
		if err != nil {
			t.Fatalf("cut at byte %d: %v", n, err)
		}
		if (j.Torn() != "") != (len(tail) > 0) {
			t.Fatalf("cut at byte %d: a tail of %d bytes, and its copy is %q", n, len(tail), j.Torn())
		}
		if j.Torn() != "" {
			if got := m.get(t, j.Torn()); !bytes.Equal(got, tail) {
				t.Fatalf("cut at byte %d: the copy holds %q, want %q", n, got, tail)
			}
		}
		if j.Len() != bytes.Count(whole[:n], []byte{'\n'}) {
			t.Fatalf("cut at byte %d: %d records", n, j.Len())
		}
		if got := m.finish(t, name, shuffled(keys), 3); !bytes.Equal(got, want) {
			t.Fatalf("cut at byte %d: the resumed journal differs", n)
		}
	}
}

func TestJournalKeepsEveryTornTail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	for n, tail := range []string{"{", `{"run":"x"`, strings.Repeat("\x00", 4096), "not a record\n"} {
		old, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		writeFile(t, path, append(old, tail...))
		j, err := Open(path, testRun)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%s.torn-%d", path, n+1); j.Torn() != want {
			t.Errorf("copy in %s, want %s", j.Torn(), want)
		}
		if err := j.Append([]Record{testRecord(Key{Order: n})}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, j.Torn()); string(got) != tail {
			t.Errorf("copy %q, want %q", got, tail)
		}
	}
}

// Every single-bit change of a record that is not the last is refused with the line's offset.
func TestJournalRefusesBitFlips(t *testing.T) {
	t.Parallel()
	m := newMemFS()
	whole := m.finish(t, "whole", testGrid(2, 1, 1, 2), 10)
	lines := bytes.SplitAfter(whole, []byte{'\n'})
	first := len(lines[0])
	for i := first; i < first+len(lines[1]); i++ {
		for bit := range 8 {
			m := newMemFS()
			m.put("bad", whole)
			m.files["bad"].data[i] ^= 1 << bit
			before := slices.Clone(m.get(t, "bad"))
			_, err := openLocked(m, "bad", testRun, nil, nil)
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Line != 2 || damage.Offset != int64(first) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
			if !strings.Contains(err.Error(), fmt.Sprintf("byte %d", first)) {
				t.Fatalf("the message does not name the offset: %v", err)
			}
			if !bytes.Equal(m.get(t, "bad"), before) || len(m.files) != 1 {
				t.Fatal("a refused journal was changed")
			}
		}
	}
}

func TestJournalRefuses(t *testing.T) {
	t.Parallel()
	encode := func(change func(*Record), keys ...Key) []byte {
		var out []byte
		for _, k := range keys {
			r := testRecord(k)
			if change != nil {
				change(&r)
			}
			var err error
			if out, err = r.AppendLine(out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	good := encode(nil, Key{Order: 0}, Key{Order: 1})
	// A line with a good checksum that is no record of ours.
	alien := []byte(`{"run":"f00dfeed","colour":"red"`)
	alien = fmt.Appendf(alien, `,"crc":"%08x"}`+"\n", checksum(alien))
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{
			"a repeated sample", slices.Concat(good, encode(nil, Key{Order: 0})),
			"repeats the sample noise 0 replicate 0 temperature 0 example 0",
		},
		{"two bad lines at the end", slices.Concat(good, []byte("x\ny\n")), "line 3"},
		{"a bad line before a torn one", slices.Concat(good, []byte("x\ny")), "line 3"},
		{"an empty line inside", slices.Concat(good, []byte("\n"), encode(nil, Key{Order: 2})), "line 3"},
		{"a whole line of another version", slices.Concat(good, alien), "not a record of this version"},
		{
			"zeros before a record", slices.Concat(good, make([]byte, 100), []byte("\n"), encode(nil, Key{Order: 2})),
			"line 3",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "samples.jsonl")
			writeFile(t, path, tt.data)
			_, err := Open(path, testRun)
			var damage *DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want damage with %q", err, tt.want)
			}
			if damage.Offset != int64(len(good)) {
				t.Errorf("offset %d, want %d", damage.Offset, len(good))
			}
			if !bytes.Equal(readFile(t, path), tt.data) {
				t.Error("a refused journal was changed")
			}
		})
	}
	t.Run("another run", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "samples.jsonl")
		writeFile(t, path, slices.Concat(good, encode(func(r *Record) { r.Run = "other" }, Key{Order: 2})))
		_, err := Open(path, testRun)
		var other *FingerprintError
		if !errors.As(err, &other) || other.Got != "other" || other.Want != testRun || other.Line != 3 {
			t.Fatalf("%v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		t.Parallel()
		if _, err := Open(filepath.Join(t.TempDir(), "none", "samples.jsonl"), testRun); !errors.Is(
			err, fs.ErrNotExist) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("no fingerprint", func(t *testing.T) {
		t.Parallel()
		if _, err := Open(filepath.Join(t.TempDir(), "samples.jsonl"), ""); err == nil {
			t.Fatal("opened without a fingerprint")
		}
	})
}

func TestJournalAppendRefusesBatch(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	j, err := Open(path, testRun)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close() //nolint:errcheck // only a test's end
	if err := j.Append([]Record{testRecord(Key{Order: 1})}); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, path)
	foreign := testRecord(Key{Order: 3})
	foreign.Run = "other"
	unknown := testRecord(Key{Order: 3})
	unknown.Status = "fine"
	for name, batch := range map[string][]Record{
		"there already":      {testRecord(Key{Order: 2}), testRecord(Key{Order: 1})},
		"twice in the batch": {testRecord(Key{Order: 2}), testRecord(Key{Order: 2})},
		"another run":        {testRecord(Key{Order: 2}), foreign},
		"unknown status":     {testRecord(Key{Order: 2}), unknown},
	} {
		if err := j.Append(batch); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if !bytes.Equal(readFile(t, path), before) {
		t.Error("a refused batch was written")
	}
	fill := testRecord(Key{Order: 2})
	fill.Run = ""
	if err := j.Append([]Record{fill}); err != nil {
		t.Errorf("a good batch after refused ones: %v", err)
	}
	if err := j.Append(nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

func TestReadReportsTornLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	keys := testGrid(1, 1, 1, 3)
	whole := complete(t, path, keys, 3)
	writeFile(t, path, append(whole, `{"run":`...))
	n := 0
	var last error
	for _, err := range Read(path, "") {
		if last = err; err == nil {
			n++
		}
	}
	var torn *TornError
	if n != len(keys) || !errors.As(last, &torn) || torn.Offset != int64(len(whole)) || torn.Size != 7 {
		t.Errorf("%d records, then %v", n, last)
	}
	for range Read(path, "") {
		break // an early end must be silent
	}
	for _, err := range Read(filepath.Join(t.TempDir(), "none"), "") {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
	}
}

func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxLine * 3); err != nil { // sparse: zeros without a newline
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range Read(path, "") {
		var torn *TornError
		if !errors.As(err, &torn) || torn.Size != maxLine*3 {
			t.Errorf("%v", err)
		}
	}
}

func TestSecondWriterIsToldWhoHoldsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	j, err := Open(path, testRun)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, testRun)
	var locked *lease.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("second writer: %v", err)
	}
	if locked.Owner.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("message %q", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	j, err = Open(path, testRun)
	if err != nil {
		t.Fatalf("after the first writer's end: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// lostLease is a lease that another process takes over when taken is set.
type lostLease struct{ taken bool }

func (l *lostLease) Check() error {
	if l.taken {
		return &lease.LostError{Path: "samples.jsonl"}
	}
	return nil
}

func (l *lostLease) Release() error { return nil }

// An owner whose lease was taken over writes nothing more.
func TestJournalThatWasTakenOver(t *testing.T) {
	t.Parallel()
	m, held := newMemFS(), &lostLease{}
	j, err := openLocked(m, "j", testRun, held, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := testGrid(1, 1, 1, 2)
	if err := j.Append([]Record{testRecord(keys[0])}); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(m.get(t, "j"))
	held.taken = true
	var lost *lease.LostError
	if err := j.Append([]Record{testRecord(keys[1])}); !errors.As(err, &lost) {
		t.Errorf("appending: %v", err)
	}
	if err := j.Finalize(); !errors.As(err, &lost) {
		t.Errorf("finalizing: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.get(t, "j"), before) {
		t.Error("the journal was changed")
	}
}

// A journal held by a process that is killed is free at once.
func TestLockEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("RESULTS_TEST_HOLD"); path != "" {
		if _, err := Open(path, testRun); err != nil {
			t.Fatal(err)
		}
		fmt.Println("held")
		time.Sleep(time.Minute)
		return
	}
	path := filepath.Join(t.TempDir(), "samples.jsonl")
	child := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	child.Env = append(os.Environ(), "RESULTS_TEST_HOLD="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := out.Read(buf); err != nil || string(buf) != "held" {
		t.Fatalf("the child says %q, %v", buf, err)
	}
	_, err = Open(path, testRun)
	var locked *lease.LockedError
	if !errors.As(err, &locked) || locked.Owner.PID != child.Process.Pid {
		t.Errorf("while the child lives: %v", err)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	child.Wait() //nolint:errcheck // it was killed
	j, err := Open(path, testRun)
	if err != nil {
		t.Fatalf("after its death: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzJournal(f *testing.F) {
	var good []byte
	for _, k := range testGrid(1, 1, 1, 3) {
		r := testRecord(k)
		var err error
		if good, err = r.AppendLine(good); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[:len(good)/2])
	f.Add([]byte("\n\n"))
	f.Add([]byte(`,"crc":"00000000"}` + "\n"))
	f.Add(slices.Concat(good, good))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMemFS()
		m.put("j", data)
		j, err := openLocked(m, "j", testRun, nil, nil)
		if err != nil {
			if !bytes.Equal(m.get(t, "j"), data) {
				t.Fatal("a refused journal was changed")
			}
			return
		}
		kept := m.get(t, "j")
		if !bytes.HasPrefix(data, kept) || bytes.Count(kept, []byte{'\n'}) != j.Len() {
			t.Fatalf("%d records in %q of %q", j.Len(), kept, data)
		}
		if len(kept) < len(data) && !bytes.Equal(m.get(t, j.Torn()), data[len(kept):]) {
			t.Fatal("what was cut off was not kept")
		}
		if err := j.Finalize(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRecord reads bodies under a good checksum, which no fuzzer would guess: what is accepted is written again and
// read back as the same record.
func FuzzRecord(f *testing.F) {
	for _, k := range testGrid(2, 1, 1, 2) {
		r := testRecord(k)
		line, err := r.AppendLine(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line[:len(line)-1-crcLen])
	}
	f.Add([]byte(`{"run":"a","order":1e3`))
	f.Add([]byte(`{"run":"a","run":"b","t_min":1e999`))
	f.Add([]byte(`{"run":"a","finish":"stop","status":"ok","effect":{"rms_ratio":null,"elements":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseLine(fmt.Appendf(slices.Clone(body), "%s%08x%s", crcOpen, checksum(body), crcEnd))
		if errors.Is(err, errTorn) {
			t.Fatal("a good checksum is not recognised")
		}
		if err != nil {
			return
		}
		line, err := r.AppendLine(nil)
		if err != nil {
			t.Fatalf("a record that was read cannot be written: %v", err)
		}
		again, err := parseLine(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again, sameFloats); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}
