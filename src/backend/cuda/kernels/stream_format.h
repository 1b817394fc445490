// How codes of few bits lie for the streaming linear kernel: what packs them on the host and what
// reads them on the device agree here.
// A tile is 64 rows; it holds blocks of 128 columns one after another, then for formats with one
// scale a row and no minimum the rows' float32 scales [64]. A block holds the codes, then for each
// of its groups float16 scales [64] and minima [64]; a row's scale and minimum are in every block.
// Rows and columns that pad are codes that stand for 0 and scales of 0. Codes come in units of 8
// rows, in the order in which a warp's lanes hold a product's A operand: lane 4g + t has row g and
// of every 16 columns c: 2t, 2t + 1, 2t + 8, 2t + 9.
#pragma once
#include <cstdint>

namespace tokamak::cuda {

struct StreamFormat {
  static constexpr int kRows = 64, kColumns = 128, kUnitRows = 8;
  int bits = 0;   // 8: code + 128; 4: code + 8, or the code itself where there is a minimum
  int group = 0;  // 32, 64, 128; 0: the row, which has no minimum
  bool has_min = false;

  constexpr int unit_bytes() const { return kUnitRows * kColumns * bits / 8; }
  constexpr int code_bytes() const { return kRows / kUnitRows * unit_bytes(); }
  constexpr int groups() const { return group == 0 ? 0 : kColumns / group; }  // of a block
  constexpr int scale_planes() const { return has_min ? 2 : 1; }
  constexpr int block_bytes() const { return code_bytes() + groups() * scale_planes() * kRows * 2; }
  // The kernel takes one block at a time, of 4 bits two: their number is even.
  constexpr int step_blocks() const { return bits == 4 ? 2 : 1; }
  constexpr int step_bytes() const { return step_blocks() * block_bytes(); }
  constexpr int64_t blocks(int64_t k) const {
    const int64_t columns = step_blocks() * kColumns;
    return (k + columns - 1) / columns * step_blocks();
  }
  constexpr int64_t tile_bytes(int64_t k) const {
    return blocks(k) * block_bytes() + (group == 0 ? kRows * 4 : 0);
  }
  static constexpr int64_t tiles(int64_t n) { return (n + kRows - 1) / kRows; }

  // Where the code of column c (of 128) lies in its unit, which is two halves of 64 columns. 8
  // bits: a lane has 16 bytes of a half, four for every 16 columns. 4 bits: it has 8 bytes, a word
  // for every 32 columns; the word's nibbles 0 4 1 5 are the first 16, 2 6 3 7 the others, so that
  // masks leave pairs.
  static constexpr int lane_of(int row, int c) { return row % kUnitRows * 4 + c % 8 / 2; }
  static constexpr int byte_of(int row, int c) {
    return c / 64 * 512 + lane_of(row, c) * 16 + c % 64 / 16 * 4 + c % 16 / 8 * 2 + c % 2;
  }
  static constexpr int nibble_of(int row, int c) {
    return c / 64 * 512 + lane_of(row, c) * 16 + c % 64 / 32 * 8 + c % 32 / 16 * 2 + c % 16 / 8 +
           c % 2 * 4;
  }
};

}  // namespace tokamak::cuda
