package results

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Write writes the comparison in a format; the same comparison gives the same bytes.
func (c *Comparison) Write(w io.Writer, format Format) error {
	if err := c.document().write(w, format); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}

// Cells returns the comparison's cells, a row for each pair.
func (c *Comparison) Cells() Cells { return c.document().cells }

func (c *Comparison) document() *document {
	notes := notesOf(c.Warnings, c.Notes)
	for i := range c.Pairs {
		p := &c.Pairs[i]
		name := p.Noise + ", " + p.A + " against " + p.B
		if len(p.GainedIDs) > 0 {
			notes = append(notes, name+": gained "+idList(p.GainedIDs)+".")
		}
		if len(p.LostIDs) > 0 {
			notes = append(notes, name+": lost "+idList(p.LostIDs)+".")
		}
	}
	return layOut(c, slices.Concat(compareColumns, samplesPairColumns(c.Pairs)), c.Pairs, notes)
}

// compareColumns are the columns of a comparison, from left to right.
var compareColumns = []column[Pair]{
	{csv: "noise", head: "Noise", label: true, cell: func(p *Pair) value { return textValue(p.Noise) }},
	{
		csv: "temperature", head: "Temperature", label: true,
		shown: anyOf(func(p *Pair) bool { return p.Temperature != "" }),
		cell:  func(p *Pair) value { return textValue(p.Temperature) },
	},
	{csv: "a", head: "A", label: true, cell: func(p *Pair) value { return textValue(p.A) }},
	{csv: "b", head: "B", label: true, cell: func(p *Pair) value { return textValue(p.B) }},
	{csv: "paired", cell: func(p *Pair) value { return flagValue(p.Paired) }},
	{csv: "n,n_a,n_b", head: "n", cell: pairedNValue},
	{csv: "questions", cell: func(p *Pair) value { return countValue(p.Questions) }},
	{csv: "replicates", cell: func(p *Pair) value { return countValue(p.Replicates) }},
	{csv: "dropped", cell: func(p *Pair) value { return countValue(p.Dropped) }},
	{csv: "acc_a", head: "A %", cell: func(p *Pair) value { return shareValue(p.AccA) }},
	{csv: "acc_b", head: "B %", cell: func(p *Pair) value { return shareValue(p.AccB) }},

	{csv: "diff", head: "Difference", cell: func(p *Pair) value { return pointsValue(p.Diff) }},
	{csv: "se", cell: func(p *Pair) value { return pointsValue(p.SE) }},
	{csv: "ci_lo,ci_hi", head: "95 % CI", cell: func(p *Pair) value { return intervalValue(&p.CI, points) }},
	{
		csv: "ci_new_chips_lo,ci_new_chips_hi", head: "new chips",
		shown: anyOf(func(p *Pair) bool { return p.NewChips != nil }),
		cell:  func(p *Pair) value { return intervalValue(p.NewChips, points) },
	},
	{csv: "gained", head: "Gained", cell: func(p *Pair) value { return maybeCountValue(p.Gained) }},
	{csv: "lost", head: "Lost", cell: func(p *Pair) value { return maybeCountValue(p.Lost) }},
	{csv: "p", head: "p", cell: func(p *Pair) value { return testValue(p.P) }},
	{csv: "p_holm", head: "p (Holm)", cell: func(p *Pair) value { return testValue(p.PHolm) }},
	{csv: "method", cell: func(p *Pair) value { return textValue(p.Method) }},
	{csv: "mde", head: "Visible", cell: func(p *Pair) value { return shareValue(p.MDE) }},
	{csv: "gained_ids", cell: func(p *Pair) value { return textValue(idList(p.GainedIDs)) }},
	{csv: "lost_ids", cell: func(p *Pair) value { return textValue(idList(p.LostIDs)) }},
}

// samplesPairColumns are the columns of several samples of a question: those of each k that all pairs have.
func samplesPairColumns(pairs []Pair) (out []column[Pair]) {
	if len(pairs) == 0 || slices.ContainsFunc(pairs, func(p Pair) bool { return len(p.AtK) != len(pairs[0].AtK) }) {
		return nil
	}
	for i, at := range pairs[0].AtK {
		for _, what := range []struct {
			name string
			of   func(*PairAtK) *PairScore
		}{
			{"pass", func(a *PairAtK) *PairScore { return &a.Pass }},
			{"maj", func(a *PairAtK) *PairScore { return &a.Maj }},
		} {
			name, head := what.name+"_at_"+strconv.Itoa(at.K), fmt.Sprintf("%s@%d", what.name, at.K)
			score := func(p *Pair) *PairScore { return what.of(&p.AtK[i]) }
			several := func([]Pair) bool { return at.K > 1 } // of one sample both are the accuracy
			out = append(out,
				column[Pair]{
					csv: name + "_a", head: "A " + head, shown: several,
					cell: func(p *Pair) value { return shareValue(score(p).A) },
				},
				column[Pair]{
					csv: name + "_b", head: "B " + head, shown: several,
					cell: func(p *Pair) value { return shareValue(score(p).B) },
				},
				column[Pair]{
					csv: name + "_diff", head: "Difference", shown: several,
					cell: func(p *Pair) value { return pointsValue(score(p).Diff) },
				},
				column[Pair]{
					csv: name + "_lo," + name + "_hi", head: "95 % CI", shown: several,
					cell: func(p *Pair) value { return intervalValue(&score(p).CI, points) },
				},
				column[Pair]{
					csv: name + "_new_chips_lo," + name + "_new_chips_hi", head: "new chips",
					shown: func(pairs []Pair) bool {
						return several(pairs) && anyOf(func(p *Pair) bool { return p.NewChips != nil })(pairs)
					},
					cell: func(p *Pair) value { return intervalValue(score(p).NewChips, points) },
				})
		}
	}
	return out
}

func pairedNValue(p *Pair) value {
	c := value{exact: []string{strconv.Itoa(p.N), strconv.Itoa(p.NA), strconv.Itoa(p.NB)}, shown: strconv.Itoa(p.N)}
	if !p.Paired {
		c.shown = fmt.Sprintf("%d, %d unpaired", p.NA, p.NB)
	}
	return c
}

// idList prints ids, with the replicate and the sample behind slashes where they are not the first.
func idList(ids []SampleID) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(id.ID)
		if id.Replicate > 0 || id.Sample > 0 {
			parts[i] += "/" + strconv.Itoa(id.Replicate)
		}
		if id.Sample > 0 {
			parts[i] += "/" + strconv.Itoa(id.Sample)
		}
	}
	return strings.Join(parts, " ")
}
