package study

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// verifyDraws is how many draws verify-noise compares.
const verifyDraws = 3

// Verified is what a noise was seen to do.
type Verified struct {
	Noise string `json:"noise"`
	// Mean |difference| of the logits after a prompt: noisy from clean, and the first draw from the second.
	FromClean    float64        `json:"from_clean"`
	BetweenDraws float64        `json:"between_draws"`
	Sites        []VerifiedSite `json:"sites"`
	Sinks        []Sink         `json:"sinks"` // of the prompt, at the input of every Linear
	OK           bool           `json:"ok"`
	Problem      string         `json:"problem,omitempty"`
}

// VerifiedSite is the effect at one parameter or Linear. A ratio or SNR is null where nothing had a spread.
type VerifiedSite struct {
	Name     string   `json:"name"`
	Elements int64    `json:"elements"`
	Spread   float64  `json:"spread"` // standard deviation (or largest magnitude) of what was perturbed
	RMS      float64  `json:"rms"`    // of what was added
	Ratio    *float64 `json:"ratio"`  // RMS over spread: the scale, as measured
	SNR      *float64 `json:"snr_db"`
	// Shares of the elements that are another number now, that were out of a range, and that have a bit turned over or a
	// stuck cell; null where no one counts them.
	Changed *float64 `json:"changed"`
	Clipped *float64 `json:"clipped"`
	Flipped *float64 `json:"flipped"`
	// Expected tells whether the ratio is the scale within max(1 %, 4/sqrt(2n)) for n independent elements.
	Expected bool `json:"as_expected"`
}

// VerifyNoise measures noises on the first question of a config.
func VerifyNoise(ctx context.Context, s *session.Session, noises []condition.Noise) ([]Verified, error) {
	prompts, err := s.Prompts()
	if err != nil {
		return nil, err
	}
	ids := prompts[0].IDs
	probe := decode.Probe{IDs: ids, From: len(ids) - 1, Together: len(ids), Sample: "verify"}
	sinks, err := measureSinks(ctx, s.LM, probe)
	if err != nil {
		return nil, err
	}
	var out []Verified
	for _, n := range noises {
		if n.Empty() {
			continue
		}
		v := Verified{Noise: n.Label(), Sinks: sinks}
		draws := make([][]float32, verifyDraws)
		var clean []float32
		effect, err := s.LM.Probe(ctx, []decode.Probe{probe},
			decode.Probing{Noise: n, Draws: verifyDraws, Seed: s.Cfg.Seed},
			func(_, draw, _ int, c, z []float32) {
				clean = append([]float32{}, c...)
				draws[draw] = append([]float32{}, z...)
			})
		if err != nil {
			v.Problem = err.Error()
			out = append(out, v)
			continue
		}
		v.FromClean, v.BetweenDraws = meanDistance(clean, draws[0]), meanDistance(draws[0], draws[1])
		v.check(n, effect)
		out = append(out, v)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no noise to verify")
	}
	return out, nil
}

// check fills in the sites and the verdict.
func (v *Verified) check(n condition.Noise, effect condition.Effect) {
	for _, e := range effect {
		s := VerifiedSite{Name: e.Name, Elements: e.Elements, Spread: e.Spread(), RMS: e.RMS(), Expected: true}
		if e.Spread2 > 0 {
			ratio, snr := e.Ratio(), e.SNR()
			s.Ratio, s.SNR = &ratio, &snr
			if scaled, ok := n.At(e.Place).(operation.Scaled); ok {
				s.Expected = math.Abs(ratio/scaled.Ratio()-1) <= max(0.01, 4/math.Sqrt(2*e.Independent()))
			}
		}
		if _, fused := n.At(e.Place).(*operation.Gaussian); !fused && e.Elements > 0 {
			share := func(count int64) *float64 {
				part := float64(count) / float64(e.Elements)
				return &part
			}
			s.Changed, s.Clipped, s.Flipped = share(e.Changed), share(e.Clipped), share(e.Flipped)
		}
		if !s.Expected {
			v.Problem = fmt.Sprintf("the noise at %s is %.4g of its spread, not the scale that was asked for", e.Name,
				*s.Ratio)
		}
		v.Sites = append(v.Sites, s)
	}
	if !(v.FromClean > 0) || n.Random() != (v.BetweenDraws > 0) {
		v.Problem = fmt.Sprintf("the logits differ by %g from the clean ones and by %g between draws", v.FromClean,
			v.BetweenDraws)
	}
	v.OK = v.Problem == ""
}

func meanDistance(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += math.Abs(float64(a[i]) - float64(b[i]))
	}
	return sum / float64(len(a))
}
