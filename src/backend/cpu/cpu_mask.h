// Sets of logical CPUs as the scheduler takes them, of any size.
#pragma once
#include <vector>

namespace tokamak {

// Where the calling thread may run; empty when the system does not tell.
std::vector<int> thread_cpus();
// A hint: failure (a CPU taken away meanwhile) only costs speed.
void set_thread_cpus(const std::vector<int>& cpus);
// Moves the calling thread to this CPU, if it may run there, and leaves its mask as it was.
// Allocates nothing.
void move_thread(int cpu);

}  // namespace tokamak
