package tracking

import (
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
)

const (
	// maxPrefixes is how many prefixes a client may track, and maxPrefix how long one may be: no key is longer.
	maxPrefixes = 256
	maxPrefix   = 64 + 1 + dataset.MaxKeyBytes
)

const (
	textCaching = "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
	textYes     = "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
	textNo      = "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
	textPrefix  = "PREFIX option requires BCAST mode to be enabled"
	textBcast   = "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
	textOpt     = "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
	textMixed   = "OPTIN and OPTOUT are not compatible with BCAST"
	textBoth    = "You can't specify both OPTIN mode and OPTOUT mode"
	textSyntax  = "syntax error"
	textRESP2   = "CLIENT TRACKING needs RESP3: send HELLO 3 first; this connection would get no invalidations in RESP2"
	textRedir   = "CLIENT TRACKING has no REDIRECT here: send HELLO 3, and this connection gets the invalidations itself"
)

// options are those of CLIENT TRACKING ON.
type options struct {
	bcast, optin, optout, noloop bool
	prefixes                     []string
}

// Command executes CLIENT TRACKING, CACHING, TRACKINGINFO or GETREDIR and appends the reply to dst. args begins with CLIENT and the name of
// the subcommand in any case, and is not kept.
func (s *Session) Command(dst []byte, args [][]byte) []byte {
	sub, wrong := strings.ToLower(string(args[1])), false
	switch n := len(args); sub {
	case "tracking":
		wrong = n < 3
	case "caching":
		wrong = n != 3
	case "trackinginfo", "getredir":
		wrong = n != 2
	default:
		return refused(dst, fmt.Sprintf("unknown subcommand '%.128s'.", sub))
	}
	if wrong {
		return refused(dst, fmt.Sprintf("wrong number of arguments for 'client|%s' command", sub))
	}
	text := ""
	switch sub {
	case "trackinginfo":
		return s.info(dst)
	case "getredir":
		return integer(dst, s.redirection())
	case "tracking":
		text = s.tracking(string(args[2]), args[3:])
	case "caching":
		text = s.setCaching(string(args[2]))
	}
	if text != "" {
		return refused(dst, text)
	}
	return accepted(dst)
}

// tracking executes CLIENT TRACKING. It returns the text of an error, or "".
func (s *Session) tracking(mode string, args [][]byte) string {
	o, text := parse(args)
	if text != "" {
		return text
	}
	switch strings.ToLower(mode) {
	case "on":
		if text = s.conflict(o); text == "" {
			s.enable(o)
		}
		return text
	case "off":
		s.off()
		return ""
	}
	return textSyntax
}

// parse returns the options in args, or the text of an error.
func parse(args [][]byte) (o options, text string) {
	for i := 0; i < len(args); i++ {
		more := i+1 < len(args)
		switch name := strings.ToLower(string(args[i])); {
		case name == "redirect" && more:
			return o, textRedir
		case name == "bcast":
			o.bcast = true
		case name == "optin":
			o.optin = true
		case name == "optout":
			o.optout = true
		case name == "noloop":
			o.noloop = true
		case name == "prefix" && more:
			i++
			o.prefixes = append(o.prefixes, string(args[i]))
		default:
			return o, textSyntax
		}
	}
	return o, ""
}

// conflict returns the text of the error if the client may not track with o now, or "". The order is that of Redis.
func (s *Session) conflict(o options) string {
	on := s.on.Load()
	switch {
	case !o.bcast && len(o.prefixes) > 0:
		return textPrefix
	case on && s.options.bcast != o.bcast:
		return textBcast
	case o.bcast && (o.optin || o.optout):
		return textMixed
	case o.optin && o.optout:
		return textBoth
	case o.optin && s.options.optout, o.optout && s.options.optin:
		return textOpt
	case s.client.Protocol() < 3:
		return textRESP2
	case len(s.prefixes)+len(o.prefixes) > maxPrefixes:
		return fmt.Sprintf("A client can track at most %d prefixes", maxPrefixes)
	}
	overlap := func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
	for i, p := range o.prefixes {
		if len(p) > maxPrefix {
			return fmt.Sprintf("A prefix can have at most %d bytes", maxPrefix)
		}
		for _, old := range s.prefixes {
			if overlap(old, p) {
				return fmt.Sprintf("Prefix '%s' overlaps with an existing prefix '%s'. Prefixes for a single client must not overlap.", p, old)
			}
		}
		for _, other := range o.prefixes[i+1:] {
			if overlap(p, other) {
				return fmt.Sprintf("Prefix '%s' overlaps with another provided prefix '%s'. Prefixes for a single client must not overlap.", p, other)
			}
		}
	}
	return ""
}

// enable begins to track with o, or goes on with it.
func (s *Session) enable(o options) {
	s.options = o
	if o.bcast {
		if len(o.prefixes) == 0 && !slices.Contains(s.prefixes, "") {
			o.prefixes = []string{""}
		}
		for _, p := range o.prefixes {
			s.t.subscribe(s, p)
			s.prefixes = append(s.prefixes, p)
		}
		slices.Sort(s.prefixes)
	}
	if s.on.Load() {
		return
	}
	if !o.bcast {
		s.watch.Store(&watch{s: s})
	}
	s.t.active.Add(1)
	s.on.Store(true)
}

// setCaching executes CLIENT CACHING. It returns the text of an error, or "".
func (s *Session) setCaching(arg string) string {
	yes, no := strings.EqualFold(arg, "yes"), strings.EqualFold(arg, "no")
	switch {
	case !s.on.Load():
		return textCaching
	case !yes && !no:
		return textSyntax
	case yes && !s.options.optin:
		return textYes
	case no && !s.options.optout:
		return textNo
	}
	s.caching = true
	return ""
}

// redirection returns what CLIENT GETREDIR says: 0 if the client has its invalidations itself, -1 if it does not track.
func (s *Session) redirection() int {
	if s.on.Load() {
		return 0
	}
	return -1
}

// info executes CLIENT TRACKINGINFO.
func (s *Session) info(b []byte) []byte {
	var flags []string
	flag := func(set bool, name string) {
		if set {
			flags = append(flags, name)
		}
	}
	o := s.options
	flag(s.on.Load(), "on")
	flag(!s.on.Load(), "off")
	flag(o.bcast, "bcast")
	flag(o.optin, "optin")
	flag(o.optin && s.caching, "caching-yes")
	flag(o.optout, "optout")
	flag(o.optout && s.caching, "caching-no")
	flag(o.noloop, "noloop")
	if s.client.Protocol() < 3 {
		b = arrayOf(bulk(arrayOf(b, '*', 6), "flags"), '*', len(flags))
	} else {
		b = arrayOf(bulk(arrayOf(b, '%', 3), "flags"), '~', len(flags))
	}
	for _, f := range flags {
		b = bulk(b, f)
	}
	b = integer(bulk(b, "redirect"), s.redirection())
	b = arrayOf(bulk(b, "prefixes"), '*', len(s.prefixes))
	for _, p := range s.prefixes {
		b = bulk(b, p)
	}
	return b
}
