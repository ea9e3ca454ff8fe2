package fleet

import "freshet.dev/pkg/dataset"

// statusSubject returns the subject of requests for the status of the namespace's instances.
func statusSubject(namespace string) string {
	return dataset.SubjectRoot(namespace) + "instances.status"
}

// getSubject returns the subject of requests for records of the run of an instance, see [Get].
func getSubject(namespace, run string) string {
	return dataset.SubjectRoot(namespace) + "instances.get." + run
}

// replaySubject returns the subject of requests for a replay by the run of an instance, see [Replay].
func replaySubject(namespace, run string) string {
	return dataset.SubjectRoot(namespace) + "instances.replay." + run
}

// reportPrefix returns the prefix of the subject of every report in the namespace; the dataset's name follows.
func reportPrefix(namespace string) string { return dataset.SubjectRoot(namespace) + "reports." }

// serviceName returns the name of the NATS service of the namespace's instances.
func serviceName(namespace string) string {
	if namespace == "" {
		return defaultService
	}
	return defaultService + "-" + namespace
}
