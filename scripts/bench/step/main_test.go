package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// ask gives requests to the program and returns its answers, the first of which says that it is ready.
func ask(t *testing.T, requests ...string) []json.RawMessage {
	t.Helper()
	var out strings.Builder
	model := filepath.Join("..", "..", "..", "models", "gsm-tiny")
	if err := run([]string{"--model", model, "--threads", "1"}, strings.NewReader(strings.Join(requests, "\n")),
		&out); err != nil {
		t.Fatal(err)
	}
	var answers []json.RawMessage
	for line := range strings.Lines(out.String()) {
		answers = append(answers, json.RawMessage(line))
	}
	if len(answers) != len(requests)+1 {
		t.Fatalf("%d answers to %d requests: %s", len(answers)-1, len(requests), out.String())
	}
	return answers[1:]
}

func TestEveryStepIsTimed(t *testing.T) {
	for i, answer := range ask(t,
		`{"op": "decode", "batch": 1, "prompt": 5, "steps": 7, "greedy": true}`,
		`{"op": "decode", "batch": 3, "prompt": 1, "steps": 7, "warm": 2, "noise": 0.1}`,
		`{"op": "trace", "batch": 3, "prompt": 5, "steps": 7, "warm": 2, "noise": 0.1}`) {
		var got timing
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.StepMS) != 7 || got.PrefillMS <= 0 {
			t.Errorf("request %d: %d steps were timed and prompts took %v ms, want 7 steps and some time", i,
				len(got.StepMS), got.PrefillMS)
		}
		if (got.Ops != nil) != (i == 2) {
			t.Errorf("request %d: operations %v", i, got.Ops)
		}
		for step, total := range got.StepMS {
			sum := 0.0
			for op, took := range got.Ops {
				if sum += took[step]; op == "linear" && took[step] <= 0 {
					t.Errorf("step %d took no time in %s", step, op)
				}
			}
			if got.Ops != nil && (sum < total-0.01 || sum > total+0.01) {
				t.Errorf("step %d took %v ms, its operations %v", step, total, sum)
			}
		}
	}
}

func TestSoakReadsMemory(t *testing.T) {
	var got []memory
	answer := ask(t,
		`{"op": "soak", "batch": 2, "prompt": 8, "steps": 8, "noise": 0.1, "seconds": 0.3, "every": 0.05}`)[0]
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatal(err)
	}
	for i, m := range got {
		if m.AnonMB < 1 || i > 0 && (m.Seconds <= got[i-1].Seconds || m.Tokens <= got[i-1].Tokens) {
			t.Errorf("reading %d of %v", i, got)
		}
	}
	if len(got) < 2 {
		t.Errorf("%d readings in 0.3 s, want one every 0.05 s", len(got))
	}
}

// Whole decodes every prompt to its end, more of them than there are slots.
func TestWholeDecodesEveryPrompt(t *testing.T) {
	for _, noise := range []string{"0", "0.1"} {
		var got corpus
		answer := ask(t, `{"op": "whole", "batch": 3, "prompt": 6, "steps": 5, "prompts": 10, "noise": `+noise+`}`)[0]
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		if got.Tokens != 50 || got.Seconds <= 0 {
			t.Errorf("noise %s: %+v, want 50 tokens in some time", noise, got)
		}
	}
}

func TestBadRequestsAreErrors(t *testing.T) {
	for _, request := range []string{
		`{"op": "sing"}`, `{"op": "decode", "batches": 1}`,
		`{"op": "whole", "batch": 2, "steps": 4}`, `{`,
	} {
		var out strings.Builder
		err := run([]string{"--model", filepath.Join("..", "..", "..", "models", "gsm-tiny")},
			strings.NewReader(request), &out)
		if err == nil || !strings.Contains(err.Error(), "request") {
			t.Errorf("request %s: error %v", request, err)
		}
	}
}
