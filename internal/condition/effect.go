package condition

import (
	"errors"
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/noise/operation"
)

// ErrNoEffect is returned where noise was asked for and nothing changed.
var ErrNoEffect = errors.New("the noise changed nothing")

// SiteEffect is what a noise did at one parameter or Linear.
type SiteEffect struct {
	Name     string          `json:"name"`
	Weight   bool            `json:"weight,omitempty"` // a parameter, not a Linear's input or output
	Place    operation.Place `json:"-"`
	Elements int64           `json:"elements"` // perturbed, draws counted
	Spread2  float64         `json:"spread2"`  // sum over the elements of the squared spread of what was perturbed
	Noise2   float64         `json:"noise2"`   // sum of the squares of what was added
	// Of operations other than gaussian: elements that are another number now, that were out of a range, and that have a
	// bit turned over or a stuck cell.
	Changed int64 `json:"changed,omitempty"`
	Clipped int64 `json:"clipped,omitempty"`
	Flipped int64 `json:"flipped,omitempty"`

	Spread4 float64 `json:"-"` // sum over the elements of the fourth power of the spread
}

// Add counts n elements in.
func (e *SiteEffect) Add(n int64, t operation.Tally) {
	e.Elements += n
	e.Spread2 += t.Spread2
	e.Spread4 += t.Spread2 * t.Spread2 / float64(n)
	e.Noise2 += t.Noise2
	e.Changed += t.Changed
	e.Clipped += t.Clipped
	e.Flipped += t.Flipped
}

// Independent is how many elements of one spread say as much of the ratio: fewer than Elements where a few hold most of
// the squared spread, as a sink does where each token has its own.
func (e SiteEffect) Independent() float64 { return e.Spread2 * e.Spread2 / e.Spread4 }

// Spread is the root mean square of the spread (standard deviation or largest magnitude) that the scale refers to.
func (e SiteEffect) Spread() float64 { return rootMean(e.Spread2, e.Elements) }

// RMS is the root mean square of what was added.
func (e SiteEffect) RMS() float64 { return rootMean(e.Noise2, e.Elements) }

// Ratio is RMS over Spread: the scale, as measured. NaN where there is no spread.
func (e SiteEffect) Ratio() float64 { return math.Sqrt(e.Noise2 / e.Spread2) }

// SNR is the signal-to-noise ratio in dB, 20 log10(Spread/RMS).
func (e SiteEffect) SNR() float64 { return -20 * math.Log10(e.Ratio()) }

func rootMean(sum float64, n int64) float64 {
	if n == 0 {
		return 0
	}
	return math.Sqrt(sum / float64(n))
}

// Effect is what a noise did, site by site, in the model's order.
type Effect []SiteEffect

// Total sums the sites.
func (e Effect) Total() SiteEffect {
	t := SiteEffect{Name: "total"}
	for _, s := range e {
		t.Elements += s.Elements
		t.Spread2 += s.Spread2
		t.Spread4 += s.Spread4
		t.Noise2 += s.Noise2
		t.Changed += s.Changed
		t.Clipped += s.Clipped
		t.Flipped += s.Flipped
	}
	return t
}

// Check returns ErrNoEffect where nothing changed, in any place that was to be perturbed.
func (e Effect) Check() error {
	if len(e) == 0 {
		return fmt.Errorf("%w: no parameter or Linear was touched (do include and exclude match any name?)",
			ErrNoEffect)
	}
	places, changed := map[operation.Place]int{}, map[operation.Place]bool{}
	for _, s := range e {
		places[s.Place]++
		changed[s.Place] = changed[s.Place] || s.Noise2 > 0
	}
	for _, s := range e {
		if !changed[s.Place] {
			return fmt.Errorf("%w: %d tensors were touched%s, and all stayed as they were", ErrNoEffect,
				places[s.Place], among(s.Place))
		}
	}
	return nil
}

func among(p operation.Place) string {
	if p == "" {
		return ""
	}
	return " among the " + string(p)
}
