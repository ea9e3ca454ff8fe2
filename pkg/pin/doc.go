// Package pin pins instances to a version of a dataset, and releases them.
//
// A pinned instance holds the version whatever is announced: it goes down to it from a newer one, and stays. The truth is the dataset's
// journal in the store: each change is an entry of the kind pin or unpin, which has all pins after the change, so the newest one suffices.
//
// A pin chooses instances by their names, by labels, or all of them. If several pins choose an instance, the one with the newest entry
// holds. A pin names the version by number and id: after the store was restored from an older copy, another version may have the number,
// and the pin does not hold that one.
//
// # How instances learn of pins
//
//   - Each entry is sent on NATS, once, and an instance follows it immediately.
//   - An instance queries a relay for the pins when it starts, after each reconnect, and whenever it may have missed messages.
//   - The beacons of a publisher name the newest journal entry of each dataset. An instance that does not know it queries a relay.
//   - An instance with a cache folder keeps the pins there, and holds its version after a restart without any server.
package pin
