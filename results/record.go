package results

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring"
)

// Float is a float64 that JSON can always carry: a value that is not finite is written as null, and null is read as
// NaN. Finite values are printed in the shortest form that reads back as the same bits.
type Float float64

// MarshalJSON writes the number, or null where it is not finite.
func (f Float) MarshalJSON() ([]byte, error) {
	if !f.Finite() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// UnmarshalJSON reads a number, and null as NaN.
func (f *Float) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*f = Float(math.NaN())
		return nil
	}
	return json.Unmarshal(data, (*float64)(f))
}

// Finite reports whether f is neither NaN nor infinite.
func (f Float) Finite() bool {
	return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0)
}

// Effect sums up what the noise did to one sample.
type Effect struct {
	// Sites is the number of tensors that noise was added to.
	Sites int `json:"sites"`
	// Elements is the number of values that noise was added to.
	Elements int64 `json:"elements"`
	// RMSRatio is the RMS of the change over the RMS of what was changed.
	RMSRatio Float `json:"rms_ratio"`
}

// Record is one sample: one example under one condition in one replicate.
//
// It is written as one line of JSON, its keys in the order of the fields below and a key `crc` after them. It holds no
// timings, so that a run gives the same bytes however often it was interrupted.
type Record struct {
	// Run is the fingerprint of the run.
	Run string `json:"run"`
	// Noise and NoiseIndex are the label and the place of the noise in the grid.
	Noise      string `json:"noise"`
	NoiseIndex int    `json:"noise_index"`
	// Replicate is the noise seed's number, from 0; equal replicates pair samples.
	Replicate int `json:"replicate"`
	// Sample is the number of the sample among those of one question under one condition and replicate; the first one,
	// 0, is not written.
	Sample int `json:"sample,omitempty"`
	// Temperature and TempIndex are the label and the place of the temperature policy in the grid.
	Temperature string `json:"temperature"`
	TempIndex   int    `json:"temp_index"`
	// ID is the example's row number in the data set, Order its place in the run's list of examples.
	ID    int `json:"id"`
	Order int `json:"order"`
	// Label is the example's own id, Cluster what it has in common with others.
	Label   string `json:"label,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	// QuestionSHA and PromptSHA identify what was asked (short hexadecimal).
	QuestionSHA string `json:"question_sha"`
	PromptSHA   string `json:"prompt_sha"`
	// Text is the generated text, Tokens the number of generated tokens.
	Text   string        `json:"text"`
	Tokens int           `json:"tokens"`
	Finish finish.Reason `json:"finish"`
	// Answer is what the ladder read, Rung which of its rungs did.
	Answer  string         `json:"answer"`
	Rung    string         `json:"rung"`
	Status  scoring.Status `json:"status"`
	Correct bool           `json:"correct"`
	// TMin, TMax and TMean are over the generated steps; NaN (null) where no temperature applied, as in greedy
	// decoding.
	TMin  Float `json:"t_min"`
	TMax  Float `json:"t_max"`
	TMean Float `json:"t_mean"`
	// TSHA is the sha256 of the T(t) schedule where there is one.
	TSHA string `json:"t_sha,omitempty"`
	// Effect is nil where there was no noise.
	Effect *Effect `json:"effect,omitempty"`
	// Error is the cause of a status nonfinite or error.
	Error string `json:"error,omitempty"`
}

// Key returns the key that identifies the sample within its run.
func (r *Record) Key() Key {
	return Key{
		NoiseIndex: r.NoiseIndex, Replicate: r.Replicate, TempIndex: r.TempIndex, Order: r.Order, Sample: r.Sample,
	}
}

// Key identifies a sample within a run. The canonical order of samples compares NoiseIndex, Replicate, TempIndex, Order
// and Sample, in this order: the samples of one question stand together.
type Key struct{ NoiseIndex, Replicate, TempIndex, Order, Sample int }

// String names the sample for messages.
func (k Key) String() string {
	name := fmt.Sprintf("noise %d replicate %d temperature %d example %d", k.NoiseIndex, k.Replicate, k.TempIndex,
		k.Order)
	if k.Sample > 0 {
		name += fmt.Sprintf(" sample %d", k.Sample)
	}
	return name
}

// Sizes of a key's parts, in bits: a key is kept as two words, so that an index of a million samples stays small.
const (
	noiseBits     = 12
	replicateBits = 16
	tempBits      = 12
	orderBits     = 24
	sampleBits    = 16
)

// The largest grid that a key can name.
const (
	MaxNoises     = 1 << noiseBits
	MaxReplicates = 1 << replicateBits
	MaxTemps      = 1 << tempBits
	MaxExamples   = 1 << orderBits
	MaxSamples    = 1 << sampleBits
)

// MaxPlanned is how many samples a run can have. Lists and indexes of them are held in memory, about 200 bytes for each.
const MaxPlanned = 20_000_000

// packed is a key whose order is the canonical order: the condition in one word, the place within it in the other.
type packed struct{ condition, place uint64 }

func (p packed) compare(q packed) int {
	return cmp.Or(cmp.Compare(p.condition, q.condition), cmp.Compare(p.place, q.place))
}

// pack returns the key packed.
func (k Key) pack() (packed, error) {
	if k.NoiseIndex < 0 || k.NoiseIndex >= MaxNoises ||
		k.Replicate < 0 || k.Replicate >= MaxReplicates ||
		k.TempIndex < 0 || k.TempIndex >= MaxTemps ||
		k.Order < 0 || k.Order >= MaxExamples ||
		k.Sample < 0 || k.Sample >= MaxSamples {
		return packed{}, fmt.Errorf(
			"%s is outside of a grid of at most %d noises, %d replicates, %d temperatures, %d examples and %d samples",
			k, MaxNoises, MaxReplicates, MaxTemps, MaxExamples, MaxSamples)
	}
	condition := uint64(k.NoiseIndex)
	condition = condition<<replicateBits | uint64(k.Replicate)
	condition = condition<<tempBits | uint64(k.TempIndex)
	return packed{condition, uint64(k.Order)<<sampleBits | uint64(k.Sample)}, nil
}

func (p packed) unpack() Key {
	return Key{
		NoiseIndex: int(p.condition >> (replicateBits + tempBits)),
		Replicate:  int(p.condition >> tempBits & (MaxReplicates - 1)),
		TempIndex:  int(p.condition & (MaxTemps - 1)),
		Order:      int(p.place >> sampleBits),
		Sample:     int(p.place & (MaxSamples - 1)),
	}
}

// maxLine bounds a line of the journal, so that a damaged file cannot make the reader allocate without end. A text of
// 100,000 tokens is under 1 MB.
const maxLine = 32 << 20

// A line ends in `,"crc":"xxxxxxxx"}`: the CRC32C (Castagnoli, eight lower-case hexadecimal digits) of all of the
// line's bytes before that comma.
const (
	crcOpen = `,"crc":"`
	crcEnd  = `"}`
	crcLen  = len(crcOpen) + 8 + len(crcEnd)
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// AppendLine appends the record's line, newline included, to dst. Text that is not valid UTF-8 is written with U+FFFD
// in place of the offending bytes.
func (r *Record) AppendLine(dst []byte) ([]byte, error) {
	if err := r.validate(); err != nil {
		return dst, err
	}
	start := len(dst)
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return dst, fmt.Errorf("encoding the record of %s: %w", r.Key(), err)
	}
	// The encoder ends with "}\n", which makes room for the checksum.
	out := buf.Bytes()
	out = out[:len(out)-2]
	out = fmt.Appendf(out, "%s%08x%s\n", crcOpen, checksum(out[start:]), crcEnd)
	if len(out)-start > maxLine {
		return dst, fmt.Errorf("the record of %s is %d bytes long, the limit is %d", r.Key(), len(out)-start, maxLine)
	}
	return out, nil
}

