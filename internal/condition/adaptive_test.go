package condition

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/alpha"
)

var theory = Theory{Form: alpha.Sqrt, Base: 1, Smooth: alpha.None, Window: 10}

func schedule(t *testing.T, p Policy, n Noise, curve *alpha.Curve) Schedule {
	t.Helper()
	s, err := p.Schedule(Under{0, n, theory}, curve)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestResetAgreesWithTheScript follows recorded and made-up texts token by token, beside scripts/goldens/reset.py.
func TestResetAgreesWithTheScript(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "reset.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name           string
			Low, High, Tau float64
			Window         int
			Logits         [][]float32 // those of the case before where there are none
			Texts          []string
			T              string // l or h for each token
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	var logits [][]float32
	var texts []string
	for _, c := range golden.Cases {
		if c.Logits != nil {
			logits, texts = c.Logits, c.Texts
		}
		p := &Reset{Low: c.Low, High: c.High, Tau: c.Tau, Window: c.Window}
		stepper := schedule(t, p, Noise{Kind: Activation, Scale: 1}, nil).Adaptive()
		text := func(ids []int) string { return texts[ids[0]] }
		var ids []int
		for i, z := range logits {
			want := map[byte]float64{'l': c.Low, 'h': c.High}[c.T[i]]
			if got := stepper.Temperature(Step{IDs: ids, Logits: z, Text: text}); got != want {
				t.Fatalf("%s, window %d: token %d is sampled at %g, the script says %g", c.Name, c.Window, i, got, want)
			}
			ids = append(ids, i) // a token's id is its place in the list of texts
		}
	}
}

func TestResetTakesItsThresholdFromTheCalibration(t *testing.T) {
	t.Parallel()
	noisy, clean := Noise{Kind: Activation, Scale: 1}, Noise{Kind: None}
	p := &Reset{Low: 1e-7}
	if _, needed := p.Calibration(Under{0, noisy, theory}); !needed {
		t.Error("without tau no calibration is asked for")
	}
	if _, needed := p.Calibration(Under{0, clean, theory}); needed {
		t.Error("a calibration without noise is asked for")
	}
	if s := schedule(t, p, clean, nil); !cmp.Equal(s.T, []float64{1}) || len(p.Notes(Under{0, clean, theory}, s)) != 1 {
		t.Errorf("without noise and tau: %+v", s)
	}
	two := []float32{0, 0} // an entropy of log 2
	for _, c := range []struct{ tau, want float64 }{{0.5, 1}, {0.7, 0}} {
		s := schedule(t, p, noisy, &alpha.Curve{Entropy80: c.tau})
		if got := s.Adaptive().Temperature(Step{Logits: two}); got != c.want {
			t.Errorf("entropy %.3f under a percentile of %g: T is %g, want %g", math.Ln2, c.tau, got, c.want)
		}
	}
}

func TestTemperatureByEntropy(t *testing.T) {
	t.Parallel()
	noisy := Noise{Kind: Activation, Scale: 1}
	sure, undecided, lost := []float32{30, 0, 0, 0}, []float32{9, 9, 0, 0}, []float32{1, 1, 1, 1}
	given := &Entropy{Upto: []float64{0.1, 1}, Values: []float64{0, 0.6, 1}}
	fitted := &alpha.Curve{Bins: []alpha.Bin{{From: 0, T: 0.5}, {From: 0.69, T: 0.8}, {From: 1.2, T: 0}}}
	for name, c := range map[string]struct {
		s    Schedule
		want []float64
	}{
		"given":  {schedule(t, given, noisy, nil), []float64{0, 0.6, 1}},
		"fitted": {schedule(t, &Entropy{}, noisy, fitted), []float64{0.5, 0.8, 0}},
	} {
		for i, z := range [][]float32{sure, undecided, lost} {
			if got := c.s.Adaptive().Temperature(Step{Logits: z}); got != c.want[i] {
				t.Errorf("%s: T is %g at an entropy of %.3f, want %g", name, got, alpha.Entropy(z), c.want[i])
			}
		}
	}
	for _, c := range []struct {
		noise Noise
		needs alpha.Needs
	}{{noisy, alpha.Needs{Marginal: true}}, {Noise{Kind: Weight, Scale: 1}, alpha.Needs{Fit: true}}} {
		if got, needed := (&Entropy{}).Calibration(Under{0, c.noise, theory}); !needed || got.Needs != c.needs {
			t.Errorf("%s: %+v, want %+v", c.noise.Label(), got.Needs, c.needs)
		}
	}
	if s := schedule(t, &Entropy{Base: 0.6}, Noise{Kind: None}, nil); !cmp.Equal(s.T, []float64{0.6}) {
		t.Errorf("without noise: %+v", s)
	}
}

// TestOnlineSeesTheNoise draws two passes of known noise: what they say of it is what was drawn, and the temperature is
// that of the two candidates' formula.
func TestOnlineSeesTheNoise(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	const v, sigma, spread = 20000, 0.4, 2.0
	z1, z2 := make([]float32, v), make([]float32, v)
	for i := range z1 {
		z := spread * rng.NormFloat64()
		z1[i], z2[i] = float32(z+sigma*rng.NormFloat64()), float32(z+sigma*rng.NormFloat64())
	}
	near := cmpopts.EquateApprox(0.03, 0)
	if got := alpha.Compare(z1, z2, 1); !cmp.Equal(got.VarE, sigma*sigma, near) ||
		!cmp.Equal(got.VarZ, spread*spread, near) ||
		!cmp.Equal(got.Pair, 2*sigma*sigma, cmpopts.EquateApprox(0.15, 0)) {
		t.Errorf("two passes say %+v", got)
	}
	noisy, chip := Noise{Kind: Activation, Scale: 1}, Noise{Kind: Weight, Scale: 1}
	for form, want := range map[string]float64{
		"sqrt": 0.6 * math.Sqrt(1+0.04), "linear": 0.6 * 1.04, "": math.Sqrt(0.36 - math.Pi/8*0.32),
	} {
		s := schedule(t, &Online{Form: form, Base: 0.6}, noisy, nil)
		if got := s.Adaptive().Temperature(Step{Logits: z1, Second: z2}); !s.Twice || s.Average ||
			math.Abs(got-want) > 0.02 {
			t.Errorf("%q: T is %.4f, want %.4f", form, got, want)
		}
	}
	if s := schedule(t, &Online{}, chip, nil); s.Twice || !cmp.Equal(s.T, []float64{1}) {
		t.Errorf("a chip has no second draw, and tokens are computed twice: %+v", s)
	}
	if s := schedule(t, &Average{Value: 0.7}, noisy, nil); !s.Twice || !s.Average || !cmp.Equal(s.T, []float64{0.7}) {
		t.Errorf("average: %+v", s)
	}
	if notes := (&Average{}).Notes(Under{0, noisy, theory}, Schedule{}); len(notes) != 1 ||
		!strings.Contains(notes[0], "twice the tokens") {
		t.Errorf("average says of its cost: %q", notes)
	}
}

// TestArmsHaveIdentitiesOfTheirOwn is what keeps a policy from sharing the samples of another: they have one T(t) and
// other tokens.
func TestArmsHaveIdentitiesOfTheirOwn(t *testing.T) {
	t.Parallel()
	noisy := Noise{Kind: Activation, Scale: 1}
	seen := map[string]string{}
	for _, p := range []Policy{
		&Constant{Value: 1},
		&TopNSigma{N: 1}, &TopNSigma{N: 2}, &TopNSigma{N: 1, Value: 0.5}, &MinP{MinP: 0.05}, &MinP{MinP: 0.1},
		&Average{}, &Average{Value: 0.5},
		&Online{}, &Online{Form: "sqrt"}, &Online{Base: 0.6}, &Reset{Low: 0.2, Tau: 1}, &Reset{Low: 0.3, Tau: 1},
		&Reset{Low: 0.2, Tau: 2},
		&Reset{Low: 0.2, Tau: 1, Window: 8}, &Entropy{Upto: []float64{1}, Values: []float64{1, 0.5}},
		&Entropy{Upto: []float64{2}, Values: []float64{1, 0.5}},
	} {
		sha := schedule(t, p, noisy, nil).SHA256()
		if other, dup := seen[sha]; dup {
			t.Errorf("%s and %s have one identity", p.Label(), other)
		}
		seen[sha] = p.Label()
	}
	if len(seen) != 17 {
		t.Errorf("%d identities", len(seen))
	}
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy Policy
		want   string // "": accepted
	}{
		{&Reset{Low: 0.2}, ""},
		{&Reset{}, "low: the key is missing"},
		{&Reset{Low: 0.2, Window: -1}, "window: expected a whole number"},
		{&Reset{Low: 0.2, Tau: math.NaN()}, "tau: expected a number above 0"},
		{&Entropy{}, ""},
		{&Entropy{Upto: []float64{1}, Values: []float64{0, 1}}, ""},
		{&Entropy{Upto: []float64{1}}, "values: expected a temperature for each range"},
		{
			&Entropy{Upto: []float64{1}, Values: []float64{1}},
			"values: expected a temperature for each range of upto and one beyond, 2; found 1",
		},
		{&Entropy{Upto: []float64{1, 1}, Values: []float64{1, 1, 1}}, "upto[1]: expected more than 1"},
		{&Entropy{Values: []float64{1}, Base: 1}, "base: this is for fitted temperatures"},
		{&Entropy{Upto: []float64{1}, Values: []float64{-1, 1}}, "values[0]: expected a number above 0"},
		{&TopNSigma{N: 1}, ""},
		{&TopNSigma{}, "n: the key is missing"},
		{&MinP{MinP: 1.5}, "min_p: expected a number above 0 and at most 1"},
		{&MinP{MinP: 0.1, Value: -1}, "value: expected a number above 0"},
		{&Average{}, ""},
		{&Average{Value: math.Inf(1)}, "value: expected a number above 0"},
		{&Online{Form: "fisher"}, "form: expected one of sqrt, linear, marginal_probit"},
	} {
		got := problems(func(r keys.Report) { c.policy.Check(r, 1) })
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.policy, got, c.want)
		}
	}
}

