package study

import (
	"context"
	"errors"
	"sync"

	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/keys"
	"github.com/gsmeval/gsmeval/noise/operation"
)

// Sink is how much of the squared input of a Linear one token holds. A spread over the tensor is that token's, where it
// is most.
type Sink struct {
	Name     string  `json:"name"`
	Position int     `json:"position"`
	Share    float64 `json:"share"`
}

// measureSinks finds the largest token at the input of every Linear, without noise.
func measureSinks(ctx context.Context, lm *decode.LM, probe decode.Probe) ([]Sink, error) {
	m := &meter{sites: map[uint32]*tokens{}}
	probe.From = len(probe.IDs) - 1
	effect, err := lm.Probe(ctx, []decode.Probe{probe}, decode.Probing{
		Noise: condition.Noise{Activations: condition.Part{Kind: "meter", Operation: m}}, Draws: 1,
	}, func(_, _, _ int, _, _ []float32) {})
	if err != nil && !errors.Is(err, condition.ErrNoEffect) {
		return nil, err
	}
	var list []Sink
	for i, id := range m.order {
		// Both lists are in the order in which the Linears were met.
		if t := m.sites[id]; i < len(effect) && t.sum > 0 && t.rows > 1 {
			list = append(list, Sink{Name: effect[i].Name, Position: t.position, Share: t.most / t.sum})
		}
	}
	return list, nil
}

// meter is an operation that changes nothing and remembers the tokens' sizes.
type meter struct {
	mu    sync.Mutex
	sites map[uint32]*tokens
	order []uint32
}

// tokens are the sums of squares of the rows of a site.
type tokens struct {
	most, sum      float64
	position, rows int
}

func (*meter) Check(keys.Report, operation.Place) {}
func (*meter) Label() string                      { return "meter" }
func (*meter) Random() bool                       { return false }

func (m *meter) PerturbRow(y []float32, x operation.Rows, i int) (t operation.Tally) {
	squares := 0.0
	for k, v := range x.Row(i) {
		y[k] = v
		squares += float64(v) * float64(v)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sites[x.Site]
	if s == nil {
		s = &tokens{}
		m.sites[x.Site] = s
		m.order = append(m.order, x.Site)
	}
	s.sum += squares
	s.rows++
	if p := int(x.Position); squares > s.most || squares == s.most && p < s.position {
		s.most, s.position = squares, p
	}
	return t
}
