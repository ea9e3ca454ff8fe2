package relay

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/scripts/benchmarks/internal/proc"
	"github.com/sourcegraph/conc/pool"
)

// storm is a cold start of many instances at once, as a child process receives it.
type storm struct {
	NATS, Relay string
	Instances   int
	Version     uint64 // what all of them are to serve, with State
	State       dataset.Checksum
	Start       time.Time // when all of them start
}

// name is the dataset's.
const name = "storm"

// stormResponses bounds the responses of the relay in the storm, and by that the instances that hold a table at a time:
// 200 tables of 100 MB, and the garbage between them, are more than a small machine has. The others get 503 and retry, as
// with any busy relay.
const stormResponses = 48

// valueBytes is the number of random bytes of a value. They make the object about as large as the records.
const valueBytes = 300

// measureStorm measures instances that start at once.
func (o options) measureStorm(ctx context.Context, folder, program string, out io.Writer) error {
	dir := filepath.Join(folder, "storm")
	broker, err := startNATS(ctx, dir)
	if err != nil {
		return err
	}
	defer broker.stop()
	rec, err := publishStorm(ctx, dir, "nats://"+broker.addr, o.stormBytes)
	if err != nil {
		return fmt.Errorf("publish the dataset: %w", err)
	}
	obj := object{folder: filepath.Join(dir, "store"), digest: rec.Snapshot.Digest.String(), bytes: rec.Snapshot.Bytes}
	relay, err := startRelay(ctx, program, obj, stormBudget, "FRESHET_RELAY_RESPONSES="+strconv.Itoa(stormResponses))
	if err != nil {
		return err
	}
	defer relay.stop()

	cfg := storm{
		NATS: "nats://" + broker.addr, Relay: "http://" + relay.addr, Instances: o.instances / stormProcesses,
		Version: rec.Version, State: rec.State, Start: time.Now().Add(2 * time.Second),
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	parts := make([]served, stormProcesses)
	p := pool.New().WithContext(ctx).WithCancelOnError()
	for i := range parts {
		p.Go(func(ctx context.Context) error {
			return proc.Child(ctx, &parts[i], "relay", "-part", "instances", "-swarm", string(text))
		})
	}
	if err := p.Wait(); err != nil {
		return err
	}
	counts, err := metrics(ctx, relay)
	if err != nil {
		return err
	}
	peak, err := relay.meter.Peak()
	if err != nil {
		return err
	}
	var all []time.Duration
	for _, p := range parts {
		all = append(all, p.After...)
	}
	slices.Sort(all)
	const mib = 1 << 20
	fmt.Fprintf(out, "\nstorm: %d instances in %d processes start at once; a dataset of %d records, %.0f MB, whose object has %.1f MiB; a cache of %d MiB\n",
		len(all), stormProcesses, rec.State.Records, float64(o.stormBytes)/1e6, float64(obj.bytes)/mib, stormBudget/mib)
	fmt.Fprintf(out, "all serve version %d, with the state checksum of its record: the first after %.1f s, the median %.1f s, the last %.1f s\n",
		rec.Version, all[0].Seconds(), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
	fmt.Fprintf(out, "the relay: peak %d MiB (allowed %d), %.1f MiB from the store (%.2f objects) in %d reads, %.1f MiB to instances, %d requests refused with 503 (at most %d responses at a time)\n",
		peak.Bytes/mib, (stormBudget+overhead+stormResponses*sendBytes)/mib, float64(counts["freshet_relay_origin_bytes_total"])/mib,
		float64(counts["freshet_relay_origin_bytes_total"])/float64(obj.bytes), counts["freshet_relay_origin_reads_total"],
		float64(counts["freshet_relay_client_bytes_total"])/mib, counts["freshet_relay_rejected_total"], stormResponses)
	fmt.Fprintln(out, "each instance closes once its table is checked, because all tables at once do not fit into the memory")
	return nil
}

// The cache of the relay in the storm, and the number of processes of the instances.
const (
	stormBudget    = 64 << 20
	stormProcesses = 4
)

// startNATS runs a NATS server with JetStream.
func startNATS(ctx context.Context, dir string) (*server, error) {
	program, err := exec.LookPath("nats-server")
	if err != nil {
		gopath, e := exec.CommandContext(ctx, "go", "env", "GOPATH").Output()
		if program = filepath.Join(strings.TrimSpace(string(gopath)), "bin", "nats-server"); e != nil {
			return nil, err
		}
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, "nats-server", "", addr, nil, program, "-js", "-sd", filepath.Join(dir, "nats"), "-a", host, "-p", port)
	if err != nil {
		return nil, fmt.Errorf("%w; scripts/bench installs nats-server if it is missing", err)
	}
	return s, nil
}

// publishStorm publishes a version of about size bytes of records.
func publishStorm(ctx context.Context, dir, nats string, size int64) (dataset.VersionRecord, error) {
	st, err := storeurl.Open(ctx, "dir://"+filepath.Join(dir, "store"))
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	defer st.Close()
	nc, err := events.Connect(nats, "bench", slog.New(slog.DiscardHandler))
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	defer nc.Close()
	log, err := events.NewLog(nc, events.Config{})
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	p, err := publish.Open(publish.Config{TempDir: dir}, publish.Deps{Store: st, Events: log})
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	body, w := io.Pipe()
	go func() { _ = w.CloseWithError(writeStorm(w, size)) }()
	result, err := p.Publish(ctx, name, publish.Input{Body: body, Format: publish.FormatNDJSON, Key: "key"})
	_ = body.CloseWithError(context.Canceled) // ends the writer, should the publish have failed
	return result.Record, err
}

// writeStorm writes rows of random text until their keys and values have size bytes.
func writeStorm(out io.Writer, size int64) error {
	w := bufio.NewWriterSize(out, 1<<20)
	random, value := rand.NewChaCha8([32]byte{7}), make([]byte, valueBytes)
	for i := int64(0); size > 0; i++ {
		_, _ = random.Read(value)
		row := fmt.Sprintf(`{"key":"%012d","value":"%s"}`, i, base64.StdEncoding.EncodeToString(value))
		if _, err := w.WriteString(row + "\n"); err != nil {
			return err
		}
		size -= int64(len(row)) + 12
	}
	return w.Flush()
}
