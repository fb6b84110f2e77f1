package stats

import "math"

// The test and the power that the smallest detectable difference is stated for.
const (
	Alpha = 0.05
	Power = 0.80
)

// PairedMDE returns the smallest difference that a paired comparison of n questions finds significant (two-sided,
// alpha) with the given power. meanSquare is the mean over questions of the squared difference between the two arms,
// which for single verdicts is the share of discordant pairs. It solves
//
//	n = (z_{1-alpha/2} sqrt(s) + z_power sqrt(s - d^2))^2 / d^2,  s = meanSquare,
//
// for d (R. J. Connor, Biometrics 43 (1987) 207, for McNemar's test). It is NaN where no difference can be seen or
// where nothing ever differed.
func PairedMDE(meanSquare float64, n int, alpha, power float64) float64 {
	za, zb := NormalQuantile(1-alpha/2), NormalQuantile(power)
	nn := float64(n)
	inner := zb * zb * (nn - za*za + zb*zb)
	if meanSquare <= 0 || inner < 0 {
		return math.NaN()
	}
	d := math.Sqrt(meanSquare) * (za*math.Sqrt(nn) + math.Sqrt(inner)) / (nn + zb*zb)
	if d*d > meanSquare {
		return math.NaN()
	}
	return d
}

// UnpairedMDE returns the smallest difference between two independent proportions near p, from n1 and n2 (effective)
// trials, that a two-sided test finds significant with the given power: (z_{1-alpha/2} + z_power)
// sqrt(p(1-p)(1/n1+1/n2)) (J. L. Fleiss, Statistical Methods for Rates and Proportions, section 4.2, both variances
// taken at p). It is NaN where p is 0 or 1.
func UnpairedMDE(p, n1, n2, alpha, power float64) float64 {
	v := p * (1 - p) * (1/n1 + 1/n2)
	if !(v > 0) || math.IsInf(v, 0) {
		return math.NaN()
	}
	return (NormalQuantile(1-alpha/2) + NormalQuantile(power)) * math.Sqrt(v)
}
