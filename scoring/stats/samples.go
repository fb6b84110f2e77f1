package stats

import "math"

// PassAtK returns the unbiased estimate of the probability that at least one of k samples of a question is right, from
// n samples of which some are right: 1 - C(n-right, k) / C(n, k), the share of all subsets of k that hold a right one
// (M. Chen et al., arXiv:2107.03374, equation 1, as a product that neither overflows nor cancels). It is NaN where
// there are fewer than k samples.
func PassAtK(n, right, k int) float64 {
	switch {
	case k < 1 || n < k || right < 0 || right > n:
		return math.NaN()
	case n-right < k:
		return 1
	}
	none := 1.0
	for i := n - right + 1; i <= n; i++ {
		none *= 1 - float64(k)/float64(i)
	}
	return 1 - none
}

// Votes is what the samples of one question answered.
type Votes struct {
	// Classes are the answers, those that are equal taken together.
	Classes []Class
	// None is how many samples gave no answer: they count as samples and never win a vote.
	None int
}

// Class is how often an answer was given, and whether it is right.
type Class struct {
	N     int
	Right bool
}

// Count makes votes of samples: class tells the answers apart, its zero value says that there is none, and right says
// whether it is right. Classes are in the order of their first sample. Where samples of a class disagree on what is
// right, as they may where a text was cut, those that are right are a class of their own.
func Count[C comparable](class []C, right []bool) Votes {
	type key struct {
		name  C
		right bool
	}
	var none C
	var v Votes
	at := map[key]int{}
	for i, name := range class {
		if name == none {
			v.None++
			continue
		}
		k := key{name, right[i]}
		if _, ok := at[k]; !ok {
			at[k] = len(v.Classes)
			v.Classes = append(v.Classes, Class{Right: right[i]})
		}
		v.Classes[at[k]].N++
	}
	return v
}

// N is how many samples voted, those without an answer included.
func (v Votes) N() int {
	n := v.None
	for _, c := range v.Classes {
		n += c.N
	}
	return n
}

// Right is how many samples are right.
func (v Votes) Right() int {
	n := 0
	for _, c := range v.Classes {
		if c.Right {
			n += c.N
		}
	}
	return n
}

// Majority returns the share of all samples that gave the most frequent answer, and the probability that it is right
// where ties are broken by a fair draw among the most frequent. Both are 0 where no sample gave an answer.
func (v Votes) Majority() (share, right float64) {
	most, winners, rightWinners := 0, 0, 0
	for _, c := range v.Classes {
		if c.N > most {
			most, winners, rightWinners = c.N, 0, 0
		}
		if c.N == most && most > 0 {
			winners++
			if c.Right {
				rightWinners++
			}
		}
	}
	if most == 0 {
		return 0, 0
	}
	return float64(most) / float64(v.N()), float64(rightWinners) / float64(winners)
}

// MajAtK returns the expected verdict of a majority vote among k samples drawn from those that there are, over all C(n,
// k) subsets: a tie is broken by a fair draw among its answers, and a subset without an answer is wrong. It is exact,
// by counting: the subsets that give no answer more than j votes and some of them exactly j are added up by a recursion
// over the answers. It is NaN where there are fewer than k samples.
//
// Every count is weighed as if each sample were drawn by itself with probability q = k/n: the product of the binomial
// probabilities of all answers, given that k are drawn in all, is their hypergeometric probability whatever q is, and
// nothing overflows.
func MajAtK(v Votes, k int) float64 {
	n := v.N()
	if k < 1 || n < k {
		return math.NaN()
	}
	q := float64(k) / float64(n)
	most := 0
	for _, c := range v.Classes {
		most = max(most, c.N)
	}
	sum := 0.0
	for top := 1; top <= min(k, most); top++ {
		sum += majorityOf(v, k, top, q)
	}
	return min(1, sum/binomial(n, k, q))
}

// majorityOf returns the weight of the draws of k samples whose most frequent answers have exactly top votes, times the
// share of right ones among these answers.
func majorityOf(v Votes, k, top int, q float64) float64 {
	// weights[drawn][right][wrong]: of the answers so far drawn samples were drawn, and right and wrong answers have
	// top votes.
	ties := k/top + 1
	at := func(drawn, right, wrong int) int { return (drawn*ties+right)*ties + wrong }
	weights, next := make([]float64, at(k+1, 0, 0)), make([]float64, at(k+1, 0, 0))
	for drawn := range min(v.None, k) + 1 {
		weights[at(drawn, 0, 0)] = binomial(v.None, drawn, q)
	}
	for _, c := range v.Classes {
		clear(next)
		for votes := range min(c.N, top) + 1 {
			w := binomial(c.N, votes, q)
			isRight, isWrong := 0, 0
			if votes == top && c.Right {
				isRight = 1
			} else if votes == top {
				isWrong = 1
			}
			for drawn := range k - votes + 1 {
				for right := range ties - isRight {
					for wrong := range ties - isWrong {
						if weight := weights[at(drawn, right, wrong)]; weight > 0 {
							next[at(drawn+votes, right+isRight, wrong+isWrong)] += weight * w
						}
					}
				}
			}
		}
		weights, next = next, weights
	}
	sum := 0.0
	for right := 1; right < ties; right++ {
		for wrong := range ties {
			sum += weights[at(k, right, wrong)] * float64(right) / float64(right+wrong)
		}
	}
	return sum
}

// binomial returns the probability of k successes in n trials, each with probability q.
func binomial(n, k int, q float64) float64 {
	const direct = 50 // up to here a coefficient is exact
	if n > direct {
		if q == 1 {
			return boolTo(n == k)
		}
		return math.Exp(logChoose(n, k) + float64(k)*math.Log(q) + float64(n-k)*math.Log1p(-q))
	}
	choose := 1.0
	for i := 1; i <= k; i++ {
		choose = math.Round(choose * float64(n-k+i) / float64(i))
	}
	return choose * math.Pow(q, float64(k)) * math.Pow(1-q, float64(n-k))
}

func boolTo(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// CalibrationBin holds the questions whose majority has a share within the bin: how many, and the means of the share
// and of what is right.
type CalibrationBin struct {
	N            int
	Share, Right float64
}

// Calibration sorts questions into bins of equal width by the share of their majority. Bin i of n holds shares above
// i/n and up to (i+1)/n, the first one 0 too (C. Guo et al., ICML 2017, section 2). right is the probability that the
// majority is right, as Votes.Majority returns it.
func Calibration(share, right []float64, bins int) []CalibrationBin {
	out := make([]CalibrationBin, bins)
	for i := range share {
		b := min(max(int(math.Ceil(share[i]*float64(bins)))-1, 0), bins-1)
		out[b].N++
		out[b].Share += share[i]
		out[b].Right += right[i]
	}
	for b := range out {
		if n := float64(out[b].N); n > 0 {
			out[b].Share /= n
			out[b].Right /= n
		}
	}
	return out
}

// ECE returns the expected calibration error: how far the share of the majority and the frequency with which it is
// right lie apart, on the mean over bins weighed by their questions (Guo et al., equation 3). It is NaN without
// questions. Where few questions are in a bin it is too large, by chance alone.
func ECE(bins []CalibrationBin) float64 {
	sum, n := 0.0, 0
	for _, b := range bins {
		sum += float64(b.N) * math.Abs(b.Right-b.Share)
		n += b.N
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}
