// What other loaders would make of an adapter: one folder, spoilt in every way.
#include "trainer/model/peft/adapter_check.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"
#include "trainer/model/lora.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::model {
namespace {

using test::TempFolder;
using Weight = AdapterFinding::Weight;

class AdapterCheck : public ::testing::Test {
 protected:
  AdapterCheck() {
    Decoder decoder = tiny_model();
    const LoraConfig config{.r = 8, .target_modules = {"q_proj", "down_proj"}};
    attach_lora(decoder, config, 3, false);
    tensors_ = export_adapter(decoder);
    for (NamedTensor& item : tensors_) item.tensor.fill_(0.1);
    json_ = adapter_config_json(config, config.target_modules, "some/base");
  }

  AdapterReport check(AdapterTarget target, const Json& config = tiny_config()) {
    folder_.write("adapter_config.json", json_.dump());
    write_safetensors(folder_.file("adapter_model.safetensors"), tensors_);
    return check_adapter(ModelConfig::parse(config, "tiny"), folder_.file(""), target);
  }

  // The loader's only complaint has this weight and says this.
  void expect_finding(const AdapterReport& report, Weight weight, const std::string& part) {
    ASSERT_EQ(report.findings.size(), 1u);
    EXPECT_EQ(report.findings[0].weight, weight) << report.findings[0].text;
    EXPECT_NE(report.findings[0].text.find(part), std::string::npos) << report.findings[0].text;
    EXPECT_EQ(report.usable(), weight == Weight::kNote);
  }
  void expect_only_for(AdapterTarget target, Weight weight, const std::string& part) {
    for (const AdapterTarget other :
         {AdapterTarget::kPeft, AdapterTarget::kVllm, AdapterTarget::kLlamacpp}) {
      const AdapterReport report = check(other);
      if (other == target) {
        expect_finding(report, weight, part);
      } else {
        EXPECT_TRUE(report.findings.empty()) << report.findings[0].text;
      }
    }
  }

