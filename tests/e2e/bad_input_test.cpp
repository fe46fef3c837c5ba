// What is wrong in a model folder or in the data: exit code 2, one line that says what and where,
// and nothing written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "tests/support/model_folder.h"
#include "tests/support/workplace.h"
#include "trainer/base/file.h"

namespace limbic::test {
namespace {

class BadInput : public testing::Test {
 protected:
  BadInput() { place_.write_rows("rows.jsonl", chats(8)); }

  void refused(const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    const auto before = place_.snapshot();
    expect_refused(run_limbic(arguments), parts);
    EXPECT_THAT(changes(before, place_.snapshot()), testing::IsEmpty());
  }
  void generate_refused(const std::vector<std::string>& parts) {
    refused({"generate", "--model", place_.model(), "--input", place_.file("in.jsonl"), "--output",
             place_.file("out.jsonl"), "--max-new-tokens", "8"},
            parts);
  }
  // The model folder is tried with rows that are fine.
  void model_refused(const std::vector<std::string>& parts) {
    place_.write_rows("in.jsonl", {{{"prompt", "hello"}}});
    generate_refused(parts);
  }
  void change_config(const std::string& key, const Json& value) {
    Json config = place_.read_json("model/config.json");
    config[key] = value;
    place_.write("model/config.json", config.dump());
  }
  void training_refused(const std::vector<std::string>& parts, const std::string& more = "") {
    refused({"train", place_.write_config("stages:\n  - {name: s, type: sft, data: d, steps: 2" +
                                          more + "}\n")},
            parts);
  }

  Workplace place_;
};

TEST_F(BadInput, OtherArchitectureIsNamed) {
  change_config("architectures", {"MambaForCausalLM"});
  model_refused({"config.json", "architectures", "MambaForCausalLM"});
}

TEST_F(BadInput, OtherRopeTypeIsNamed) {
  change_config("rope_scaling", {{"rope_type", "su-rope"}, {"factor", 4.0}});
  model_refused({"config.json", "rope_type", "su-rope"});
}

TEST_F(BadInput, MissingPiecesOfTheModelFolder) {
  for (const char* name : {"tokenizer.json", "config.json", "model.safetensors"}) {
    const std::string content = read_file(place_.file(std::string("model/") + name));
    std::filesystem::remove(place_.file(std::string("model/") + name));
    model_refused({std::string(name).substr(0, 5)});
    place_.write(std::string("model/") + name, content);
  }
}

TEST_F(BadInput, BrokenConfigsAreNamedByLine) {
  place_.write("model/config.json", "{\"hidden_size\":\n");
  place_.write_rows("in.jsonl", {{{"prompt", "hello"}}});
  const Ended ended = run_limbic({"generate", "--model", place_.model(), "--input",
                                  place_.file("in.jsonl"), "--output", place_.file("out.jsonl")});
  expect_refused(ended, {"config.json: got broken JSON (line 2, column 1"});
  EXPECT_THAT(ended.err, testing::Not(testing::HasSubstr("exception")));
}

TEST_F(BadInput, TruncatedWeights) {
  const std::string whole = read_file(place_.file("model/model.safetensors"));
  for (const std::size_t size :
       {whole.size() - 4, whole.size() / 2, std::size_t{100}, std::size_t{3}}) {
    place_.write("model/model.safetensors", whole.substr(0, size));
    model_refused({"model.safetensors", "broken"});
  }
}

TEST_F(BadInput, OverlappingWeights) {
  std::string content = read_file(place_.file("model/model.safetensors"));
  std::uint64_t size = 0;
  std::memcpy(&size, content.data(), sizeof size);
  Json header = Json::parse(content.substr(8, size));
  header["model.norm.weight"]["data_offsets"] =
      header["model.layers.0.input_layernorm.weight"]["data_offsets"];
  std::string text = header.dump();
  ASSERT_LE(text.size(), size);
  text.resize(size, ' ');
  place_.write("model/model.safetensors", content.replace(8, size, text));
  model_refused({"model.safetensors", "norm.weight"});
}

TEST_F(BadInput, WeightsOfAnotherShapeOrName) {
  auto weights = tiny_weights();
  weights[1].shape = {16};
  weights[1].values.resize(16);
  write_tensors(place_.file("model/model.safetensors"), weights);
  model_refused({place_.model(), weights[1].name, "16", "32"});

  weights = tiny_weights();
  weights.back().name = "head.weight";
  write_tensors(place_.file("model/model.safetensors"), weights);
  model_refused({"head.weight"});
}

TEST_F(BadInput, RowsWithoutTheNeededColumn) {
  place_.write_rows("in.jsonl", {{{"prompt", "fine"}}, {{"question", "what?"}}});
  generate_refused({"in.jsonl:2", "prompt", "question"});
  std::vector<Json> rows = chats(4);
  rows[2].erase("messages");
  place_.write_rows("rows.jsonl", rows);
  training_refused({"rows.jsonl:3", "messages"});
}

TEST_F(BadInput, RowsThatAreNoUtf8OrNoJson) {
  place_.write("in.jsonl", "{\"prompt\": \"fine\"}\n{\"prompt\": \"a\xff\"}\n");
  generate_refused({"in.jsonl:2", "UTF-8"});
  place_.write("in.jsonl", "{\"prompt\": \"fine\"}\n\n{\"prompt\": \n");
  generate_refused({"in.jsonl:3", "JSON"});
  place_.write("rows.jsonl", chats(1)[0].dump() + "\n{\"messages\": \"\xc0\"}\n");
  training_refused({"rows.jsonl:2", "UTF-8"});
}

TEST_F(BadInput, SequencesThatDoNotFit) {
  place_.write_rows("in.jsonl", {{{"prompt", "ok"}}, {{"prompt", std::string(300, 'q')}}});
  generate_refused({"in.jsonl:2", "tokens", "positions"});
  training_refused({"rows.jsonl:", "max_length 20"}, ", max_length: 20");
}

TEST_F(BadInput, TemplateThatRaises) {
  place_.write("model/chat_template.jinja", "{{ raise_exception('roles must alternate') }}");
  place_.write_rows("in.jsonl", {chats(1)[0]});
  generate_refused({"in.jsonl:1", "roles must alternate"});
}

TEST_F(BadInput, AdapterOfAnotherModel) {
  place_.write("adapter/adapter_config.json",
               R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]})");
  std::vector<FileTensor> tensors;
  for (const char* layer : {"0", "1"}) {
    const std::string name =
        std::string("base_model.model.model.layers.") + layer + ".self_attn.q_proj.lora_";
    tensors.push_back({name + "A.weight", {4, 64}, std::vector<float>(256)});
    tensors.push_back({name + "B.weight", {32, 4}, std::vector<float>(128)});
  }
  write_tensors(place_.file("adapter/adapter_model.safetensors"), tensors);
  place_.write_rows("in.jsonl", {{{"prompt", "hello"}}});
  refused({"generate", "--model", place_.model(), "--adapter", place_.file("adapter"), "--input",
           place_.file("in.jsonl"), "--output", place_.file("out.jsonl")},
          {"adapter", "lora_A", "64"});
}

}  // namespace
}  // namespace limbic::test
