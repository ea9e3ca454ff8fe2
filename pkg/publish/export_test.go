package publish

import (
	"freshet.dev/pkg/publish/internal/beacon"
	"freshet.dev/pkg/publish/internal/compact"
	"freshet.dev/pkg/publish/internal/follow"
)

// Beacon and Repairer return parts of Run, for tests that run one part alone.
func (p *Publisher) Beacon() *beacon.Beacon { return p.background.beacon }

func (p *Publisher) Repairer() *follow.Repairer { return p.background.repairer }

// CompactLoop returns a loop that compacts with p, and is not the one of Run.
func (p *Publisher) CompactLoop(cfg compact.LoopConfig) *compact.Loop {
	return compact.NewLoop(p.compactor, cfg)
}