  TempFolder folder_;
  NamedTensors tensors_;
  Json json_;
};

TEST_F(AdapterCheck, PlainAdapterIsUsableEverywhere) {
  for (const AdapterTarget target :
       {AdapterTarget::kPeft, AdapterTarget::kVllm, AdapterTarget::kLlamacpp}) {
    const AdapterReport report = check(target);
    EXPECT_TRUE(report.usable());
    EXPECT_TRUE(report.findings.empty());
    EXPECT_EQ(report.tensors, 8);
    EXPECT_EQ(report.matched, 8);
  }
}

TEST_F(AdapterCheck, OtherPrefixesAreNamedWithTheRightOne) {
  json_["target_modules"] = {"down_proj"};
  for (NamedTensor& item : tensors_) {
    const std::size_t at = item.name.find("model.layers");
    if (item.name.find("q_proj") != std::string::npos) {
      item.name.insert(at + 6, "language_model.");
    }
  }
  const AdapterReport report = check(AdapterTarget::kPeft);
  EXPECT_EQ(report.matched, 4);
  expect_finding(report, Weight::kSilent,
                 "4 of 8 tensors match no module, the first is "
                 "'base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight'");
  expect_finding(report, Weight::kSilent,
                 "want the prefix base_model.model.model.layers.0.self_attn.q_proj");
}

TEST_F(AdapterCheck, ModulesWithoutTensorsStayTheBase) {
  tensors_.erase(tensors_.begin(), tensors_.begin() + 2);  // q_proj of layer 0
  expect_finding(check(AdapterTarget::kPeft), Weight::kSilent,
                 "'q_proj' names 2 modules, 1 of them have no tensors");
  tensors_.erase(tensors_.begin());  // A of down_proj in layer 0
  const AdapterReport half = check(AdapterTarget::kPeft);
  EXPECT_EQ(half.findings.size(), 2u);
  EXPECT_NE(half.findings[0].text.find("model.layers.0.mlp.down_proj has no lora_A"),
            std::string::npos)
      << half.findings[0].text;
}

TEST_F(AdapterCheck, TargetsThatAreNoModulesAreSilentWhenNoneIs) {
  json_["target_modules"] = {"q_proj", "down_proj", "qkv_proj"};
  expect_finding(check(AdapterTarget::kVllm), Weight::kNote, "'qkv_proj' is no module");
  json_["target_modules"] = {"qkv_proj"};
  expect_finding(check(AdapterTarget::kVllm), Weight::kSilent, "'qkv_proj' is no module");
}

TEST_F(AdapterCheck, ZerosChangeNothing) {
  tensors_[1].tensor.zero_();
  expect_finding(check(AdapterTarget::kPeft), Weight::kSilent,
                 "1 of 4 modules have an A or B of zeros");
  tensors_[2].tensor.zero_();
  expect_finding(check(AdapterTarget::kPeft), Weight::kSilent,
                 "2 of 4 modules have an A or B of zeros");
  tensors_[1].tensor.fill_(0.1);
  tensors_[2].tensor.fill_(0.1);
  json_["lora_alpha"] = 0;
  expect_finding(check(AdapterTarget::kVllm), Weight::kSilent, "lora_alpha is 0");
}

TEST_F(AdapterCheck, ValuesThatAreNotFiniteAreNamed) {
  tensors_[3].tensor[0][0] = std::numeric_limits<float>::quiet_NaN();
  expect_finding(check(AdapterTarget::kPeft), Weight::kSilent,
                 "1 of 4 modules have values that are not finite");
}

TEST_F(AdapterCheck, ShapesWithoutElementsAreShapes) {
  tensors_[1].tensor = at::empty({0, 8});
  expect_finding(check(AdapterTarget::kPeft), Weight::kRefused, "and B 0 x 8, want");
}

TEST_F(AdapterCheck, ShapesMustFitModelAndRank) {
  tensors_[0].tensor = tensors_[0].tensor.slice(1, 1).contiguous();
  expect_finding(check(AdapterTarget::kPeft), Weight::kRefused,
                 "has A 8 x 23 and B 60 x 8, want 8 x 24 and 60 x 8");
}

TEST_F(AdapterCheck, PatternsAreKeptByPeftAlone) {
  json_["alpha_pattern"] = {{"q_proj", 8.0}};
  EXPECT_TRUE(check(AdapterTarget::kPeft).usable());
  expect_finding(check(AdapterTarget::kVllm), Weight::kSilent, "alpha_pattern has 1 rules");
  expect_finding(check(AdapterTarget::kLlamacpp), Weight::kSilent, "alpha_pattern has 1 rules");
  json_["alpha_pattern"] = Json::object();
  json_["rank_pattern"] = {{"q_proj", 2}};
  for (std::size_t i = 0; i < tensors_.size(); i += 2) {
    if (tensors_[i].name.find("q_proj") == std::string::npos) continue;
    tensors_[i].tensor = tensors_[i].tensor.slice(0, 0, 2).contiguous();
    tensors_[i + 1].tensor = tensors_[i + 1].tensor.slice(1, 0, 2).contiguous();
  }
  EXPECT_TRUE(check(AdapterTarget::kPeft).usable());
  expect_finding(check(AdapterTarget::kVllm), Weight::kSilent, "rank_pattern has 1 rules");
}

TEST_F(AdapterCheck, RslorasScaleIsLostInLlamacpp) {
  json_["use_rslora"] = true;
  expect_only_for(AdapterTarget::kLlamacpp, Weight::kSilent, "write lora_alpha 90.5");
}

TEST_F(AdapterCheck, DoraIsPefts) {
  json_["use_dora"] = true;
  EXPECT_TRUE(check(AdapterTarget::kPeft).usable());
  expect_finding(check(AdapterTarget::kVllm), Weight::kRefused, "DoRA");
  expect_finding(check(AdapterTarget::kLlamacpp), Weight::kRefused, "DoRA");
}

TEST_F(AdapterCheck, ChangedBasesArePefts) {
  json_["init_lora_weights"] = "gaussian";
  EXPECT_TRUE(check(AdapterTarget::kVllm).usable());
  json_["init_lora_weights"] = "pissa_niter_4";
  EXPECT_TRUE(check(AdapterTarget::kPeft).usable());
  expect_finding(check(AdapterTarget::kVllm), Weight::kSilent, "init_lora_weights is");
  expect_finding(check(AdapterTarget::kLlamacpp), Weight::kSilent, "init_lora_weights is");
}

TEST_F(AdapterCheck, SavedModulesArePefts) {
  tensors_.push_back({"base_model.model.lm_head.weight", at::ones({61, 24})});
  json_["modules_to_save"] = {"lm_head"};
  EXPECT_TRUE(check(AdapterTarget::kPeft).usable());
  expect_finding(check(AdapterTarget::kVllm), Weight::kRefused, "modules_to_save");
  expect_finding(check(AdapterTarget::kLlamacpp), Weight::kRefused, "lm_head");
}

TEST_F(AdapterCheck, SavedModulesHaveTensors) {
  json_["modules_to_save"] = {"lm_head"};
  expect_finding(check(AdapterTarget::kPeft), Weight::kSilent, "no tensor of lm_head");
}

TEST_F(AdapterCheck, VllmHasRankLimits) {
  const auto with_rank = [&](std::int64_t rank) {
    json_["r"] = rank;
    for (std::size_t i = 0; i < tensors_.size(); i += 2) {
      tensors_[i].tensor = at::ones({rank, tensors_[i].tensor.size(1)});
      tensors_[i + 1].tensor = at::ones({tensors_[i + 1].tensor.size(0), rank});
    }
    return check(AdapterTarget::kVllm);
  };
  EXPECT_TRUE(with_rank(16).findings.empty());
  expect_finding(with_rank(12), Weight::kRefused,
                 "rank 12 is no --max-lora-rank of vLLM (1, 8, 16, 32, 64, 128, 256, 320, 512): it "
                 "loads only where that is 16 or more");
  expect_finding(with_rank(32), Weight::kNote, "--max-lora-rank 32");
  expect_finding(with_rank(320), Weight::kNote, "--max-lora-rank 320");
  expect_finding(with_rank(300), Weight::kRefused, "train it with rank 320");
  expect_finding(with_rank(600), Weight::kRefused, "at most 512");
}

TEST_F(AdapterCheck, FoldersThatCannotBeReadAreRefused) {
  json_["rank_pattern"] = {{"(q_proj", 4}};
  EXPECT_THROW(check(AdapterTarget::kPeft), DataError);
  json_["rank_pattern"] = Json::object();
  json_["peft_type"] = "IA3";
  EXPECT_THROW(check(AdapterTarget::kPeft), DataError);
  const TempFolder empty;
  EXPECT_THROW(check_adapter(ModelConfig::parse(tiny_config(), "tiny"), empty.file(""),
                             AdapterTarget::kPeft),
               DataError);
}

}  // namespace
}  // namespace limbic::model
