package model

// newQwen2 is Qwen2, Qwen2.5 and the Qwen distillations of DeepSeek-R1: biases on q, k and v.
func newQwen2(l *loader) network { return l.dense(variant{qkvBias: true}) }
