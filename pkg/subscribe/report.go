package subscribe

import (
	"context"
	"fmt"
	"os"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/guard"
)

// pendingReports is the number of reports that may wait to be sent. The NATS client buffers messages while NATS is down, so
// reports wait only while a connection accepts nothing and does not break. The status then has the same information.
const pendingReports = 256

// reportObserver returns an Observer that reports events to the fleet.
func (s *Subscriber) reportObserver() Observer {
	return Observer{
		Swapped: func(e Refresh) {
			s.report(fleet.Report{
				Kind: fleet.OfSwap, Dataset: e.Record.Dataset, Version: e.Record.Version, ID: e.ID, PulledBytes: e.PulledBytes, Full: e.Full,
				Deltas: e.Deltas, Fallback: text(e.Fallback), Created: e.Record.Created, Served: e.At, Duration: e.Duration,
				Replayed: e.Replayed,
			})
		},
		Failed: func(e Failure) {
			s.report(fleet.Report{
				Kind: fleet.OfFailure, Dataset: e.Record.Dataset, Version: e.Record.Version, Created: e.Record.Created, Duration: e.Duration,
				Error: e.Err.Error(), Stack: guard.Stack(e.Err),
			})
		},
		StateChanged: func(e StateChange) {
			s.report(fleet.Report{
				Kind: fleet.OfState, Dataset: e.Dataset, Version: e.Version, State: e.Now, Was: e.Was, Quarantined: e.Quarantined,
			})
		},
		CallbackFailed: func(e CallbackFailure) { s.reportFailure(e.Dataset, e.Version, e.Err) },
		DecodeFailed: func(e DecodeFailure) {
			err := e.Err
			if e.Records > 0 {
				err = fmt.Errorf("decode %d records of version %d for an eager view: %w", e.Records, e.Version, err)
			}
			s.reportFailure(e.Dataset, e.Version, err)
		},
		Restarted: func(e Restart) {
			for _, name := range s.cfg.Datasets { // the dataset that caused the panic is unknown
				s.reportFailure(name, s.engine.Health(name).Newest, e.Err)
			}
		},
	}
}

// text returns the text of err, empty for nil.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// report queues r to be sent.
func (s *Subscriber) report(r fleet.Report) {
	s.recordChanged()
	r.Instance, r.Host, r.PID, r.Run, r.Labels, r.At = s.cfg.Instance, s.host, os.Getpid(), s.run, s.cfg.Labels, time.Now()
	select {
	case s.reports <- r:
	default:
		s.cfg.Log.Debug("too many reports wait to be sent; one is dropped", "dataset", r.Dataset, "version", r.Version)
	}
}

// reportFailure queues a report of an error at a version.
func (s *Subscriber) reportFailure(name string, version uint64, err error) {
	s.report(fleet.Report{Kind: fleet.OfFailure, Dataset: name, Version: version, Error: err.Error(), Stack: guard.Stack(err)})
}

// sendReports sends the queued reports, on its own goroutine because the NATS client blocks on its socket.
func (s *Subscriber) sendReports(ctx context.Context) error {
	for {
		select {
		case r := <-s.reports:
			if err := fleet.SendReport(s.nc.Conn, s.cfg.Namespace, r); err != nil {
				s.cfg.Log.Debug("a report is lost", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
