package model

// newQwen3 is Qwen3 (dense): each query and key head is normalised before it is rotated.
func newQwen3(l *loader) network {
	bias := says(l.cfg.AttentionBias)
	return l.dense(variant{qkvBias: bias, oBias: bias, headNorm: true})
}
