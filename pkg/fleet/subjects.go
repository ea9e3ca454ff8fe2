package fleet

import "freshet.dev/pkg/dataset"

// statusSubject returns where the instances of the namespace are asked.
func statusSubject(namespace string) string {
	return dataset.SubjectRoot(namespace) + "instances.status"
}

// reportPrefix returns the beginning of the subject of every report in the namespace; the dataset's name follows.
func reportPrefix(namespace string) string { return dataset.SubjectRoot(namespace) + "reports." }

// serviceName returns what an instance of the namespace is registered as with NATS.
func serviceName(namespace string) string {
	if namespace == "" {
		return ServiceName
	}
	return ServiceName + "-" + namespace
}
