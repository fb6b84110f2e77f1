package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/finish"
	"github.com/gsmeval/gsmeval/scoring"
)

const testRun = "f00dfeed"

// sameFloats holds two NaNs for equal, which is what null reads as.
var sameFloats = cmp.Comparer(func(a, b Float) bool {
	return a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b))
})

// testRecord returns a record whose values depend on its key alone.
func testRecord(k Key) Record {
	r := Record{
		Run:         testRun,
		Noise:       fmt.Sprintf("activation %d", k.NoiseIndex),
		NoiseIndex:  k.NoiseIndex,
		Replicate:   k.Replicate,
		Sample:      k.Sample,
		Temperature: fmt.Sprintf("constant %d", k.TempIndex),
		TempIndex:   k.TempIndex,
		ID:          100 + 3*k.Order,
		Order:       k.Order,
		QuestionSHA: fmt.Sprintf("%08x", k.Order*2654435761&0xffffffff),
		PromptSHA:   fmt.Sprintf("%08x", k.Order*40503&0xffffffff),
		Text: fmt.Sprintf("48/2 = <<48/2=24>>24 \"é\" \u2028 %s\n#### %d", strings.Repeat("ab", k.Order%5),
			k.Order),
		Tokens:  20 + k.Order%7,
		Finish:  finish.Stop,
		Answer:  fmt.Sprint(k.Order),
		Rung:    "hash",
		Status:  scoring.StatusOK,
		Correct: (k.Order*7+k.Replicate*3+k.TempIndex*5+k.NoiseIndex)%3 == 0,
		TMin:    1,
		TMax:    1.25,
		TMean:   Float(1 + float64(k.TempIndex)/3),
		TSHA:    "",
	}
	if k.NoiseIndex > 0 {
		r.Effect = &Effect{Sites: 29, Elements: 12345678901, RMSRatio: 0.05000001}
	}
	return r
}

// testGrid returns the keys of a grid in canonical order.
func testGrid(noises, replicates, temps, examples int) []Key {
	var keys []Key
	for n := range noises {
		for r := range replicates {
			for t := range temps {
				for o := range examples {
					keys = append(keys, Key{NoiseIndex: n, Replicate: r, TempIndex: t, Order: o})
				}
			}
		}
	}
	return keys
}

// sampled returns keys of so many samples of each question.
func sampled(keys []Key, samples int) []Key {
	var out []Key
	for _, k := range keys {
		for k.Sample = range samples {
			out = append(out, k)
		}
	}
	return out
}

func TestRecordLineIsPinned(t *testing.T) {
	t.Parallel()
	r := testRecord(Key{NoiseIndex: 1, Replicate: 2, TempIndex: 1, Order: 4})
	r.Text = "a <b> & \"c\"\n"
	r.TMin = Float(math.NaN())
	r.TSHA = "ab12"
	line, err := r.AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"run":"f00dfeed","noise":"activation 1","noise_index":1,"replicate":2,` +
		`"temperature":"constant 1","temp_index":1,"id":112,"order":4,"question_sha":"78dde6c4","prompt_sha":"000278dc",` +
		`"text":"a <b> & \"c\"\n","tokens":24,"finish":"stop","answer":"4","rung":"hash","status":"ok","correct":false,` +
		`"t_min":null,"t_max":1.25,"t_mean":1.3333333333333333,"t_sha":"ab12",` +
		`"effect":{"sites":29,"elements":12345678901,"rms_ratio":0.05000001}`
	want := body + fmt.Sprintf(`,"crc":"%08x"}`, crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli))) + "\n"
	if diff := cmp.Diff(want, string(line)); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	r.Sample = 3
	if line, err = r.AppendLine(nil); err != nil || !strings.Contains(string(line),
		`"replicate":2,"sample":3,"temperature":`) {
		t.Errorf("the fourth sample's line: %v\n%s", err, line)
	}
	var plain map[string]any
	if err := json.Unmarshal(line, &plain); err != nil {
		t.Errorf("the line is not plain JSON: %v", err)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	values := []float64{
		0, math.Copysign(0, -1), 1, 1.0 / 3, 5e-324, math.MaxFloat64, -2.5e-7, 1e21, 123456789.125,
		math.Pi,
	}
	for _, v := range values {
		r := testRecord(Key{NoiseIndex: 1})
		r.TMin, r.TMax, r.TMean = Float(v), Float(-v), Float(v/7)
		line, err := r.AppendLine([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		line = line[len("before"):]
		got, err := parseLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		if math.Float64bits(float64(got.TMin)) != math.Float64bits(v) {
			t.Errorf("%g came back as %g", v, float64(got.TMin))
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	}
	r := testRecord(Key{})
	r.TMin, r.TMax, r.TMean = Float(math.NaN()), Float(math.Inf(1)), Float(math.NaN())
	line, err := r.AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseLine(line[:len(line)-1])
	if err != nil {
		t.Fatal(err)
	}
	r.TMax = Float(math.NaN())
	if diff := cmp.Diff(r, got, sameFloats); diff != "" {
		t.Errorf("round trip of what is not finite (-want +got):\n%s", diff)
	}
}

func TestRecordRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Record)
		want   string
	}{
		{"no run", func(r *Record) { r.Run = "" }, "names no run"},
		{"negative replicate", func(r *Record) { r.Replicate = -1 }, "outside of a grid"},
		{"negative sample", func(r *Record) { r.Sample = -1 }, "outside of a grid"},
		{"sample beyond a key", func(r *Record) { r.Sample = MaxSamples }, "outside of a grid"},
		{"order beyond a key", func(r *Record) { r.Order = MaxExamples }, "outside of a grid"},
		{"negative id", func(r *Record) { r.ID = -1 }, "neither can be negative"},
		{"unknown finish", func(r *Record) { r.Finish = "done" }, `finish "done"`},
		{"unknown status", func(r *Record) { r.Status = "fine" }, `status "fine"`},
		{
			"a failed sample that is correct", func(r *Record) { r.Status, r.Correct = scoring.StatusError, true },
			"its status is error",
		},
		{"a text without end", func(r *Record) { r.Text = strings.Repeat("a", maxLine) }, "the limit is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := testRecord(Key{})
			tt.change(&r)
			got, err := r.AppendLine([]byte("kept"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if string(got) != "kept" {
				t.Errorf("the destination has become %.20q", got)
			}
		})
	}
}

func TestKeyOrderIsCanonical(t *testing.T) {
	t.Parallel()
	keys := []Key{
		{},
		{Sample: 1},
		{Sample: MaxSamples - 1},
		{Order: 1},
		{Order: 1, Sample: 2},
		{Order: MaxExamples - 1},
		{TempIndex: 1},
		{TempIndex: MaxTemps - 1, Order: MaxExamples - 1},
		{Replicate: 1},
		{Replicate: MaxReplicates - 1, TempIndex: MaxTemps - 1, Order: MaxExamples - 1},
		{NoiseIndex: 1},
		{MaxNoises - 1, MaxReplicates - 1, MaxTemps - 1, MaxExamples - 1, MaxSamples - 1},
	}
	last := packed{}
	for i, k := range keys {
		w, err := k.pack()
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && w.compare(last) <= 0 {
			t.Errorf("%v does not sort after %v", k, keys[i-1])
		}
		if w.unpack() != k {
			t.Errorf("%v came back as %v", k, w.unpack())
		}
		last = w
	}
}
