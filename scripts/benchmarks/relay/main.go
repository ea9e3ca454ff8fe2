package relay

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/storeurl"
)

// options are the command line.
type options struct {
	clients    string
	objects    string
	rounds     int
	instances  int
	ab         string
	abWindow   time.Duration
	stormBytes int64
	window     time.Duration
	temp       string

	part, addr, file string // what a child process does
	most             int
	swarm            string
}

// Main runs the measurement with the given command line and prints its tables to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.StringVar(&o.clients, "clients", "1,32,128,512", "numbers of clients, separated by commas")
	flags.StringVar(&o.objects, "objects", "256/512,1024/1280,1024/256", "objects and the relay's budgets for them, object/budget in MiB, separated by commas; empty leaves this out")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of throughput; the median is printed")
	flags.DurationVar(&o.window, "window", 3*time.Second, "length of a round")
	flags.IntVar(&o.instances, "instances", 200, "instances that start at once; 0 leaves this out")
	flags.StringVar(&o.ab, "ab", "1,32,128,512", "numbers of clients for the comparison of pages through pipes with plain writes, separated by commas; empty leaves this out")
	flags.DurationVar(&o.abWindow, "ab-window", 1500*time.Millisecond, "length of a round of it")
	flags.Int64Var(&o.stormBytes, "storm-bytes", 100_000_000, "size of the records of their dataset")
	flags.StringVar(&o.temp, "temp", "", "folder for the objects; default: the system's")
	flags.StringVar(&o.part, "part", "", "used by the program itself: what a child process does")
	flags.StringVar(&o.addr, "addr", "", "used by the program itself")
	flags.StringVar(&o.file, "file", "", "used by the program itself")
	flags.StringVar(&o.swarm, "swarm", "", "used by the program itself")
	flags.IntVar(&o.most, "most", 1, "used by the program itself")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM) // stops a child process
	defer stop()
	switch o.part {
	case "":
		return o.measure(ctx, out)
	case "swarm":
		var cfg swarm
		if err := json.Unmarshal([]byte(o.swarm), &cfg); err != nil {
			return err
		}
		h, err := cfg.run(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(h)
	case "instances":
		var s storm
		if err := json.Unmarshal([]byte(o.swarm), &s); err != nil {
			return err
		}
		after, err := s.run(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(after)
	default:
		return serve(ctx, o.part, o.addr, o.file, o.most)
	}
}

// measure runs every case.
func (o options) measure(ctx context.Context, out io.Writer) error {
	folder, err := os.MkdirTemp(o.temp, "freshet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "freshet-relay")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./services/relay/cmd/freshet-relay")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the relay; run this in the repository's folder: %w\n%s", err, text)
	}
	if err := o.measureWays(ctx, folder, program, out); err != nil {
		return err
	}
	if err := o.measureObjects(ctx, folder, program, out); err != nil || o.instances == 0 {
		return err
	}
	return o.measureStorm(ctx, folder, program, out)
}

// measureObjects measures each of the objects.
func (o options) measureObjects(ctx context.Context, folder, program string, out io.Writer) error {
	if o.objects == "" {
		return nil
	}
	if text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		fmt.Fprintf(out, "congestion control of this system: %s", text)
	}
	for pair := range strings.SplitSeq(o.objects, ",") {
		size, budget, err := parsePair(pair)
		if err != nil {
			return err
		}
		obj, err := makeObject(ctx, folder, size)
		if err != nil {
			return fmt.Errorf("make an object of %d bytes: %w", size, err)
		}
		r := result{object: obj, budget: budget, rounds: o.rounds}
		clients, err := parseClients(o.clients)
		if err != nil {
			return err
		}
		for _, n := range clients {
			row, err := o.measureClients(ctx, folder, program, obj, budget, n)
			if err != nil {
				return fmt.Errorf("%d clients of an object of %d bytes: %w", n, obj.bytes, err)
			}
			r.rows = append(r.rows, row)
		}
		if err := r.print(out); err != nil {
			return err
		}
		if err := os.RemoveAll(obj.folder); err != nil {
			return err
		}
	}
	return nil
}

func parseClients(list string) (clients []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of clients", text)
		}
		clients = append(clients, n)
	}
	return clients, nil
}

func parsePair(text string) (size, budget int64, err error) {
	a, b, ok := strings.Cut(text, "/")
	size, err1 := strconv.ParseInt(a, 10, 32)
	budget, err2 := strconv.ParseInt(b, 10, 32)
	if !ok || err1 != nil || err2 != nil || size < 1 {
		return 0, 0, fmt.Errorf("%q is not an object's size and a budget in MiB, such as 256/512", text)
	}
	return size << 20, budget << 20, nil
}

// makeObject puts an object of size random bytes into a store in the folder.
func makeObject(ctx context.Context, folder string, size int64) (object, error) {
	dir, err := os.MkdirTemp(folder, "store-")
	if err != nil {
		return object{}, err
	}
	content := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{byte(size >> 20)}), size) }
	hash := sha256.New()
	if _, err := io.Copy(hash, content()); err != nil {
		return object{}, err
	}
	st, err := storeurl.Open(ctx, "dir://"+dir)
	if err != nil {
		return object{}, err
	}
	defer st.Close()
	digest := dataset.Digest(hash.Sum(nil))
	return object{folder: dir, digest: digest.String(), bytes: size}, st.PutObject(ctx, digest, size, content())
}
