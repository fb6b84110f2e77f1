package latex

import (
	"math"
	"math/big"
	"math/cmplx"
)

// maxBits bounds numbers that are computed exactly.
const maxBits = 4096

// exact computes a formula of whole numbers and fractions.
func (n *node) exact() (*big.Rat, bool) {
	if n.op == opNumber {
		return n.rat, true
	}
	switch n.op {
	case opAdd, opMul, opDiv, opNeg, opPow, opRoot, opFact, opAbs, opPercent:
	default:
		return nil, false
	}
	args := make([]*big.Rat, len(n.parts))
	for i, part := range n.parts {
		r, ok := part.exact()
		if !ok || r.Num().BitLen()+r.Denom().BitLen() > maxBits {
			return nil, false
		}
		args[i] = r
	}
	r := new(big.Rat)
	switch n.op {
	case opAdd:
		return r.Add(args[0], args[1]), true
	case opMul:
		return r.Mul(args[0], args[1]), true
	case opDiv:
		if args[1].Sign() == 0 {
			return nil, false
		}
		return r.Quo(args[0], args[1]), true
	case opNeg:
		return r.Neg(args[0]), true
	case opAbs:
		return r.Abs(args[0]), true
	case opPercent:
		return r.Quo(args[0], big.NewRat(100, 1)), true
	case opPow:
		return power(args[0], args[1])
	case opRoot:
		return root(args[0], args[1])
	default: // opFact
		const most = 100
		if !args[0].IsInt() || args[0].Sign() < 0 || args[0].Cmp(big.NewRat(most, 1)) > 0 {
			return nil, false
		}
		return r.SetInt(new(big.Int).MulRange(1, args[0].Num().Int64())), true
	}
}

// power is base to a whole exponent, or to a fraction whose root is exact.
func power(base, exponent *big.Rat) (*big.Rat, bool) {
	if !exponent.IsInt() {
		if r, ok := root(new(big.Rat).SetInt(exponent.Denom()), base); ok {
			return power(r, new(big.Rat).SetInt(exponent.Num()))
		}
		return nil, false
	}
	if !exponent.Num().IsInt64() {
		return nil, false
	}
	e := exponent.Num().Int64()
	bits := int64(base.Num().BitLen() + base.Denom().BitLen())
	if e > maxBits || e < -maxBits || bits*max(e, -e) > 2*maxBits || base.Sign() == 0 && e <= 0 {
		return nil, false
	}
	a := new(big.Int).Exp(base.Num(), big.NewInt(max(e, -e)), nil)
	b := new(big.Int).Exp(base.Denom(), big.NewInt(max(e, -e)), nil)
	if e < 0 {
		a, b = b, a
	}
	return new(big.Rat).SetFrac(a, b), true
}

// root is the root of x of a small degree, where that is a fraction.
func root(degree, x *big.Rat) (*big.Rat, bool) {
	if !degree.IsInt() || degree.Sign() <= 0 || degree.Cmp(big.NewRat(64, 1)) > 0 {
		return nil, false
	}
	n := degree.Num().Int64()
	if x.Sign() < 0 {
		if n%2 == 0 {
			return nil, false
		}
		r, ok := root(degree, new(big.Rat).Neg(x))
		if !ok {
			return nil, false
		}
		return r.Neg(r), true
	}
	a, okA := intRoot(x.Num(), n)
	b, okB := intRoot(x.Denom(), n)
	if !okA || !okB {
		return nil, false
	}
	return new(big.Rat).SetFrac(a, b), true
}

// intRoot is the root of a whole number, if that is whole.
func intRoot(x *big.Int, n int64) (*big.Int, bool) {
	if n == 2 {
		r := new(big.Int).Sqrt(x)
		return r, new(big.Int).Mul(r, r).Cmp(x) == 0
	}
	low, high := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), uint(int64(x.BitLen())/n+1))
	for low.Cmp(high) <= 0 {
		mid := new(big.Int).Add(low, high)
		mid.Rsh(mid, 1)
		switch new(big.Int).Exp(mid, big.NewInt(n), nil).Cmp(x) {
		case 0:
			return mid, true
		case -1:
			low = mid.Add(mid, big.NewInt(1))
		default:
			high = mid.Sub(mid, big.NewInt(1))
		}
	}
	return nil, false
}

var nan = cmplx.NaN()

// constants are the names that are numbers.
var constants = map[string]complex128{
	"pi": math.Pi, "e": math.E, "i": 1i, "infty": cmplx.Inf(),
}

// at computes a formula with its variables set to values that the trial's number chooses. It is NaN of what is no
// number.
func (n *node) at(trial uint64, sign float64) complex128 {
	if r, ok := n.exact(); ok {
		f, _ := r.Float64()
		return complex(f, 0)
	}
	part := func(i int) complex128 { return n.parts[i].at(trial, sign) }
	switch n.op {
	case opSymbol:
		if c, ok := constants[n.name]; ok {
			return c
		}
		return complex(variable(n.name, trial), 0)
	case opAdd:
		return part(0) + part(1)
	case opPlus:
		return part(0) + complex(sign, 0)*part(1)
	case opMul:
		return part(0) * part(1)
	case opDiv:
		return part(0) / part(1)
	case opNeg:
		return -part(0)
	case opPow:
		return cmplx.Pow(part(0), part(1))
	case opRoot:
		return rootAt(part(0), part(1))
	case opAbs:
		return complex(cmplx.Abs(part(0)), 0)
	case opPercent:
		return part(0) / 100
	case opFact:
		return complex(math.Gamma(real(part(0))+1), 0)
	case opFunc:
		return n.functionAt(part)
	default:
		return nan
	}
}

// rootAt is the root as people mean it: odd roots of negative numbers are negative.
func rootAt(degree, x complex128) complex128 {
	if imag(x) == 0 && imag(degree) == 0 && real(x) < 0 && math.Mod(real(degree), 2) == 1 {
		return complex(-math.Pow(-real(x), 1/real(degree)), 0)
	}
	return cmplx.Pow(x, 1/degree)
}

func (n *node) functionAt(part func(int) complex128) complex128 {
	x := part(0)
	switch n.name {
	case "sin":
		return cmplx.Sin(x)
	case "cos":
		return cmplx.Cos(x)
	case "tan":
		return cmplx.Tan(x)
	case "cot":
		return cmplx.Cot(x)
	case "sec":
		return 1 / cmplx.Cos(x)
	case "csc":
		return 1 / cmplx.Sin(x)
	case "asin":
		return cmplx.Asin(x)
	case "acos":
		return cmplx.Acos(x)
	case "atan":
		return cmplx.Atan(x)
	case "sinh":
		return cmplx.Sinh(x)
	case "cosh":
		return cmplx.Cosh(x)
	case "tanh":
		return cmplx.Tanh(x)
	case "exp":
		return cmplx.Exp(x)
	case "ln":
		return cmplx.Log(x)
	case "log":
		if len(n.parts) > 1 {
			return cmplx.Log(x) / cmplx.Log(part(1))
		}
		return cmplx.Log(x)
	default: // binom
		a, b := real(x), real(part(1))
		return complex(math.Round(math.Exp(lgamma(a+1)-lgamma(b+1)-lgamma(a-b+1))), 0)
	}
}

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}

// variable is a value between 0.3 and 2.3 that depends on the name and the trial alone.
func variable(name string, trial uint64) float64 {
	h := uint64(14695981039346656037) ^ trial*0x9e3779b97f4a7c15
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 32
	return 0.3 + 2*float64(h>>11)/(1<<53)
}
