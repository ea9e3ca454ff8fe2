package web

import (
	"io"
	"net/http"
	"time"
)

// A client that is refused may still be sending. If the connection is closed while bytes of the request are unread, the system
// answers them with a reset, which destroys the answer on its way to a client that does not read yet. So what the client sends
// after a refusal is read and dropped, within these bounds: so many bytes, for so long, with pauses of at most drainStall.
const (
	drainBytes = 256 << 20
	drainTime  = time.Minute
	drainStall = 5 * time.Second
	// smallBody is what net/http itself reads and drops.
	smallBody = 256 << 10
)

// refuse sends p, and then drops what is left of the request's body.
func refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	if r.Body == nil || r.ContentLength >= 0 && r.ContentLength <= smallBody {
		p.send(w)
		return
	}
	// Errors of the controller mean that w is no network connection, as in a test.
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // else net/http reads before it sends
	w.Header().Set("Connection", "close")
	p.send(w)
	_ = control.Flush()
	drain(control, r.Body)
}

func drain(control *http.ResponseController, body io.Reader) {
	buf := make([]byte, 4<<10) // many may be refused at a time
	end := time.Now().Add(drainTime)
	for left := int64(drainBytes); left > 0; {
		deadline := time.Now().Add(drainStall)
		if deadline.After(end) {
			deadline = end
		}
		_ = control.SetReadDeadline(deadline)
		n, err := body.Read(buf)
		if err != nil {
			break
		}
		left -= int64(n)
	}
	_ = control.SetReadDeadline(time.Unix(1, 0)) // net/http must not read on
}
