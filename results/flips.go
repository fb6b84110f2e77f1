package results

// Flips is what a noise did to single answers: samples under it against those without noise, at the same temperature,
// of the same question, replicate and number.
type Flips struct {
	// Clean is the label of the noise that is none.
	Clean string `json:"clean"`
	// N samples count on both sides; of them so many are right without the noise and wrong with it, and the reverse.
	N            int `json:"n"`
	RightToWrong int `json:"right_to_wrong"`
	WrongToRight int `json:"wrong_to_right"`
	// P is that of the exact test that both are equally frequent, by the method of a comparison.
	P      Float  `json:"p"`
	Method string `json:"method"`
}

// Flips compares the condition of a noise and a temperature with the clean one at that temperature. There is nothing to
// compare where the run has no noise that is none, or not at that temperature, and for that noise itself.
func (s *Set) Flips(noise, temp int) (Flips, bool) {
	noisy, ok := s.cells[[2]int{noise, temp}]
	if !ok || s.meta.Noises[noise].Kind == KindNone {
		return Flips{}, false
	}
	for clean, n := range s.meta.Noises {
		c, ok := s.cells[[2]int{clean, temp}]
		if n.Kind != KindNone || !ok {
			continue
		}
		labels := s.labels(noisy.cond)
		p := pairUp(arm{s, c}, arm{s, noisy}, s.meta.Noises[noise].Chips, DefaultSeed, n.Label, labels[0], labels[1])
		return Flips{
			Clean: n.Label, N: p.n, RightToWrong: len(p.lost), WrongToRight: len(p.gained),
			P: Float(p.p), Method: p.method,
		}, true
	}
	return Flips{}, false
}
