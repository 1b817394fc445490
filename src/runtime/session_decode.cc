// What decode_loop needs of a session: the inputs of steps that the device makes for itself.
#include <algorithm>

#include "runtime/session.h"

namespace tokamak {

Session::DecodeInputs Session::open_decode(std::span<const DecodeStart> rows, int64_t steps) {
  const auto count = static_cast<int64_t>(rows.size());
  int64_t blocks = 1, longest = 0;  // one for what is not kept
  for (const DecodeStart& r : rows) {
    blocks += table(r.sequence).blocks_for(static_cast<int32_t>(r.kept));
    longest = std::max<int64_t>(longest, table(r.sequence).tokens());
  }
  scratch_.clear();
  need_blocks(blocks);
  const int64_t stride = (longest + steps + kv_.block_size() - 1) / kv_.block_size();
  size_buffers(std::min(count, max_rows_), count, stride);
  step_.begin();
  append_kv(scratch_, 1);
  const int32_t scratch = scratch_.blocks()[0];
  decodes_adapters_ = always_adapted_;
  for (int32_t i = 0; i < count; ++i) {
    BlockTable& t = table(rows[i].sequence);
    const int32_t length = t.tokens();
    append_kv(t, static_cast<int32_t>(rows[i].kept));
    int32_t* blocks_of = step_.block_table + i * step_.table_stride();
    std::fill_n(std::ranges::copy(t.blocks(), blocks_of).out,
                step_.table_stride() - static_cast<int64_t>(t.blocks().size()), scratch);
    step_.token_ids[i] = rows[i].next;
    step_.positions[i] = length;
    step_.adapters[i] = adapters_.row(adapter_of_[rows[i].sequence]);
    decodes_adapters_ = decodes_adapters_ || step_.adapters[i] >= 0;
    step_.context_len[i] = length + 1;
    step_.query_begin[i] = i;
    step_.logit_index[i] = i;
  }
  step_.query_begin[count] = static_cast<int32_t>(count);
  set_context({static_cast<int32_t>(count), static_cast<int32_t>(count),
               static_cast<int32_t>(count), decodes_adapters_});
  return {const_cast<int32_t*>(context_.token_ids), const_cast<int32_t*>(context_.positions),
          const_cast<int32_t*>(context_.context_len),
          program_.operand(plan().logits).as<const float>(), decodes_adapters_};
}

void Session::close_decode() { scratch_.clear(); }

void Session::enqueue_decode(int32_t max_context) {
  context_.max_context = max_context;
  backend_.enqueue(program_.launches(context_.tokens, context_.logit_rows, decodes_adapters_),
                   program_.workspace(), context_);
}

}  // namespace tokamak
