#include "data/tokenizer/bpe/bpe.h"

#include <algorithm>

#include "data/tokenizer/bpe/byte_level.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

// Up to here a scan for the lowest rank is faster than a heap.
constexpr std::size_t kShortPiece = 40;

}  // namespace

std::uint64_t BpeModel::MergeTable::key_of(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

std::size_t BpeModel::MergeTable::slot_of(std::uint64_t key) const {
  return (key * 0x9E3779B97F4A7C15ULL) >> shift_;
}

void BpeModel::MergeTable::reserve(std::size_t merges) {
  int bits = 4;
  while ((std::size_t{1} << bits) < 2 * merges) ++bits;
  slots_.assign(std::size_t{1} << bits, {});
  shift_ = 64 - bits;
}

void BpeModel::MergeTable::set(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t i = slot_of(key);
  while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {key, merge};
}

BpeModel::MergeTable::Merge BpeModel::MergeTable::find(std::int32_t left,
                                                       std::int32_t right) const {
  const std::uint64_t key = key_of(left, right);
  for (std::size_t i = slot_of(key); slots_[i].key != kFree; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return slots_[i].merge;
  }
  return {};
}

void BpeModel::first_symbols(std::string_view piece, std::vector<BpeSymbol>& out) const {
  out.clear();
  std::optional<BpeSymbol> pending;  // an unknown token that may still grow
  const auto add = [&](std::int32_t id, std::string_view spelling, BpeSymbol place) {
    if (id == kNoToken) return unknown(spelling, place, out, pending);
    if (pending) out.push_back(*pending);
    pending.reset();
    place.id = id;
    out.push_back(place);
  };
  if (byte_level_) {
    for (std::uint32_t i = 0; i < piece.size(); ++i) {
      const auto byte = static_cast<unsigned char>(piece[i]);
      add(byte_ids_[byte], byte_spellings_[byte], {kNoToken, i, i + 1});
    }
  } else {
    std::string spelling;
    for (std::size_t i = 0; i < piece.size();) {
      const std::size_t start = i;
      next_code_point(piece, i);
      spelling.assign(piece.substr(start, i - start));
      add(id_or_none(spelling), spelling,
          {kNoToken, static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(i)});
    }
  }
  if (pending) out.push_back(*pending);
}

void BpeModel::unknown(std::string_view spelling, BpeSymbol place, std::vector<BpeSymbol>& out,
                       std::optional<BpeSymbol>& pending) const {
  if (byte_fallback_) {
    const bool complete = std::all_of(spelling.begin(), spelling.end(), [&](char c) {
      return fallback_ids_[static_cast<unsigned char>(c)] != kNoToken;
    });
    if (complete) {
      const bool one_to_one = spelling.size() == place.end - place.begin;
      for (std::uint32_t i = 0; i < spelling.size(); ++i) {
        const std::int32_t id = fallback_ids_[static_cast<unsigned char>(spelling[i])];
        out.push_back(one_to_one ? BpeSymbol{id, place.begin + i, place.begin + i + 1}
                                 : BpeSymbol{id, place.begin, place.end});
      }
      return;
    }
  }
  if (unknown_id_ == kNoToken) return;
  if (pending && fuse_unknown_) {
    pending->end = place.end;
    return;
  }
  if (pending) out.push_back(*pending);
  pending = BpeSymbol{unknown_id_, place.begin, place.end};
}

void BpeModel::merge_short(BpeBuffers& buffers) const {
  auto& symbols = buffers.symbols;
  auto& pairs = buffers.candidates;  // pairs[i] is the merge of symbols i and i + 1
  pairs.resize(symbols.size());
  const auto update = [&](std::size_t i) {
    const MergeTable::Merge found = i + 1 < symbols.size()
                                        ? merges_.find(symbols[i].id, symbols[i + 1].id)
                                        : MergeTable::Merge{};
    pairs[i] = {found.rank, 0, found.id};
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) update(i);
  while (true) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < symbols.size(); ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == MergeTable::kNone) return;
    symbols[best].id = pairs[best].merged_id;
    symbols[best].end = symbols[best + 1].end;
    const auto gone = static_cast<std::ptrdiff_t>(best + 1);
    symbols.erase(symbols.begin() + gone);
    pairs.erase(pairs.begin() + gone);
    update(best);
    if (best > 0) update(best - 1);
  }
}

void BpeModel::merge_long(BpeBuffers& buffers) const {
  using Candidate = BpeBuffers::Candidate;
  auto& links = buffers.links;
  auto& heap = buffers.candidates;
  links.clear();
  heap.clear();
  const auto count = static_cast<std::int32_t>(buffers.symbols.size());
  for (std::int32_t i = 0; i < count; ++i) {
    links.push_back(
        {buffers.symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto at = [&](std::int32_t i) -> BpeBuffers::Link& {
    return links[static_cast<std::size_t>(i)];
  };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto offer = [&](std::int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    const auto found = merges_.find(at(left).symbol.id, at(at(left).next).symbol.id);
    if (found.rank == MergeTable::kNone) return;
    heap.push_back({found.rank, left, found.id});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  for (std::int32_t i = 0; i < count; ++i) offer(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate best = heap.back();
    heap.pop_back();
    auto& left = at(best.position);
    if (left.symbol.id == kNoToken || left.next < 0) continue;
    auto& right = at(left.next);
    // An entry is stale when either side has changed since.
    const auto found = merges_.find(left.symbol.id, right.symbol.id);
    if (found.rank != best.rank || found.id != best.merged_id) continue;
    left.symbol.id = best.merged_id;
    left.symbol.end = right.symbol.end;
    right.symbol.id = kNoToken;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  buffers.symbols.clear();
  for (const auto& link : links) {
    if (link.symbol.id != kNoToken) buffers.symbols.push_back(link.symbol);
  }
}

void BpeModel::merge(BpeBuffers& buffers) const {
  if (buffers.symbols.size() < 2) return;
  if (buffers.symbols.size() <= kShortPiece) {
    merge_short(buffers);
  } else {
    merge_long(buffers);
  }
}

std::int32_t BpeModel::whole(std::string_view piece) const {
  if (!ignore_merges_) return kNoToken;
  const auto found = by_bytes_.find(std::string(piece));
  return found == by_bytes_.end() ? kNoToken : found->second;
}

void BpeModel::encode(std::string_view piece, PieceCache& cache, BpeBuffers& buffers,
                      std::vector<std::int32_t>& out) const {
  if (cache.find(piece, out)) return;
  const std::size_t first = out.size();
  if (const std::int32_t id = whole(piece); id != kNoToken) {
    out.push_back(id);
  } else {
    first_symbols(piece, buffers.symbols);
    merge(buffers);
    for (const BpeSymbol& symbol : buffers.symbols) out.push_back(symbol.id);
  }
  cache.keep(piece, std::span(out).subspan(first));
}

void BpeModel::encode(std::string_view piece, BpeBuffers& buffers,
                      std::vector<BpeSymbol>& out) const {
  if (const std::int32_t id = whole(piece); id != kNoToken) {
    out.push_back({id, 0, static_cast<std::uint32_t>(piece.size())});
    return;
  }
  first_symbols(piece, buffers.symbols);
  merge(buffers);
  out.insert(out.end(), buffers.symbols.begin(), buffers.symbols.end());
}

}  // namespace limbic::data
