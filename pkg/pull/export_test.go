package pull

// Order returns the relays in the order in which c asks them for key.
func (c *Client) Order(key []byte) []string {
	var all []string
	for _, r := range c.relays.inOrder(key) {
		all = append(all, r.String())
	}
	return all
}
