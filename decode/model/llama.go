package model

// newLlama is Llama 2, 3, 3.1 and 3.2, TinyLlama, SmolLM2 and the Llama distillations of DeepSeek-R1. attention_bias
// covers all four projections of the attention.
func newLlama(l *loader) network {
	attention := says(l.cfg.AttentionBias)
	return l.dense(variant{qkvBias: attention, oBias: attention, mlpBias: says(l.cfg.MLPBias)})
}
