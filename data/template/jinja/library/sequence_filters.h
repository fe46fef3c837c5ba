// Filters that walk over a sequence.
#pragma once

#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

Value dictsort(const Value& input, const Args& args, Budget& budget);
Value first(const Value& input, const Args& args, Budget& budget);
Value last(const Value& input, const Args& args, Budget& budget);
Value items(const Value& input, const Args& args, Budget& budget);
Value join(const Value& input, const Args& args, Budget& budget);
Value list(const Value& input, const Args& args, Budget& budget);
Value map(const Value& input, const Args& args, Budget& budget);
Value select(const Value& input, const Args& args, Budget& budget);
Value reject(const Value& input, const Args& args, Budget& budget);
Value selectattr(const Value& input, const Args& args, Budget& budget);
Value rejectattr(const Value& input, const Args& args, Budget& budget);
Value min_filter(const Value& input, const Args& args, Budget& budget);
Value max_filter(const Value& input, const Args& args, Budget& budget);
Value reverse(const Value& input, const Args& args, Budget& budget);
Value sort(const Value& input, const Args& args, Budget& budget);
Value sum(const Value& input, const Args& args, Budget& budget);
Value unique(const Value& input, const Args& args, Budget& budget);

}  // namespace limbic::data::jinja
