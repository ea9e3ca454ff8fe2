package subscribe

import (
	"fmt"

	"freshet.dev/pkg/fleet"
)

// errRemoteGet is the answer to a remote get of an instance without Config.RemoteGet. It has the remedy of a program and of a service.
var errRemoteGet = fmt.Errorf("%w; start it with FRESHET_REMOTE_GET=true (RemoteGet in subscribe.Config) to allow them", fleet.ErrGetRefused)

// remoteGet returns what this instance serves of the keys, all from one version. It never waits: it costs the lookups.
func (s *Subscriber) remoteGet(name string, keys [][]byte) (fleet.Content, error) {
	if !s.cfg.RemoteGet {
		return fleet.Content{}, errRemoteGet
	}
	d := s.datasets[name]
	if d == nil {
		return fleet.Content{}, s.unknown(name)
	}
	content := fleet.Content{Values: make([][]byte, len(keys))}
	if v := d.current.Load(); v != nil {
		rec, id := v.Content()
		content.Version, content.ID = rec.Version, id
		v.Value.GetMany(keys, content.Values)
	}
	return content, nil
}
