package harness

import (
	"context"
	"fmt"
	"math"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/harness/config"
)

// schedule returns the temperatures of conditions, measuring alpha where a policy needs it.
func (r *runner) schedule(_ context.Context) scheduler {
	return func(_ int, t config.Temperature) (decode.Schedule, float64, error) {
		switch t.Policy {
		case config.PolicyGreedy:
			return decode.Greedy(), math.NaN(), nil
		case config.PolicyConstant:
			return decode.Constant(t.Value), math.NaN(), nil
		}
		return decode.Schedule{}, 0, fmt.Errorf("policy %s is not supported by this version", t.Policy)
	}
}
