package results

import (
	"fmt"
)

// The settings that two runs must share for their difference to mean anything. A run's Meta.Settings holds a value for
// each of them, and any others.
const (
	SettingData       = "data"           // identity of the data file and split
	SettingPrompt     = "prompt"         // style, instruction, shots and template
	SettingLadder     = "ladder"         // answer ladder
	SettingTokenLimit = "max_new_tokens" // token limit of a sample
)

// comparable lists them in the order in which differences are named.
var comparableSettings = []string{SettingData, SettingPrompt, SettingLadder, SettingTokenLimit}

// Meta describes what the records of a run mean: the grid of conditions, and the settings that all of them share.
type Meta struct {
	// Name names the run in tables; it is no part of its identity.
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	// Examples is the number of examples in each replicate.
	Examples int `json:"examples"`
	// Noises and Temps are the axes of the grid; records refer to them by index.
	Noises []Noise `json:"noises"`
	Temps  []Temp  `json:"temps"`
	// Conditions are the cells of the grid, in any order. Temperature 0 is the reference of its noise.
	Conditions []Condition `json:"conditions"`
	// K are the numbers of samples whose pass@k and maj@k a table has, rising; none where there is one sample of each
	// question.
	K []int `json:"k,omitempty"`
	// Golds are the right answers by example, for what a text has to say about them; nil in a run that has none.
	Golds []string `json:"golds,omitempty"`
	// Settings are printed under every table; see the Setting constants.
	Settings map[string]string `json:"settings,omitempty"`
	// Notes are printed under every table as they are.
	Notes []string `json:"notes,omitempty"`
}

// Noise is one entry of the grid's first axis.
type Noise struct {
	Label string `json:"label"`
	// Kind is none for no noise.
	Kind string `json:"kind"`
	// Deterministic says that the noise draws nothing, as a quantiser: noise seeds are seeds of the sampling alone.
	Deterministic bool `json:"deterministic,omitempty"`
	// Chips says that all questions of one replicate share a draw, as under weight and combined noise, so that noise
	// seeds cross questions.
	Chips bool `json:"chips,omitempty"`
}

// Drawn tells whether a noise seed is a draw of the noise.
func (n *Noise) Drawn() bool { return n.Kind != KindNone && !n.Deterministic }

// KindNone is the kind of the noise that is none.
const KindNone = "none"

// Temp is one entry of the grid's third axis.
type Temp struct {
	Label string `json:"label"`
}

// Condition is one cell of the grid.
type Condition struct {
	NoiseIndex int `json:"noise_index"`
	TempIndex  int `json:"temp_index"`
	// Replicates is how many noise seeds were to run, from 0.
	Replicates int `json:"replicates"`
	// Samples is how many samples of each question were to be made in each replicate; 0 stands for one.
	Samples int `json:"samples,omitempty"`
	// Deterministic says that every replicate would have been the same and one was run: it pairs with every replicate
	// of another condition.
	Deterministic bool `json:"deterministic,omitempty"`
	// OneSample says that every sample of a question in a replicate would have been the same and one was made: it pairs
	// with every sample of another condition.
	OneSample bool `json:"one_sample,omitempty"`
	// SamplesOf is the index of the temperature whose samples this condition shares, having the same noise and the same
	// T(t); its own are then absent.
	SamplesOf *int `json:"samples_of,omitempty"`
	// MeanAlpha is the mean of the calibration's alpha(t); NaN where there is none.
	MeanAlpha Float `json:"mean_alpha"`
	// Fidelity is how near the condition is to the clean model; nil where it was not measured.
	Fidelity *Fidelity `json:"fidelity,omitempty"`
	// TSHA identifies the T(t) schedule.
	TSHA string `json:"t_sha,omitempty"`
	// Notes say what is special about the condition.
	Notes []string `json:"notes,omitempty"`
}

// FidelityDir is the folder of a run with fidelity.json and its plots.
const FidelityDir = "fidelity"

// Fidelity compares softmax(z'/T) under a noise with the clean model's law, along texts sampled from the clean model.
type Fidelity struct {
	KLD Float `json:"kld"` // KL(clean || noisy) of single draws, nats a position
	// Marginal is that of the mean over draws, the law of noise that is drawn anew for every token; NaN for others.
	Marginal Float `json:"marginal_kld"`
	SameTop  Float `json:"same_top"` // share of positions with the same most likely token
}

// PerQuestion is how many samples of each question there are to be in each replicate.
func (c *Condition) PerQuestion() int { return max(1, c.Samples) }

