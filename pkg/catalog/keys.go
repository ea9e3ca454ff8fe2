package catalog

// keys are the keys of one namespace in Redis.
type keys struct {
	datasets  string
	versions  string // the dataset's name follows
	instances string
	instance  string // the instance's id follows
}

// newKeys returns the keys of the namespace. All have the same hash tag, the text between the braces.
func newKeys(namespace string) keys {
	tag := "{catalog}"
	if namespace != "" {
		tag = "{catalog:" + namespace + "}"
	}
	root := "freshet:v1:" + tag + ":"
	return keys{
		datasets: root + "datasets", versions: root + "versions:",
		instances: root + "instances", instance: root + "instance:",
	}
}
