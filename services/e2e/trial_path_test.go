package e2e

// statusPath is where an instance says how it is.
const statusPath = "/v1/datasets"
