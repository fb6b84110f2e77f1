// Package condition has the two axes of an experiment as values: Noise, what is perturbed and by which operations, and
// Temperature, the policy by which tokens are sampled. Both are read from a config and know how to check, spell and
// label themselves. The package needs no libtorch.
//
// There are two tables: the kinds of operation (package noise/operation) and policies (policy.go). What a table does
// not have is an error.
package condition
