package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/gsmeval/gsmeval/internal/lease"
	"github.com/gsmeval/gsmeval/results"
)

// State says how far a run or a shard is.
type State string

// The states of a run and of a shard.
const (
	StatePending     State = "pending"     // not begun
	StateRunning     State = "running"     // its owner's heartbeat is fresh
	StateStopped     State = "stopped"     // begun, and nobody is at it: killed, or waiting in a queue
	StateInterrupted State = "interrupted" // the same, in good order
	StateFailed      State = "failed"
	StateComplete    State = "complete"
)

// Progress is how far a run has come.
type Progress struct {
	Run     string          `json:"run"`
	State   State           `json:"state"`
	Samples int             `json:"samples"`
	Total   int             `json:"total"`
	PerHour float64         `json:"per_hour"`         // samples, of the shards that run
	Left    float64         `json:"left_s,omitempty"` // seconds at this rate; none where nothing is measured yet
	Shards  []ShardProgress `json:"shards"`           // one, without a name, for a run that is not cut
}

// ShardProgress is how far a shard has come, or a run that has none.
type ShardProgress struct {
	Shard   string  `json:"shard,omitempty"`
	State   State   `json:"state"`
	Samples int     `json:"samples"`
	Total   int     `json:"total"`
	Doing   string  `json:"doing,omitempty"` // what a run is at that has no sample yet and does not know how many there will be
	Cause   string  `json:"cause,omitempty"` // of a failure
	Host    string  `json:"host,omitempty"`  // of the process that has it, or had it when it was killed
	PID     int     `json:"pid,omitempty"`
	PerHour float64 `json:"per_hour,omitempty"`
	Torn    bool    `json:"torn,omitempty"` // the journal ends in a part of a line, as while it is written
}

// Status reads how far a run is: from the journals of what is not complete, from run.json of what is. It only reads,
// takes no lock and keeps nothing but counts, so it may be asked on any machine that sees the folder.
func Status(output string) (*Progress, error) {
	p := &Progress{Run: output}
	whole, err := results.ReadRun(output)
	var begun *results.BegunError
	if errors.As(err, &begun) {
		s := ShardProgress{State: StateRunning, Doing: begun.Doing}
		if begun.Status != results.RunRunning {
			s.State = StateInterrupted
		}
		p.add(s)
		p.State = s.State
		return p, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	n, err := results.ShardCount(output)
	switch {
	case err != nil:
		return nil, err
	case whole != nil && (n == 0 || whole.Status == results.RunComplete):
		s, err := progressOf(output, whole, shareOf(whole))
		if err != nil {
			return nil, err
		}
		p.add(s)
	case n == 0:
		return nil, fmt.Errorf("%s is no run, and no shard of one has begun there", output)
	default:
		if err := p.addShards(output, n); err != nil {
			return nil, err
		}
	}
	p.State = p.worst()
	if p.PerHour > 0 {
		p.Left = float64(p.Total-p.Samples) / p.PerHour * 3600
	}
	return p, nil
}

// shareOf is how many samples a run, or a shard, has in the end.
func shareOf(info *results.RunInfo) int {
	s := shardOf(info)
	if s.N == 0 {
		s = Shard{1, 1}
	}
	return Shares(&info.Meta, s.N)[s.I-1].Samples
}

func (p *Progress) addShards(output string, n int) error {
	var shares []Share
	for i := 1; i <= n; i++ {
		s := ShardProgress{Shard: Shard{i, n}.String(), State: StatePending}
		dir := shardDir(output, Shard{i, n})
		info, err := results.ReadRun(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			if shares == nil {
				shares = Shares(&info.Meta, n)
			}
			if s, err = progressOf(dir, info, shares[i-1].Samples); err != nil {
				return err
			}
		}
		p.add(s)
	}
	for i := range p.Shards { // those that were read before the first description of the run
		if shares != nil && p.Shards[i].Total == 0 {
			p.Shards[i].Total = shares[i].Samples
			p.Total += shares[i].Samples
		}
	}
	return nil
}

func (p *Progress) add(s ShardProgress) {
	p.Shards = append(p.Shards, s)
	p.Samples += s.Samples
	p.Total += s.Total
	p.PerHour += s.PerHour
}

// worst is the state of a run of shards: what somebody must look at comes first.
func (p *Progress) worst() State {
	count := map[State]int{}
	for _, s := range p.Shards {
		count[s.State]++
	}
	for _, s := range []State{StateFailed, StateRunning, StateStopped, StateInterrupted, StatePending} {
		if count[s] > 0 {
			return s
		}
	}
	return StateComplete
}

// progressOf reads how far the run in dir is, of total samples.
func progressOf(dir string, info *results.RunInfo, total int) (ShardProgress, error) {
	s := ShardProgress{Shard: info.Shard, State: StateStopped, Total: total}
	if info.Status == results.RunComplete {
		s.State, s.Samples = StateComplete, total
		return s, nil
	}
	journal := filepath.Join(dir, results.JournalFile)
	count, err := results.CountRecords(journal)
	if err != nil {
		return s, err
	}
	s.Samples, s.Torn = count.Records, count.Torn
	owner, held := lease.ReadOwner(journal)
	if held {
		s.Host, s.PID = owner.Host, owner.PID
	}
	switch {
	case held && owner.Running():
		s.State = StateRunning
		if spent := count.Written.Sub(owner.Started); spent > 0 && count.Records > owner.Records {
			s.PerHour = float64(count.Records-owner.Records) / spent.Hours()
		}
	case info.Status == results.RunInterrupted:
		s.State = StateInterrupted
	case info.Status == results.RunFailed:
		s.State, s.Cause = StateFailed, info.Cause
	}
	return s, nil
}
