// Package finish names the ends of a sequence, for what decodes, scores, stores and reports it.
package finish

// Reason says why a sequence ended.
type Reason string

// The ends of a sequence.
const (
	Stop      Reason = "stop"      // an end token or a stop string
	Length    Reason = "length"    // the token limit
	Nonfinite Reason = "nonfinite" // a logit was not finite
	Failed    Reason = "error"     // an operation failed
)
