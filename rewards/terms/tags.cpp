#include "rewards/terms/tags.h"

#include <fmt/format.h>

#include <algorithm>

#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

std::vector<TagPair> marker_pairs(const Json& option) {
  std::vector<TagPair> pairs;
  const auto is_marker = [](const Json& item) { return item.is_string() && item != ""; };
  if (!option.is_null() && !option.is_array())
    throw OptionError("got no list, want [[open, close]]");
  for (const Json& pair : option) {
    if (!pair.is_array() || pair.size() != 2 || !is_marker(pair[0]) || !is_marker(pair[1])) {
      throw OptionError(
          fmt::format("got {}, want [opening marker, closing marker]", shortened(pair.dump())));
    }
    pairs.push_back({pair[0].get<std::string>(), pair[1].get<std::string>()});
  }
  return pairs;
}

using NestedTags = std::map<std::string, std::vector<TagPair>>;

NestedTags nested_tags(const Json& option, const std::vector<std::string>& tags) {
  NestedTags nested;
  if (option.is_null()) return nested;
  if (!option.is_object()) throw OptionError("got no section, want `tag: [tags inside]`");
  for (const auto& [tag, inner] : option.items()) {
    if (std::find(tags.begin(), tags.end(), tag) == tags.end()) {
      throw OptionError(fmt::format("got '{}', want one of `tags`", tag));
    }
    if (!inner.is_array()) throw OptionError(fmt::format("got no list for {}, want tags", tag));
    for (const Json& name : inner) {
      if (!name.is_string()) throw OptionError("got a value that is no tag, want a name");
      nested[tag].push_back(TagPair::of_tag(name.get<std::string>()));
    }
  }
  return nested;
}

struct Piece {
  TagPair pair;
  std::vector<TagPair> inside;
};

// Right and wrong pairs of one level of the text.
struct Tally {
  std::size_t right = 0;
  std::size_t all = 0;
  bool text_outside = false;
  std::string wrong;  // first opening marker that is not right

  void count(bool is_right, const std::string& marker) {
    ++all;
    right += is_right ? 1 : 0;
    if (!is_right && wrong.empty()) wrong = marker;
  }
};

class TagsTerm final : public RowTerm {
 public:
  TagsTerm(std::vector<Piece> pieces, const TagsConfig& config)
      : pieces_(std::move(pieces)),
        mode_(config.mode),
        non_empty_(config.non_empty),
        graded_(config.graded) {}

 protected:
  Result score_row(const Completion& row) const override {
    Tally tally;
    tally_level(row.text, pieces_, mode_, tally);
    const bool right = tally.right == tally.all && !tally.text_outside;
    std::string detail;
    if (!tally.wrong.empty()) {
      detail = fmt::format("{} is not right", shortened(tally.wrong));
    } else if (tally.text_outside) {
      detail = "text outside the pairs";
    }
    if (!graded_ || tally.text_outside) return Result::scored(right ? 1.0 : 0.0, detail);
    return Result::scored(static_cast<double>(tally.right) / static_cast<double>(tally.all),
                          detail);
  }

 private:
  // The first acceptable pair from `from` on.
  std::optional<TagSpan> find_right(std::string_view text, const TagPair& pair, TagMode mode,
                                    std::size_t from) const {
    if (mode == TagMode::kStrict &&
        (count_of(text, pair.open) != 1 || count_of(text, pair.close) != 1)) {
      return std::nullopt;
    }
    std::optional<TagSpan> span = find_pair(text, pair, from);
    while (
        span && non_empty_ &&
        strip(text.substr(span->content_begin, span->content_end - span->content_begin)).empty()) {
      span = find_pair(text, pair, span->end);
    }
    return span;
  }

  void tally_level(std::string_view text, const std::vector<Piece>& pieces, TagMode mode,
                   Tally& tally) const {
    std::size_t cursor = 0;
    for (const Piece& piece : pieces) {
      const std::size_t from = mode == TagMode::kPresent ? 0 : cursor;
      const std::optional<TagSpan> span = find_right(text, piece.pair, mode, from);
      tally.count(span.has_value(), piece.pair.open);
      if (span) {
        if (mode == TagMode::kStrict && !strip(text.substr(cursor, span->begin - cursor)).empty()) {
          tally.text_outside = true;
        }
        cursor = span->end;
      }
      tally_inside(span ? text.substr(span->content_begin, span->content_end - span->content_begin)
                        : std::string_view(),
                   piece, mode, tally);
    }
    if (mode == TagMode::kStrict && !strip(text.substr(cursor)).empty()) tally.text_outside = true;
  }

  void tally_inside(std::string_view content, const Piece& piece, TagMode mode,
                    Tally& tally) const {
    if (piece.inside.empty()) return;
    std::vector<Piece> inner;
    for (const TagPair& pair : piece.inside) inner.push_back({pair, {}});
    tally_level(content, inner, mode == TagMode::kStrict ? mode : TagMode::kPresent, tally);
  }

  std::vector<Piece> pieces_;
  TagMode mode_;
  bool non_empty_;
  bool graded_;
};

}  // namespace

void describe(Fields& f, TagsConfig& c) {
  f.field("tags", c.tags, "names of the wanted tags, <name> to </name>, in order");
  f.field("pairs", c.pairs, "[[opening, closing], ...] in order, instead of tags");
  f.choice("mode", c.mode,
           {{TagMode::kPresent, "present"},
            {TagMode::kOrdered, "ordered"},
            {TagMode::kStrict, "strict"}},
           "what a right pair is");
  f.field("nested", c.nested, "tag: [tags that stand inside it]");
  f.field("non_empty", c.non_empty, "a pair must hold more than white space");
  f.field("graded", c.graded, "the share of right pairs instead of 0 or 1");
  check_option(f, "pairs", [&] { marker_pairs(c.pairs); });
  check_option(f, "nested", [&] { nested_tags(c.nested, c.tags); });
  if (f.reading() && c.tags.empty() == (c.pairs.is_null() || c.pairs.empty())) {
    f.fail("tags", "got both or neither of tags and pairs, want one of them");
  }
  if (!f.reading()) return;
  for (const std::string& tag : c.tags) require_text(f, "tags", tag, "names");
}

std::unique_ptr<Term> make_term(const TagsConfig& config, const TermSetup&) {
  std::vector<Piece> pieces;
  const NestedTags nested = nested_tags(config.nested, config.tags);
  for (const std::string& tag : config.tags) {
    const auto inside = nested.find(tag);
    pieces.push_back(
        {TagPair::of_tag(tag), inside == nested.end() ? std::vector<TagPair>() : inside->second});
  }
  for (const TagPair& pair : marker_pairs(config.pairs)) pieces.push_back({pair, {}});
  return std::make_unique<TagsTerm>(std::move(pieces), config);
}

}  // namespace limbic::rewards
