package model

// newMistral is Mistral 7B and its kin: Llama without biases, whose attention slides in the early versions. Sequences
// are kept inside the window (checkpoint.Config.Context), where sliding and full attention are the same.
func newMistral(l *loader) network { return l.dense(variant{}) }
