package config

import (
	"strings"
	"testing"
)

func TestParseNoise(t *testing.T) {
	t.Parallel()
	for text, label := range map[string]string{
		"{kind: activation, scale: 0.05}":                                           "activation 0.05",
		"{activations: {kind: nvfp4, static: true}, kv: {kind: fp8, static: true}}": "activations nvfp4 static, kv fp8 static",
		"{weights: {kind: reram, time: 86400, per: row}, scope: analog}":            "weights reram 86400s /row analog",
		"weights: {kind: int, bits: 4, per: group, group: 32}":                      "weights int4 /group 32",
		"{weights: {kind: pcm, time: 3600}, scope: analog}":                         "weights pcm 3600s analog",
		"{weights: {kind: int, bits: 8}, activations: {kind: int, bits: 8}}":        "weights int8, activations int8",
		"{weights: {kind: gaussian, scale: 1, per: tile, tile: 512}, scope: all}":   "weights gaussian 1 std/tile 512 all",
		"{kv: {kind: int, bits: 4, per: group, group: 16, rounding: stochastic}}":   "kv int4 /group 16 stochastic",
		"{activations: {kind: converters, bits: 8, range: 3, relative_to: std}}":    "activations converters 8 bit range 3 std",
		"{weights: {kind: bit_flip, rate: 1e-5, format: int8}, exclude: [q_proj]}":  "weights bit_flip 1e-05 int8 exclude q_proj",
	} {
		n, err := ParseNoise("--noise", text)
		if err != nil || n.Label() != label {
			t.Errorf("%s is %q, %v; want %q", text, n.Label(), err, label)
		}
	}
	for text, want := range map[string]string{
		"":                                "the noise is empty",
		"[1]":                             "expected a mapping",
		"{kind: activaton, scale: 1}":     "activaton",
		"{weights: {kind: int}}":          "noise.weights.bits: the key is missing",
		"{weights: {kind: int, bits: 9}}": "noise.weights.bits: expected a whole number from 2 to 8",
		"{weights: {kind: int, bits: x}}": "noise.weights.bits",
		"{weights: {kind: nf4, bits: 4}}": "only int and converters have this key",
		"{kv: {kind: pcm}}":               "noise.kv.kind: expected one of",
		"{weights: {kind: int, bits: 4, per: group}}":             "noise.weights.group: per: group needs",
		"{weights: {kind: int, bits: 4, group: 4}}":               "noise.weights.group: this is a key of per: group",
		"{weights: {kind: int, bits: 4, range: 4}}":               "noise.weights.range: weights have their range",
		"{weights: {kind: int, bits: 4, static: true}}":           "noise.weights.static: weights have their range",
		"{activations: {kind: fp8, static: true, range: 2}}":      "leave out static or range",
		"{activations: {kind: fp8, static: true, per: tensor}}":   "noise.activations.per: a static range",
		"{weights: {kind: reram, time: 60}}":                      "there is data for 1, 86400, 172800 seconds, found 60",
		"{weights: {kind: stuck}}":                                "no cell is stuck",
		"{weights: {kind: stuck, zero: 0.9, max: 0.2}}":           "add up to 1.1",
		"{weights: {kind: bit_flip, rate: 2}}":                    "noise.weights.rate",
		"{activations: {kind: gaussian, scale: 1, per: tile}}":    "noise.activations.per",
		"{weights: {kind: gaussian, scale: 1, tile: 3}}":          "noise.weights.tile: this is a key of per: tile",
		"{weights: {kind: pcm, time: -1}}":                        "noise.weights.time",
		"{weights: {kind: mxfp8, format: e3m4}}":                  "noise.weights.format",
		"{kind: weight, scale: 1, scope: digital}":                "noise.scope: expected one of all, linears, analog",
		"{activations: {kind: converters, bits: 8, range: .nan}}": "noise.activations.range",
		"{weights: {kind: int, bits: 4}}\n---\n{}":                "a second document",
	} {
		if _, err := ParseNoise("--noise", text); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "--noise") {
			t.Errorf("%s: error %v does not name %q", text, err, want)
		}
	}
}

func FuzzParseNoise(f *testing.F) {
	f.Add("{weights: {kind: int, bits: 4, per: group, group: 32}, scope: analog}")
	f.Add("{kind: combined, weight_scale: 1, activation_scale: 2}")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNoise("--noise", text)
		if err == nil && n.Label() == "" {
			t.Errorf("%q has no label", text)
		}
	})
}
