// `limbic adapter check` from outside: adapters that other loaders would use in part, or not at
// all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/model_folder.h"
#include "tests/support/workplace.h"

namespace limbic::test {
namespace {

using testing::HasSubstr;

class AdapterCheck : public testing::Test {
 protected:
  static constexpr std::int64_t kHidden = 32;

  AdapterCheck() { make(8); }

  // An adapter of q_proj in both layers.
  void make(std::int64_t rank) {
    tensors_.clear();
    const auto count = static_cast<std::size_t>(rank * kHidden);
    for (const char* layer : {"0", "1"}) {
      const std::string name =
          std::string("base_model.model.model.layers.") + layer + ".self_attn.q_proj.lora_";
      tensors_.push_back({name + "A.weight", {rank, kHidden}, std::vector<float>(count, 0.1F)});
      tensors_.push_back({name + "B.weight", {kHidden, rank}, std::vector<float>(count, 0.1F)});
    }
    config_ = {{"peft_type", "LORA"},
               {"base_model_name_or_path", "base"},
               {"r", rank},
               {"lora_alpha", 16},
               {"target_modules", {"q_proj"}}};
  }

  Ended check(const char* target) {
    place_.write("adapter/adapter_config.json", config_.dump());
    write_tensors(place_.file("adapter/adapter_model.safetensors"), tensors_);
    return run_limbic({"adapter", "check", "--model", place_.model(), "--adapter",
                       place_.file("adapter"), "--target", target});
  }
  void expect_fine(const char* target, const std::string& part = "; usable") {
    const Ended ended = check(target);
    expect_ok(ended);
    EXPECT_THAT(ended.out, HasSubstr(part));
  }
  // Exit code 1, and the reason with its kind.
  void expect_not_usable(const char* target, const std::string& part) {
    const Ended ended = check(target);
    EXPECT_EQ(ended.code, 1) << ended.err;
    EXPECT_THAT(ended.out, HasSubstr(part));
    EXPECT_THAT(ended.out, HasSubstr("not usable as it is"));
  }

  Workplace place_;
  Json config_;
  std::vector<FileTensor> tensors_;
};

TEST_F(AdapterCheck, AWholeAdapterIsUsableEverywhere) {
  for (const char* target : {"peft", "vllm", "llamacpp"}) {
    expect_fine(target, "4 of 4 tensors match; usable");
  }
}

TEST_F(AdapterCheck, WrongPrefix) {
  for (FileTensor& tensor : tensors_) tensor.name.erase(0, std::string("base_model.").size());
  for (const char* target : {"peft", "vllm", "llamacpp"}) {
    expect_not_usable(target, "silent: 4 of 4 tensors match no module");
    expect_not_usable(target, "want the prefix base_model.model.model.layers.0.self_attn.q_proj");
  }
}

TEST_F(AdapterCheck, MissingB) {
  tensors_.pop_back();
  for (const char* target : {"peft", "vllm", "llamacpp"}) {
    expect_not_usable(target, "silent: model.layers.1.self_attn.q_proj has no lora_B");
  }
}

TEST_F(AdapterCheck, Rank12) {
  make(12);
  expect_fine("peft");
  expect_not_usable("vllm", "refused: rank 12 is no --max-lora-rank of vLLM");
  make(32);
  expect_fine("vllm", "note: rank 32: start vLLM with --max-lora-rank 32");
  make(513);
  expect_not_usable("vllm", "refused: rank 513, want at most 512");
}

TEST_F(AdapterCheck, RankPattern) {
  config_["rank_pattern"] = {{"layers.0.self_attn.q_proj", 8}};
  expect_fine("peft");
  expect_not_usable("vllm", "silent: rank_pattern has 1 rules that are ignored");
  expect_not_usable("llamacpp", "silent: rank_pattern has 1 rules that are ignored");
}

TEST_F(AdapterCheck, Dora) {
  config_["use_dora"] = true;
  expect_fine("peft");
  expect_not_usable("vllm", "refused: DoRA");
  expect_not_usable("llamacpp", "refused: DoRA");
}

TEST_F(AdapterCheck, ModulesToSave) {
  config_["modules_to_save"] = {"lm_head"};
  const std::int64_t rows = tiny_config().at("vocab_size");
  tensors_.push_back({"base_model.model.lm_head.weight",
                      {rows, kHidden},
                      std::vector<float>(static_cast<std::size_t>(rows * kHidden), 0.1F)});
  expect_fine("peft");
  expect_not_usable("vllm", "refused: modules_to_save with tensors of lm_head");
  expect_not_usable("llamacpp", "refused: modules_to_save with tensors of lm_head");
}

TEST_F(AdapterCheck, WhatWouldDoNothing) {
  config_["target_modules"] = {"q_proj", "k_proj"};
  expect_not_usable("peft", "silent: target_modules: 'k_proj' names 2 modules, 2 of them have no");
  config_["target_modules"] = {"q_proj"};
  config_["lora_alpha"] = 0;
  expect_not_usable("peft", "silent: lora_alpha is 0");
  config_["lora_alpha"] = 16;
  tensors_[1].values.assign(tensors_[1].values.size(), 0.0F);
  expect_not_usable("peft", "silent: 1 of 2 modules have an A or B of zeros");
}

}  // namespace
}  // namespace limbic::test
