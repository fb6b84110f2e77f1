// Package results keeps what a run produced and says what it means: the record of one sample, the journal that holds
// the records, the table made of them, and the comparison of conditions and of runs.
//
// Data flows one way: records are appended to a [Journal] (samples.jsonl), a [Set] is collected from its records and
// the run's [Meta], and a [Table] and a [Comparison] are computed from sets. The journal is the only source of the
// tables: the same records give the same bytes on any machine.
package results
