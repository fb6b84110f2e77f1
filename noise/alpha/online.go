package alpha

import "math"

// Twin is what two noisy passes over the same tokens, under independent noise, say of it without a clean one. Variances
// are over the vocabulary.
type Twin struct {
	VarE float64 // Var(z1 - z2)/2: the variance of e about its mean. What the noise does in the mean of all draws is not in it
	VarZ float64 // Cov(z1, z2): the variance of E[z']
	// Pair is an estimate of Var(e1 - e2) for two candidates: twice the variance of e weighted by p = softmax((z1 +
	// z2)/2T_base), over 1 - sum p^2, which is what such a variance has of the noise of independent tokens.
	Pair float64
}

// Compare looks at two noisy passes.
func Compare(z1, z2 []float32, base float64) Twin {
	n := float64(len(z1))
	var m1, m2 float64
	top := math.Inf(-1)
	for i, a := range z1 {
		b := float64(z2[i])
		m1, m2 = m1+float64(a)/n, m2+b/n
		top = max(top, float64(a)+b)
	}
	var diff, cov, mass, square, meanD, meanD2 float64
	for i, a := range z1 {
		d1, d2 := float64(a)-m1, float64(z2[i])-m2
		diff += (d1 - d2) * (d1 - d2)
		cov += d1 * d2
		w := math.Exp((float64(a) + float64(z2[i]) - top) / (2 * base))
		mass += w
		square += w * w
		meanD += w * (d1 - d2)
		meanD2 += w * (d1 - d2) * (d1 - d2)
	}
	t := Twin{VarE: diff / (n - 1) / 2, VarZ: cov / (n - 1)}
	meanD /= mass
	if free := 1 - square/(mass*mass); free > 1e-12 {
		t.Pair = max(meanD2/mass-meanD*meanD, 0) / free
	}
	return t
}

// OnlineForms are the forms that two noisy passes are enough for.
func OnlineForms() []Form { return []Form{Sqrt, Linear, Probit} }

// Temperature is that of a form; 0 where it has none, or where the two passes have nothing in common.
func (t Twin) Temperature(f Form, base float64) float64 {
	if f == Probit {
		return root(base*base - math.Pi/8*t.Pair)
	}
	row, err := f.row()
	if err != nil || t.VarZ <= 0 {
		return 0
	}
	return row.temperature(base, t.VarE/t.VarZ)
}
