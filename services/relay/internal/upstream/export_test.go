package upstream

import "net/http"

// Through has the relays asked through rt, so that a test runs in a bubble, where time passes by itself.
func (o *Origin) Through(rt http.RoundTripper) { o.http = &http.Client{Transport: rt} }
