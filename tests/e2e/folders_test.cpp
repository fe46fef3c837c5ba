// The commands on files and folders: eval, merge, inspect, data check, checkpoint, help.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/workplace.h"
#include "trainer/base/file.h"

namespace limbic::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kLora = "lora: {r: 4, alpha: 8}\n";
constexpr const char* kSft =
    "stages:\n  - {name: s, type: sft, data: d, steps: 4, per_device_train_batch_size: 4, "
    "learning_rate: 1.0e-2, logging_steps: 1, save_steps: 2}\n";

TEST(Help, EveryCommandShowsAnExample) {
  const std::vector<std::vector<std::string>> commands = {{"train"},
                                                          {"serve"},
                                                          {"score"},
                                                          {"generate"},
                                                          {"chat"},
                                                          {"logprobs"},
                                                          {"eval"},
                                                          {"merge"},
                                                          {"adapter", "check"},
                                                          {"inspect"},
                                                          {"data", "check"},
                                                          {"tokenize"},
                                                          {"data"},
                                                          {"adapter"},
                                                          {"checkpoint"},
                                                          {"checkpoint", "list"},
                                                          {"checkpoint", "verify"},
                                                          {"checkpoint", "show"}};
  for (std::vector<std::string> command : commands) {
    command.emplace_back("--help");
    const Ended ended = run_limbic(command);
    expect_ok(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("Example:"), HasSubstr("limbic " + command[0])));
  }
}

TEST(Help, VersionNamesTheLibraries) {
  const Ended ended = run_limbic({"--version"});
  expect_ok(ended);
  for (const char* name : {"limbic", "torch", "mpi", "grpc"}) {
    std::string lower = ended.out;
    std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
    EXPECT_THAT(lower, HasSubstr(name));
  }
}

TEST(Help, UnknownCommandsAndOptionsAreTheUsersError) {
  expect_refused(run_limbic({"trian", "x.yaml"}), {"'trian'", "did you mean 'train'"});
  expect_refused(run_limbic({"data", "chekc", "x.yaml"}), {"'chekc'", "did you mean 'check'"});
  expect_refused(run_limbic({"report", "runs/a"}), {"'report'", "does not have it yet"});
  expect_refused(run_limbic({"generate", "--input", "a"}), {"--model"});
  expect_refused(
      run_limbic({"generate", "--model", "m", "--input", "a", "--output", "b", "--top-p", "1.5"}),
      {"--top-p: got '1.5', want a number from"});
  const auto option = [](const std::string& name, const std::string& value) {
    return run_limbic({"generate", "--model", "m", "--input", "a", "--output", "b", name, value});
  };
  expect_refused(option("--device", "1"), {"--device: got '1', want one of auto, cpu, cuda"});
  expect_refused(option("--temperature", "nan"), {"--temperature: got 'nan', want a number of"});
  expect_refused(option("--n", "1.5"), {"--n: got '1.5', want a whole number from 1 to"});
}

TEST(Eval, ScoresAFileOfPredictions) {
  Workplace place;
  place.write_rows("predictions.jsonl", {{{"prediction", "Joy."}, {"label", "joy"}},
                                         {{"prediction", "fear"}, {"label", "joy"}},
                                         {{"prediction", "fear"}, {"label", "fear"}},
                                         {{"prediction", "anger"}, {"label", "anger"}}});
  const std::string config =
      place.write("eval.yaml", "run: {output: " + place.file("out") +
                                   "}\neval: {predictions: " + place.file("predictions.jsonl") +
                                   ", metrics: [accuracy, macro_f1]}\n");
  const Ended ended = run_limbic({"eval", config, "--json"});
  expect_ok(ended);
  const Json table = Json::parse(ended.out);
  EXPECT_DOUBLE_EQ(table.at("accuracy").get<double>(), 0.75);
  // F1: joy 2/3, fear 2/3, anger 1.
  EXPECT_NEAR(table.at("macro_f1").get<double>(), (2.0 / 3 + 2.0 / 3 + 1.0) / 3, 1e-9);
  EXPECT_EQ(place.read_json("out/eval/table.json").at("accuracy"), table.at("accuracy"));
}

