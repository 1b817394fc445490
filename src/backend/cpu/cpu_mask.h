// Sets of logical CPUs as the scheduler takes them, of any size.
#pragma once
#include <vector>

namespace tokamak {

// Where the calling thread may run; empty when the system does not tell.
std::vector<int> thread_cpus();
// A hint: failure (a CPU taken away meanwhile) only costs speed.
void set_thread_cpus(const std::vector<int>& cpus);

}  // namespace tokamak