// TestFormsAndNoises says which form is right for which noise, and what happens where it is not.
func TestFormsAndNoises(t *testing.T) {
	t.Parallel()
	fresh, chip, both := Noise{Kind: Activation, Scale: 1}, Noise{Kind: Weight, Scale: 1},
		Noise{Kind: Combined, WeightScale: 1, ActivationScale: 1}
	for _, c := range []struct {
		form  alpha.Form
		noise Noise
		err   string
		note  string
	}{
		{alpha.Marginal, fresh, "", ""},
		{alpha.Probit, fresh, "", ""},
		{alpha.Fitted, fresh, "", "marginal is for that"},
		{alpha.Sqrt, fresh, "", "neither kind"},
		{alpha.Exact, chip, "", "neither kind"},
		{alpha.Fitted, chip, "", ""},
		{alpha.Fisher, chip, "", ""},
		{alpha.Marginal, chip, "", "under which marginal is fitted"},
		{alpha.Probit, chip, "set form to fitted or fisher", ""},
		{alpha.StdRatio, chip, "", "fitted or fisher are for that"},
		{alpha.Marginal, both, "several draws", ""},
		{alpha.Fitted, both, "", "no form is for both"},
		{alpha.Marginal, Noise{Kind: None}, "", ""},
	} {
		curve := &alpha.Curve{
			Base: 1, Draws: 2, Fit: 1.2, Marginal: 0.8,
			Points: []alpha.Point{{Alpha: 1, Beta: 1, VarN: 1, CovP: 1, Fit: 1.2, Marginal: 0.8}},
		}
		p := &ConstantTStar{Form: string(c.form)}
		under := Under{0, c.noise, theory}
		s, _, err := NewTemperature(p).Resolve(under, func(asked Calibration) (*alpha.Curve, error) {
			if asked.Needs.Marginal && c.noise.Law() != alpha.MeanDraws {
				t.Errorf("%s under %s is measured by draws of one position", c.form, c.noise.Label())
			}
			return curve, nil
		})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s under %s: error %v, want %q", c.form, c.noise.Label(), err, c.err)
		}
		if err != nil {
			continue
		}
		notes := strings.Join(NewTemperature(p).Notes(under, s), " ")
		if (notes == "") != (c.note == "") || !strings.Contains(notes, c.note) {
			t.Errorf("%s under %s: notes %q, want %q", c.form, c.noise.Label(), notes, c.note)
		}
		if c.form == alpha.Marginal && !c.noise.Empty() {
			want := map[alpha.Law]float64{alpha.MeanDraws: 0.8, alpha.OneDraw: 1.2}[c.noise.Law()]
			if !cmp.Equal(s.T, []float64{want}) {
				t.Errorf("marginal under %s: T %v, want %g", c.noise.Label(), s.T, want)
			}
		}
	}
	none := &alpha.Curve{Base: 0.6, Draws: 4, Points: []alpha.Point{{VarPair: 1, Weight: 1}, {VarPair: 0.5, Weight: 0}}}
	p := &ConstantTStar{Form: string(alpha.Probit)}
	if s := schedule(t, p, fresh, none); !s.IsGreedy() || !strings.Contains(strings.Join(p.Notes(Under{
		0, fresh,
		theory,
	}, s), " "), "has no temperature under this noise") {
		t.Errorf("no temperature at all: %+v", s)
	}
	d := &DynamicTStar{Form: string(alpha.Probit)}
	if s := schedule(t, d, fresh, none); len(s.T) != 2 || s.T[0] != 0 || s.T[1] <= 0 ||
		!strings.Contains(strings.Join(d.Notes(Under{0, fresh, theory}, s), " "), "at 1 of 2 positions") {
		t.Errorf("no temperature at a position: %+v", s)
	}
}
