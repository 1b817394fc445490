#include <gtest/gtest.h>

#include <map>
#include <random>

#include "runtime/kv/block_table.h"

namespace tokamak {
namespace {

// Random appends, forks, truncations and removals against a plain model of who holds what.
TEST(KvBlocks, BookkeepingHolds) {
  std::mt19937 random(99);
  for (int round = 0; round < 50; ++round) {
    const int32_t size = 1 + static_cast<int32_t>(random() % 16);
    BlockPool pool(static_cast<int32_t>(8 + random() % 64));
    std::vector<BlockTable> tables;
    for (int i = 0; i < 400; ++i) {
      const uint32_t what = random() % 10;
      if (tables.empty() || what == 0) {
        tables.emplace_back(pool, size);
      } else if (what == 1) {
        tables.push_back(tables[random() % tables.size()].fork());
      } else if (what == 2) {
        BlockTable& t = tables[random() % tables.size()];
        t.truncate(t.tokens() == 0 ? 0 : static_cast<int32_t>(random() % uint32_t(t.tokens())));
      } else if (what == 3) {
        std::swap(tables[random() % tables.size()], tables.back());
        tables.pop_back();
      } else {
        BlockTable& t = tables[random() % tables.size()];
        const auto n = static_cast<int32_t>(random() % 40);
        const int32_t before = t.tokens(), free = pool.free_blocks(), need = t.blocks_for(n);
        BlockTable::Copy copy;
        const bool done = t.append(n, &copy);
        ASSERT_EQ(done, need <= free);
        ASSERT_EQ(t.tokens(), done ? before + n : before);
        ASSERT_EQ(pool.free_blocks(), done && copy.from < 0 ? free - need : pool.free_blocks());
        if (copy.from >= 0) {
          ASSERT_NE(before % size, 0) << "only a partly filled block is copied";
          ASSERT_GE(pool.references(copy.from), 1);
          ASSERT_EQ(pool.references(copy.to), 1);
        }
      }
      std::map<int32_t, int32_t> holders;
      for (const BlockTable& t : tables) {
        ASSERT_EQ(static_cast<int32_t>(t.blocks().size()), (t.tokens() + size - 1) / size);
        for (const int32_t b : t.blocks()) ++holders[b];
      }
      for (int32_t b = 0; b < pool.size(); ++b)
        ASSERT_EQ(pool.references(b), holders.count(b) ? holders[b] : 0);
      ASSERT_EQ(pool.used_blocks(), static_cast<int32_t>(holders.size()));
    }
    tables.clear();
    EXPECT_EQ(pool.used_blocks(), 0);
  }
}

TEST(KvBlocks, GrowingKeepsWhatIsInUse) {
  BlockPool pool(2);
  BlockTable table(pool, 4);
  BlockTable::Copy copy;
  ASSERT_TRUE(table.append(8, &copy));
  const std::vector<int32_t> before(table.blocks().begin(), table.blocks().end());
  EXPECT_FALSE(table.append(1, &copy));
  pool.grow(5);
  EXPECT_TRUE(table.append(1, &copy));
  EXPECT_TRUE(std::equal(before.begin(), before.end(), table.blocks().begin()));
  EXPECT_EQ(pool.free_blocks(), 2);
}

}  // namespace
}  // namespace tokamak
