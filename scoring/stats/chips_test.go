package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// population is a world of questions and chips: the log odds of a right answer are a base, plus what the question, the
// chip and their meeting add, each normal with its standard deviation.
type population struct {
	base, question, chip, meeting float64
	// paired makes the cells differences from a condition on the same questions and chips, whose log odds are lower by
	// effect, and half of whose luck is shared.
	paired bool
	effect float64
}

// draw returns verdicts, or differences of verdicts, of new questions on new chips.
func (p population) draw(rng *rand.Rand, questions, chips int) [][]Cluster {
	effects := make([]float64, chips)
	others := make([]float64, chips) // of the chip on the difference
	for c := range effects {
		effects[c] = p.chip * rng.NormFloat64()
		others[c] = p.chip * rng.NormFloat64()
	}
	rows := make([][]Cluster, questions)
	for q := range rows {
		question := p.base + p.question*rng.NormFloat64()
		rows[q] = make([]Cluster, chips)
		for c := range rows[q] {
			odds := question + effects[c] + p.meeting*rng.NormFloat64()
			luck := rng.Float64()
			rows[q][c] = Cluster{verdict(luck, odds), 1}
			if p.paired {
				if rng.IntN(2) == 0 {
					luck = rng.Float64()
				}
				rows[q][c].Sum -= verdict(luck, odds-p.effect+others[c])
			}
		}
	}
	return rows
}

func verdict(luck, odds float64) float64 {
	if luck < 1/(1+math.Exp(-odds)) {
		return 1
	}
	return 0
}

// mean is the mean over all questions and chips of the population, by integration over normals.
func (p population) mean() float64 {
	share := func(base, std float64) float64 {
		sum, weights := 0.0, 0.0
		for x := -8.0; x <= 8; x += 0.005 {
			w := math.Exp(-x * x / 2)
			sum += w / (1 + math.Exp(-base-std*x))
			weights += w
		}
		return sum / weights
	}
	std := math.Hypot(math.Hypot(p.question, p.chip), p.meeting)
	if !p.paired {
		return share(p.base, std)
	}
	return share(p.base, std) - share(p.base-p.effect, math.Hypot(std, p.chip))
}

// TestNewChipsCoverage draws questions and chips again and again: the interval has to hold the mean over all of them in
// at least 93 of 100 draws, whatever matters more, chips or questions. A percentile bootstrap over questions and chips,
// which tables had before, holds it in 81, 86 and 92 % at 3, 5 and 10 chips where chips matter most.
func TestNewChipsCoverage(t *testing.T) {
	t.Parallel()
	const draws = 1500
	worlds := map[string]population{
		"chips do not matter":         {question: 1.5},
		"chips matter a little":       {question: 1.5, chip: 0.3, meeting: 0.5},
		"chips matter most":           {question: 0.5, chip: 1, meeting: 0.2},
		"nearly all right":            {base: 2.5, question: 1.5, chip: 0.3, meeting: 0.5},
		"nearly all wrong":            {base: -3, question: 1, chip: 0.3},
		"a difference":                {question: 1.5, chip: 0.3, meeting: 0.5, paired: true, effect: 0.5},
		"no difference, chips matter": {question: 1.5, chip: 1, paired: true},
	}
	for name, world := range worlds {
		for _, chips := range []int{3, 5, 10} {
			for _, questions := range []int{30, 200} {
				t.Run(fmt.Sprintf("%s, %d chips, %d questions", name, chips, questions), func(t *testing.T) {
					t.Parallel()
					rng := rand.New(rand.NewPCG(uint64(chips), uint64(questions)))
					want, held := world.mean(), 0
					for range draws {
						in := NewChips(world.draw(rng, questions, chips), Level)
						if in.Lo <= want && want <= in.Hi {
							held++
						}
					}
					// A fixed seed: what fails here has changed.
					if share := float64(held) / draws; share < 0.93 {
						t.Errorf("the interval holds %.4f in %.1f %% of the draws, want at least 93", want, 100*share)
					} else {
						t.Logf("%.1f %%", 100*share)
					}
				})
			}
		}
	}
}