// errTorn marks damage that an interrupted write explains.
var errTorn = errors.New("the checksum does not match")

// intact reports whether a line, without its newline, ends in its own checksum.
func intact(line []byte) bool {
	n := len(line) - crcLen
	return n >= 0 && string(line[n:]) == fmt.Sprintf("%s%08x%s", crcOpen, checksum(line[:n]), crcEnd)
}

// parseLine reads one line without its newline. The error is errTorn where the checksum is missing or does not match.
func parseLine(line []byte) (Record, error) {
	if !intact(line) {
		return Record{}, errTorn
	}
	stored := struct {
		Record
		CRC string `json:"crc"`
	}{}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&stored); err != nil {
		return Record{}, fmt.Errorf("the line is whole but not a record of this version: %w", err)
	}
	if err := stored.validate(); err != nil {
		return Record{}, err
	}
	return stored.Record, nil
}

// validate refuses records that could not be counted honestly.
func (r *Record) validate() error {
	if r.Run == "" {
		return fmt.Errorf("the record of %s names no run", r.Key())
	}
	if _, err := r.Key().pack(); err != nil {
		return err
	}
	if r.ID < 0 || r.Tokens < 0 {
		return fmt.Errorf("the record of %s has id %d and %d tokens, neither can be negative", r.Key(), r.ID, r.Tokens)
	}
	switch r.Finish {
	case finish.Stop, finish.Length, finish.Nonfinite, finish.Failed:
	default:
		return fmt.Errorf("the record of %s has finish %q, which is none of stop, length, nonfinite, error", r.Key(),
			r.Finish)
	}
	switch r.Status {
	case scoring.StatusOK, scoring.StatusNoAnswer, scoring.StatusTruncated,
		scoring.StatusNonfinite, scoring.StatusError:
	default:
		return fmt.Errorf("the record of %s has the unknown status %q", r.Key(), r.Status)
	}
	if r.Correct && !r.Status.Counted() {
		return fmt.Errorf("the record of %s is correct although its status is %s", r.Key(), r.Status)
	}
	return nil
}
