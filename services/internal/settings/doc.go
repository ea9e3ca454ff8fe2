// Package settings reads a service's settings from the environment: variables named FRESHET_*, into a struct that
// envconfig fills.
//
// A variable that is set but empty counts as not set. [Known] lists the variables of all programs. [Load] refuses a variable
// that is not in the list and is close to one of the program's own: that is a typing error. For other unknown variables Load
// returns a warning, because the services of a deployment share an environment and orchestrators add variables. Load also
// refuses a struct with a variable that is not in Known.
//
// A [URL] prints without its credentials, and no error repeats the value of a variable.
package settings
