package resp

// Tracker implements CLIENT TRACKING, for the client-side caches of clients.
type Tracker interface {
	// Register returns a session for the client, which has sent its first command about tracking. The server closes the session when the
	// client disconnects or sends RESET.
	Register(client Client) Session
}

// Client is a connection, for a [Tracker]. Its methods may be called from any goroutine, also after the connection has ended.
type Client interface {
	// ID returns the number of CLIENT ID, unique in the life of the process.
	ID() int64
	// Protocol returns 2 or 3, the version of the protocol that the client selected with HELLO.
	Protocol() int
	// Push sends b, whole messages of RESP3 of type push, to the client, after the replies of all commands that were executed before the
	// call. Push copies b and never waits. It returns false if the client no longer exists, or reads too slowly: then the connection is
	// closed. A client of RESP2 gets nothing, and Push returns true.
	Push(b []byte) bool
}

// Session is the tracking of one client. Its methods are called from one goroutine at a time, in the order of the client's commands.
type Session interface {
	// Tracking reports whether Read has an effect now.
	Tracking() bool
	// Read records that the running command reads the key, in the form dataset:key. The server calls Read before the look-up: a
	// version that is swapped in after the call invalidates the key. key is valid during the call only.
	Read(key []byte)
	// Command executes CLIENT TRACKING, CACHING, TRACKINGINFO or GETREDIR and appends the reply to dst. args begins with CLIENT and
	// the name of the subcommand in any case, and is valid during the call only.
	Command(dst []byte, args [][]byte) []byte
	// Executed is called after each command other than CLIENT: CLIENT CACHING affects one command.
	Executed()
	// Close forgets the client. It is the last call.
	Close()
}
