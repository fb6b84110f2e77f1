// What the compiler here calls and glibc 2.28 with the libstdc++ of its time (GLIBCXX_3.4.25, CXXABI_1.3.11) does not have. It is linked
// into the program of the wheel alone, and hidden, so that no other library meets it. scripts/wheel/link.sh says how.
#include <condition_variable>
#include <mutex>
#include <new>
#include <sstream>

#define HIDDEN __attribute__((visibility("hidden")))

extern "C" {
// 0 means that there may be threads: every reference count is atomic, as it always was.
HIDDEN char __libc_single_threaded = 0;

// The name under which glibc had it before 2.34.
int __res_search(const char*, int, int, unsigned char*, int);
HIDDEN int res_search(const char* name, int type_class, int type, unsigned char* answer, int size) {
  return __res_search(name, type_class, type, answer, size);
}

// Copying an exception_ptr and ending one have been in every libstdc++ since 4.4; the counting that newer headers call is what they do.
void copy_exception_ptr(void** to, void* const* from) __asm__("_ZNSt15__exception_ptr13exception_ptrC1ERKS0_");
void end_exception_ptr(void** which) __asm__("_ZNSt15__exception_ptr13exception_ptrD1Ev");
HIDDEN void addref(void* const* self) __asm__("_ZNSt15__exception_ptr13exception_ptr9_M_addrefEv");
HIDDEN void release(void** self) __asm__("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");

void addref(void* const* self) {
  void* kept;
  copy_exception_ptr(&kept, self); // never ended: that is the count
}
void release(void** self) {
  end_exception_ptr(self);
  *self = nullptr;
}

// The constructor that takes a mode is in every libstdc++; the one without, which headers of GCC 9 and later call, is it with `out`.
void with_mode(void* self, std::ios_base::openmode mode)
    __asm__("_ZNSt7__cxx1119basic_ostringstreamIcSt11char_traitsIcESaIcEEC1ESt13_Ios_Openmode");
HIDDEN void without_mode(void* self) __asm__("_ZNSt7__cxx1119basic_ostringstreamIcSt11char_traitsIcESaIcEEC1Ev");
void without_mode(void* self) { with_mode(self, std::ios_base::out); }

// Waiting for a condition variable is the same function of pthreads in every libstdc++; GCC 12 gave it another symbol.
HIDDEN void wait(std::condition_variable* self, std::unique_lock<std::mutex>& lock)
    __asm__("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");
void wait(std::condition_variable* self, std::unique_lock<std::mutex>& lock) {
  pthread_cond_wait(self->native_handle(), lock.mutex()->native_handle());
}
}

namespace std { // the program exports nothing that no library asks for
void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}
