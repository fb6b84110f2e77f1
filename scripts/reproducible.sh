# Flags of Go with which two builds of a commit have the same bytes wherever its clone lies: neither the clone's folder nor the state of
# its work tree stands in the program. Sourced by the scripts that build what is given away, in the root of the clone.
reproducible=(-buildvcs=false -trimpath)
