package noise

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpecCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec Spec
		want error // nil: accepted
		has  string
	}{
		{Spec{Kind: None}, nil, ""},
		{Spec{Kind: Weight, WeightScale: 0.1}, nil, ""},
		{Spec{Kind: Activation, ActivationScale: 0.1, Include: []string{"q_proj", "model.layers.[0-3].*"}}, nil, ""},
		{Spec{Kind: Combined, WeightScale: 0.1, ActivationScale: 0.1}, nil, ""},
		{Spec{Kind: Output, ActivationScale: 0.1}, nil, ""},
		{Spec{Kind: Weight}, ErrNoEffect, "weight scale 0"},
		{Spec{Kind: Weight, ActivationScale: 0.1}, ErrNoEffect, "weight scale 0"},
		{Spec{Kind: Activation}, ErrNoEffect, "activation scale 0"},
		{Spec{Kind: Activation, WeightScale: 0.1}, ErrNoEffect, "activation scale 0"},
		{Spec{Kind: Output}, ErrNoEffect, "activation scale 0"},
		{Spec{Kind: Combined, WeightScale: 0.1}, ErrNoEffect, "activation scale 0"},
		{Spec{Kind: Combined, ActivationScale: 0.1}, ErrNoEffect, "weight scale 0"},
		{Spec{Kind: Weight, WeightScale: -0.1}, ErrNoEffect, "-0.1"},
		{Spec{Kind: Weight, WeightScale: math.NaN()}, ErrNoEffect, "NaN"},
		{Spec{Kind: Weight, WeightScale: 0.1, Include: []string{"a[b"}}, path.ErrBadPattern, `"a[b"`},
		{Spec{Kind: Weight, WeightScale: 0.1, Exclude: []string{"["}}, path.ErrBadPattern, `"["`},
	} {
		t.Run(fmt.Sprintf("%+v", c.spec), func(t *testing.T) {
			t.Parallel()
			err := c.spec.Check()
			if !errors.Is(err, c.want) || (err != nil && !strings.Contains(err.Error(), c.has)) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.has)
			}
		})
	}
	if err := (Spec{Kind: "gauss"}).Check(); err == nil || !strings.Contains(err.Error(), `"gauss"`) {
		t.Errorf("an unknown kind gave %v", err)
	}
	if err := (Spec{}).Check(); err == nil {
		t.Error("no kind at all passed")
	}
}

func TestSpecTouches(t *testing.T) {
	t.Parallel()
	names := []string{
		"model.embed_tokens.weight", "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj.weight",
		"model.layers.11.mlp.down_proj", "model.norm.weight", "lm_head",
	}
	for _, c := range []struct {
		include, exclude []string
		want             []int
	}{
		{nil, nil, []int{0, 1, 2, 3, 4, 5}},
		{[]string{"q_proj"}, nil, []int{1, 2}},
		{[]string{"q_proj", "lm_head"}, nil, []int{1, 2, 5}},
		{[]string{"*.q_proj"}, nil, []int{1}}, // a pattern is of the whole name
		{[]string{"model.layers.1.*"}, nil, []int{1, 2}},
		{[]string{"model.layers.1"}, nil, []int{1, 2, 3}}, // a part of the name
		{[]string{"model.layers.1?.*"}, nil, []int{3}},
		{[]string{"model.layers.[0-9].*"}, nil, []int{1, 2}},
		{nil, []string{"norm", "embed", "lm_head"}, []int{1, 2, 3}},
		{[]string{"model."}, []string{"*.weight"}, []int{1, 3}},
		{[]string{"lm_head"}, []string{"lm_head"}, nil},
		{[]string{"k_proj"}, nil, nil},
		{[]string{"LM_HEAD"}, nil, nil},
	} {
		spec := Spec{Kind: Weight, WeightScale: 1, Include: c.include, Exclude: c.exclude}
		var got []int
		for i, n := range names {
			if spec.Touches(n) {
				got = append(got, i)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("include %q, exclude %q touches other names (-want +got):\n%s", c.include, c.exclude, diff)
		}
	}
}

func TestKindsSayWhatTheyPerturb(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind][4]bool{
		None: {}, Weight: {true, false, false, false}, Activation: {false, true, true, false},
		Combined: {true, true, true, false}, Output: {false, true, false, true},
	} {
		s := Spec{Kind: kind, WeightScale: 1, ActivationScale: 1}
		in := NewInjector(s, false)
		site := Site{ID: 3, Name: "lm_head"}
		if got := [4]bool{s.OnWeights(), s.OnActivations(), in.Input(site), in.Output(site)}; got != want {
			t.Errorf("%s: on weights, on activations, at inputs, at outputs: %v, want %v", kind, got, want)
		}
		if (in == nil) == s.OnActivations() {
			t.Errorf("%s: an injector: %v", kind, in != nil)
		}
		if e := in.Effect(); len(e) != 0 {
			t.Errorf("%s: an injector that did nothing reports %v", kind, e)
		}
	}
}

func TestEffect(t *testing.T) {
	t.Parallel()
	e := Effect{
		{Name: "a", Elements: 100, Spread2: 400, Noise2: 4},
		{Name: "zero", Elements: 50},
		{Name: "b", Elements: 50, Spread2: 50, Noise2: 0.5},
	}
	if err := e.Check(); err != nil {
		t.Errorf("a norm that stayed as it was is an error: %v", err)
	}
	a := e[0]
	if a.Spread() != 2 || a.RMS() != 0.2 || math.Abs(a.Ratio()-0.1) > 1e-15 || math.Abs(a.SNR()-20) > 1e-12 {
		t.Errorf("spread %v, RMS %v, ratio %v, SNR %v dB, want 2, 0.2, 0.1, 20", a.Spread(), a.RMS(), a.Ratio(), a.SNR())
	}
	if z := e[1]; z.Spread() != 0 || z.RMS() != 0 || !math.IsNaN(z.Ratio()) {
		t.Errorf("a tensor without spread: spread %v, RMS %v, ratio %v, want 0, 0, NaN", z.Spread(), z.RMS(), z.Ratio())
	}
	if diff := cmp.Diff(SiteEffect{Name: "total", Elements: 200, Spread2: 450, Noise2: 4.5}, e.Total()); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	if s := (SiteEffect{}); s.RMS() != 0 || s.Spread() != 0 {
		t.Error("no elements have a root mean square")
	}
	for _, none := range []Effect{nil, {}, {{Name: "zero", Elements: 50}}} {
		if err := none.Check(); !errors.Is(err, ErrNoEffect) {
			t.Errorf("%v: error %v, want ErrNoEffect", none, err)
		}
	}
}
