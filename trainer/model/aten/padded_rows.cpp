#include "trainer/model/aten/padded_rows.h"

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "trainer/model/ops.h"

namespace limbic::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// The sequences that lie in one row; equal when the family is one sequence.
struct Row {
  std::size_t first = 0, last = 0;
  std::int64_t length = 0;
  bool leads = false;  // its results are those of the first sequence, too
};

std::vector<Row> rows_of(const std::vector<std::int64_t>& offsets,
                         const std::vector<std::int64_t>& families) {
  const auto length = [&](std::size_t s) { return offsets[s + 1] - offsets[s]; };
  const auto whole = families_or_single(families, offsets.size() - 1);
  std::vector<Row> rows;
  for (std::size_t f = 0; f + 1 < whole.size(); ++f) {
    const auto first = static_cast<std::size_t>(whole[f]);
    const auto end = static_cast<std::size_t>(whole[f + 1]);
    if (end - first == 1) rows.push_back({first, first, length(first), true});
    for (std::size_t s = first + 1; s < end; ++s) {
      rows.push_back({first, s, length(first) + length(s), s == first + 1});
    }
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.length > b.length; });
  return rows;
}

// Writes the cells of rows, one behind the other.
class Filler {
 public:
  Filler(const std::vector<std::int64_t>& offsets) : offsets_(offsets) {
    cell_.resize(static_cast<std::size_t>(offsets.back()));
  }

  void add(const Row& row, std::int64_t length) {
    const std::size_t end = token_.size() + static_cast<std::size_t>(length);
    if (row.first != row.last) add_sequence(row.first, row.leads);
    add_sequence(row.last, true);
    token_.resize(end, offsets_[row.last + 1] - 1);
    giver_.resize(end, offsets_.back());
  }

  void finish(PaddedRows& out, at::Device device) const {
    const auto put = [&](const std::vector<std::int64_t>& values) {
      return at::tensor(values, at::kLong).to(device);
    };
    out.token = put(token_);
    out.cell = put(cell_);
    out.giver = put(giver_);
    out.copied_cell = put(copied_cell_);
    out.copied_token = put(copied_token_);
  }

 private:
  void add_sequence(std::size_t sequence, bool gives_result) {
    for (std::int64_t t = offsets_[sequence]; t < offsets_[sequence + 1]; ++t) {
      const auto cell = static_cast<std::int64_t>(token_.size());
      token_.push_back(t);
      giver_.push_back(gives_result ? t : offsets_.back());
      if (gives_result) {
        cell_[static_cast<std::size_t>(t)] = cell;
      } else {
        copied_cell_.push_back(cell);
        copied_token_.push_back(t);
      }
    }
  }

  const std::vector<std::int64_t>& offsets_;
  std::vector<std::int64_t> token_, cell_, giver_, copied_cell_, copied_token_;
};

struct RowsHolder : torch::CustomClassHolder {
  std::shared_ptr<const PaddedRows> rows;
};

void remember(AutogradContext* ctx, const std::shared_ptr<const PaddedRows>& rows) {
  auto holder = c10::make_intrusive<RowsHolder>();
  holder->rows = rows;
  ctx->saved_data["rows"] = c10::IValue::make_capsule(std::move(holder));
}

std::shared_ptr<const PaddedRows> remembered(AutogradContext* ctx) {
  return c10::static_intrusive_pointer_cast<RowsHolder>(ctx->saved_data["rows"].toCapsule())->rows;
}

// Gathers both ways: what ATen derives by itself would add into the gradient cell by cell, padding
// included, in an order that changes from run to run on a GPU.
struct Spread : Function<Spread> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const std::shared_ptr<const PaddedRows>& rows) {
    remember(ctx, rows);
    return x.index_select(0, rows->token);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto rows = remembered(ctx);
    at::Tensor grad = grads[0].index_select(0, rows->cell);
    if (rows->copied_cell.numel() > 0) {
      // In float32: a prompt may get a share of every completion.
      const at::Tensor shares = grads[0].index_select(0, rows->copied_cell).to(at::kFloat);
      grad =
          grad.to(at::kFloat).index_add(0, rows->copied_token, shares).to(grads[0].scalar_type());
    }
    return {grad, {}};
  }
};

struct Collect : Function<Collect> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const std::shared_ptr<const PaddedRows>& rows) {
    remember(ctx, rows);
    return x.index_select(0, rows->cell);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto rows = remembered(ctx);
    std::vector<std::int64_t> shape = grads[0].sizes().vec();
    shape[0] = 1;
    const at::Tensor none = at::zeros(shape, grads[0].options());
    return {at::cat({grads[0], none}, 0).index_select(0, rows->giver), {}};
  }
};

}  // namespace

std::vector<std::int64_t> PaddedRows::sizes() const {
  std::vector<std::int64_t> out;
  for (const Batch& batch : batches) out.push_back(batch.rows * batch.length);
  return out;
}

std::shared_ptr<const PaddedRows> pad_rows(const std::vector<std::int64_t>& offsets,
                                           const std::vector<std::int64_t>& families,
                                           at::Device device) {
  auto out = std::make_shared<PaddedRows>();
  Filler filler(offsets);
  for (const Row& row : rows_of(offsets, families)) {
    if (out->batches.empty() || 2 * row.length < out->batches.back().length) {
      out->batches.push_back({0, row.length});
    }
    ++out->batches.back().rows;
    filler.add(row, out->batches.back().length);
  }
  filler.finish(*out, device);
  return out;
}

at::Tensor spread(const at::Tensor& x, const std::shared_ptr<const PaddedRows>& rows) {
  return Spread::apply(x, rows);
}

at::Tensor collect(const at::Tensor& x, const std::shared_ptr<const PaddedRows>& rows) {
  return Collect::apply(x, rows);
}

}  // namespace limbic::model
