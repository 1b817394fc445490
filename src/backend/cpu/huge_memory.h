// Large buffers from the OS: zeroed, on huge pages where allowed, over several NUMA nodes when
// asked.
#pragma once
#include <cstddef>
#include <vector>

namespace tokamak {

// Aligned to a page, from 2 MiB on to a huge page; null when there is no memory. With several
// nodes (OS numbers) its pages alternate between them; else each lies where it is first touched.
std::byte* map_memory(size_t bytes, const std::vector<int>& nodes = {});
void unmap_memory(std::byte* p, size_t bytes);  // the bytes asked for

}  // namespace tokamak
