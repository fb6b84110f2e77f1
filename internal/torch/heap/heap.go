// Package heap tells the C library's allocator, which libtorch's tensors on the CPU come from, when to give memory back. It
// stands beside package torch because it changes nothing there: no libtorch, and compiled in a second.
package heap

/*
#ifdef __linux__
#include <malloc.h>
#endif

static void map_from(int bytes, int keep) {
#ifdef M_MMAP_THRESHOLD
  mallopt(M_MMAP_THRESHOLD, bytes);
  mallopt(M_TRIM_THRESHOLD, keep);
#else
  (void)bytes, (void)keep;
#endif
}
*/
import "C"

const (
	small = 1 << 20
	// What glibc's own adjustment comes to once a large tensor has been freed.
	large, keep = 32 << 20, 64 << 20
)

// Returning runs f while freed blocks of a megabyte and more go back to the system at once. By itself glibc keeps blocks of up
// to 32 MB for later ones; where dense weights are freed between packed ones that stay, the holes come to half the model.
func Returning(f func() error) error {
	C.map_from(small, small)
	defer C.map_from(large, keep)
	return f()
}