// perQuestion is the largest number of samples of a question in a replicate.
func (m *Meta) perQuestion() int {
	most := 1
	for i := range m.Conditions {
		most = max(most, m.Conditions[i].PerQuestion())
	}
	return most
}

// planned is how many samples there are to be of so many examples.
func (c *Condition) planned(examples int) int { return c.Replicates * examples * c.PerQuestion() }

// Validate checks that the grid hangs together.
func (m *Meta) Validate() error {
	if m.Fingerprint == "" {
		return fmt.Errorf("the description of run %q has no fingerprint", m.Name)
	}
	if m.Examples < 1 || m.Examples > MaxExamples {
		return fmt.Errorf("the description of run %q has %d examples, it can have 1 to %d", m.Name, m.Examples,
			MaxExamples)
	}
	if len(m.Noises) > MaxNoises || len(m.Temps) > MaxTemps {
		return fmt.Errorf("the description of run %q has %d noises and %d temperatures, it can have %d and %d",
			m.Name, len(m.Noises), len(m.Temps), MaxNoises, MaxTemps)
	}
	if len(m.Conditions) == 0 {
		return fmt.Errorf("the description of run %q has no conditions", m.Name)
	}
	noises, temps := map[string]bool{}, map[string]bool{}
	for _, n := range m.Noises {
		if noises[n.Label] {
			return fmt.Errorf("the description of run %q has two noises with the label %q", m.Name, n.Label)
		}
		noises[n.Label] = true
	}
	for _, t := range m.Temps {
		if temps[t.Label] {
			return fmt.Errorf("the description of run %q has two temperatures with the label %q", m.Name, t.Label)
		}
		temps[t.Label] = true
	}
	for i, k := range m.K {
		if k < 1 || k > MaxSamples || i > 0 && k <= m.K[i-1] {
			return fmt.Errorf("the description of run %q asks for pass@%d among %v, which have to rise from 1 on",
				m.Name, k, m.K)
		}
	}
	if len(m.Golds) > 0 && len(m.Golds) != m.Examples {
		return fmt.Errorf("the description of run %q has %d right answers for %d examples", m.Name, len(m.Golds),
			m.Examples)
	}
	byIndex := map[[2]int]*Condition{}
	planned := 0
	for i := range m.Conditions {
		c := &m.Conditions[i]
		at := [2]int{c.NoiseIndex, c.TempIndex}
		switch {
		case c.NoiseIndex < 0 || c.NoiseIndex >= len(m.Noises) || c.TempIndex < 0 || c.TempIndex >= len(m.Temps):
			return fmt.Errorf("condition %d of run %q names noise %d and temperature %d, which its axes lack", i,
				m.Name, c.NoiseIndex, c.TempIndex)
		case byIndex[at] != nil:
			return fmt.Errorf("noise %d with temperature %d stands twice among the conditions of run %q", c.NoiseIndex,
				c.TempIndex, m.Name)
		case c.Replicates < 1 || c.Replicates > MaxReplicates:
			return fmt.Errorf("condition %d of run %q has %d replicates, it can have 1 to %d", i, m.Name, c.Replicates,
				MaxReplicates)
		case c.Samples < 0 || c.Samples > MaxSamples:
			return fmt.Errorf("condition %d of run %q has %d samples of each question, it can have 1 to %d", i, m.Name,
				c.Samples, MaxSamples)
		case (c.Deterministic || c.OneSample) && c.PerQuestion() != 1:
			return fmt.Errorf("condition %d of run %q would give the same sample again and has %d of each question, not 1",
				i, m.Name, c.Samples)
		case c.Deterministic && c.Replicates != 1:
			return fmt.Errorf("condition %d of run %q is deterministic and has %d replicates, not 1", i, m.Name,
				c.Replicates)
		}
		byIndex[at] = c
		if c.SamplesOf == nil {
			planned = min(planned+c.planned(m.Examples), MaxPlanned+1) // each of at most 2^56
		}
	}
	if planned > MaxPlanned {
		return fmt.Errorf("run %q has more than %d samples, which is the most that it can have; make it smaller (dataset.limit, noise_seeds, "+
			"samples, fewer noises or temperatures), or make several", m.Name, MaxPlanned)
	}
	for at, c := range byIndex {
		if c.SamplesOf == nil {
			continue
		}
		of := byIndex[[2]int{at[0], *c.SamplesOf}]
		if of == nil || of.SamplesOf != nil || of.PerQuestion() != c.PerQuestion() {
			return fmt.Errorf("noise %d with temperature %d of run %q shares the samples of temperature %d, "+
				"which has none of its own",
				at[0], at[1], m.Name, *c.SamplesOf)
		}
	}
	return nil
}
