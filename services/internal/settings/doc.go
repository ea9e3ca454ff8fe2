// Package settings reads a service's settings from the environment: variables named FRESHET_*, into a struct that
// envconfig fills.
//
// A variable that is set but empty counts as not set. A variable that no service knows is a typing error if it is close to
// one that exists, which [Load] refuses, and is warned of otherwise: services of one deployment share an
// environment, and orchestrators add variables of their own. Every variable of every service is in one list, [Known], and
// Load refuses a struct with a variable that is not in it.
//
// No value of a [URL] is printed with its credentials, and no error repeats the value of a variable.
package settings