TEST(Eval, ScoresJudgedStepsWithoutLabels) {
  Workplace place;
  place.write_rows("judged.jsonl",
                   {{{"prediction", "<score>Step 1: 1/1, Step 2: 0/1, Step 3: 2/4</score>"}},
                    {{"prediction", "<score>Step 1: 1/1</score>"}},
                    {{"prediction", "I cannot say"}}});
  const std::string config =
      place.write("eval.yaml", "run: {output: " + place.file("out") +
                                   "}\neval: {predictions: " + place.file("judged.jsonl") +
                                   ", region: score, metrics: [mme]}\n");
  const Ended ended = run_limbic({"eval", config, "--json"});
  expect_ok(ended);
  const Json table = Json::parse(ended.out);
  EXPECT_EQ(table.at("mme_rec"), 0.75);
  EXPECT_EQ(table.at("mme_rea"), 0.25);
  EXPECT_EQ(table.at("mme_cot"), 0.5);
  EXPECT_NEAR(table.at("mme_skipped").get<double>(), 1.0 / 3, 1e-9);
}

TEST(Eval, MeasuresAModelByItsChoices) {
  Workplace place;
  place.write_rows("rows.jsonl", prompts(6));
  const std::string config = place.write_config(
      "stages:\n  - {name: e, type: eval, data: d, choices: [a, b], metrics: [accuracy]}\n");
  const Ended ended = run_limbic({"eval", config, "--json"});
  expect_ok(ended);
  EXPECT_TRUE(Json::parse(ended.out).at("accuracy").is_number());
  const auto predictions = place.read_rows("out/e/predictions.jsonl");
  ASSERT_EQ(predictions.size(), 6U);
  for (const Json& row : predictions) {
    EXPECT_TRUE(row.at("prediction") == "a" || row.at("prediction") == "b") << row;
  }
}

TEST(Inspect, ShowsParametersStepsAndWhatIsLearned) {
  Workplace place;
  place.write_rows("rows.jsonl", chats(8));
  const Ended ended = run_limbic({"inspect", place.write_config(std::string(kLora) + kSft)});
  expect_ok(ended);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("parameters"), HasSubstr("memory"), HasSubstr("steps"),
                               HasSubstr("<|im_start|>assistant\n[[")));
  EXPECT_FALSE(std::filesystem::exists(place.file("out")));
}

TEST(DataCheck, CountsRowsAndLabelsAndNamesBadRows) {
  Workplace place;
  place.write_rows("rows.jsonl", chats(8));
  const std::string config = place.write_config(kSft);
  const Ended good = run_limbic({"data", "check", config, "--json"});
  expect_ok(good);
  const Json report = Json::parse(good.out)[0];
  EXPECT_EQ(report.at("rows"), 8);
  EXPECT_EQ(report.at("bad_rows"), 0);
  EXPECT_EQ(report.at("labels").at("label").at("red"), 2);

  std::vector<Json> rows = chats(3);
  rows[1].erase("messages");
  place.write_rows("rows.jsonl", rows);
  const Ended bad = run_limbic({"data", "check", config});
  expect_refused(bad, {"1 bad"});
  EXPECT_THAT(bad.out, HasSubstr("rows.jsonl:2"));
}

TEST(Checkpoint, ListsVerifiesAndShows) {
  Workplace place;
  place.write_rows("rows.jsonl", chats(8));
  expect_ok(run_limbic({"train", place.write_config(std::string(kLora) + kSft), "--quiet"}));
  const std::string run = place.file("out");
  const Ended list = run_limbic({"checkpoint", "list", run});
  expect_ok(list);
  EXPECT_THAT(list.out, HasSubstr("step-00000002"));
  expect_ok(run_limbic({"checkpoint", "verify", run}));
  const std::string step = run + "/checkpoints/s/step-00000002";
  const Ended show = run_limbic({"checkpoint", "show", step});
  expect_ok(show);
  const Json shown = Json::parse(show.out);
  EXPECT_EQ(shown.at("step"), 2);
  EXPECT_FALSE(shown.at("tensors").empty());
  EXPECT_EQ(shown.at("files").size(), 2U);
  EXPECT_TRUE(shown.at("files").at(0).contains("sha256"));
  expect_refused(run_limbic({"checkpoint", "show", run}), {run, "want a step folder"});

  for (const auto& entry : std::filesystem::directory_iterator(step)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::string content = read_file(entry.path().string());
    content.back() = static_cast<char>(content.back() ^ 1);
    write_file_atomically(entry.path().string(), content);
  }
  const Ended damaged = run_limbic({"checkpoint", "verify", run});
  expect_refused(damaged, {"1 damaged"});
  EXPECT_THAT(damaged.out, HasSubstr("safetensors"));
}

