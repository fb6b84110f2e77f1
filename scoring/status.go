package scoring

// Status says how a sample ended, as far as scoring is concerned.
type Status string

// The statuses a sample can have.
const (
	StatusOK        Status = "ok"        // an answer was read from a finished text
	StatusNoAnswer  Status = "no_answer" // the text is finished and holds no answer
	StatusTruncated Status = "truncated" // the token limit came before the end token, or a <think> block never closed
	StatusNonfinite Status = "nonfinite" // the logits were not finite; the sample is not scored
	StatusError     Status = "error"     // generating failed; the sample is not scored
)

// Counted reports whether samples of this status are in the denominator of
// accuracy. Failures of the engine are reported beside it and never scored.
func (s Status) Counted() bool {
	switch s {
	case StatusOK, StatusNoAnswer, StatusTruncated:
		return true
	default:
		return false
	}
}