TEST(Merge, TheMergedModelComputesWhatTheAdapterDoes) {
  Workplace place;
  place.write_rows("rows.jsonl", chats(8));
  expect_ok(run_limbic({"train", place.write_config(std::string(kLora) + kSft), "--quiet"}));
  const std::string merged = place.file("merged");
  const Ended ended = run_limbic({"merge", "--model", place.model(), "--adapter",
                                  place.file("out/final"), "--output", merged + "/"});
  expect_ok(ended);
  EXPECT_THAT(ended.out, HasSubstr("read again, log-probabilities differ by at most"));
  EXPECT_THAT(read_file(merged + "/README.md"),
              AllOf(HasSubstr("library_name: transformers"), HasSubstr("merged with the adapter"),
                    HasSubstr("s (sft), 4 steps")));
  place.write_rows("in.jsonl", chats(3));
  const auto logprobs = [&](std::vector<std::string> model) {
    model.insert(model.begin(), {"logprobs", "--input", place.file("in.jsonl"), "--output",
                                 place.file("scored.jsonl"), "--dtype", "float32", "--model"});
    expect_ok(run_limbic(model));
    std::vector<double> values;
    for (const Json& row : place.read_rows("scored.jsonl")) {
      for (const Json& value : row.at("logprobs")) values.push_back(value);
    }
    return values;
  };
  const auto plain = logprobs({place.model()});
  const auto adapted = logprobs({place.model(), "--adapter", place.file("out/final")});
  EXPECT_THAT(logprobs({merged}), testing::Pointwise(testing::DoubleNear(1e-4), adapted));
  EXPECT_THAT(plain, testing::Not(testing::Pointwise(testing::DoubleNear(1e-2), adapted)));
  expect_refused(run_limbic({"merge", "--model", place.model(), "--adapter",
                             place.file("out/final"), "--output", merged}),
                 {merged, "not empty"});
}

TEST(Folders, CardsAndCompanionsSayWhereAnAdapterIsFrom) {
  Workplace place;
  place.write_rows("rows.jsonl", chats(8));
  expect_ok(run_limbic({"train", place.write_config(std::string(kLora) + kSft), "--quiet"}));
  const std::string folder = place.file("out/final");
  const Json lineage = place.read_json("out/summary.json").at("stages")[0].at("lineage");
  EXPECT_THAT(read_file(folder + "/README.md"),
              AllOf(HasSubstr("library_name: peft"), HasSubstr("s (sft), 4 steps"),
                    HasSubstr(lineage.at("data").at("d").get<std::string>()),
                    HasSubstr(lineage.at("config").get<std::string>())));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_EQ(read_file(folder + "/" + name), read_file(place.model() + "/" + name));
  }
}

TEST(AdapterFolder, ExitCodeSaysWhetherALoaderDoesAsMeant) {
  Workplace place;
  place.write_rows("rows.jsonl", chats(8));
  expect_ok(run_limbic(
      {"train", place.write_config(std::string("lora: {r: 8, alpha: 16}\n") + kSft), "--quiet"}));
  const std::string adapter = place.file("out/final");
  const auto check = [&](const char* target) {
    return run_limbic({"adapter", "check", "--model", place.model(), "--adapter", adapter,
                       "--target", target, "--json"});
  };
  for (const char* target : {"peft", "vllm", "llamacpp"}) {
    const Ended good = check(target);
    expect_ok(good);
    EXPECT_EQ(Json::parse(good.out).at("usable"), true) << good.out;
  }
  Json config = Json::parse(read_file(adapter + "/adapter_config.json"));
  config["use_rslora"] = true;
  write_file_atomically(adapter + "/adapter_config.json", config.dump());
  expect_ok(check("vllm"));
  const Ended bad = check("llamacpp");
  EXPECT_EQ(bad.code, 1) << bad.err;
  EXPECT_THAT(bad.out, HasSubstr("use_rslora is ignored"));
  expect_refused(
      run_limbic({"adapter", "check", "--model", place.model(), "--adapter", place.file("none")}),
      {"none"});
}

}  // namespace
}  // namespace limbic::test
