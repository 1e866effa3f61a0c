// Runs models in a build of a C++ tree of TFLite Micro: runner CASES OUT. What it reads and writes is what
// runner.py does; each model runs in a process forked for it.
//
// The functions that register operators are those that the tree has; `registered.inc` is generated from its headers.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

constexpr int kRefused = 3;
constexpr unsigned kSeconds = 60;
// What tensors hold before anything is written: an output that is left alone shows.
constexpr int kPoison = 0xA5;
constexpr size_t kArena = size_t{1} << 24;
alignas(64) uint8_t arena[kArena];

std::vector<uint8_t> Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int Refuse(const char* what) {
  std::fprintf(stderr, "\n%s\n", what);
  std::fflush(stderr);
  return kRefused;
}

int Run(const std::string& model_path, const std::string& in_path, const std::string& out_path) {
  std::vector<uint8_t> file = Contents(model_path);
  const std::vector<uint8_t> held = Contents(in_path);
  void* aligned = std::aligned_alloc(64, (file.size() + 63) / 64 * 64);
  std::memcpy(aligned, file.data(), file.size());
  std::memset(arena, kPoison, kArena);
  static tflite::MicroMutableOpResolver<256> resolver;
#include "registered.inc"
  tflite::MicroInterpreter interpreter(tflite::GetModel(aligned), resolver, arena, kArena);
  if (interpreter.AllocateTensors() != kTfLiteOk) return Refuse("AllocateTensors failed");
  std::ofstream out(out_path, std::ios::binary);
  for (size_t at = 0; at < held.size();) {
    for (size_t i = 0; i < interpreter.inputs_size(); ++i) {
      TfLiteTensor* tensor = interpreter.input(i);
      if (at + tensor->bytes > held.size()) return Refuse("an input is larger than expected");
      std::memcpy(tensor->data.raw, held.data() + at, tensor->bytes);
      at += tensor->bytes;
    }
    if (interpreter.Invoke() != kTfLiteOk) return Refuse("Invoke failed");
    for (size_t i = 0; i < interpreter.outputs_size(); ++i) {
      const TfLiteTensor* tensor = interpreter.output(i);
      out.write(reinterpret_cast<const char*>(tensor->data.raw), static_cast<std::streamsize>(tensor->bytes));
    }
  }
  return 0;
}

// The last lines that a model's process said, as the inside of a JSON string.
std::string LastWords(const std::string& path) {
  const std::vector<uint8_t> said = Contents(path);
  std::string words;
  for (const uint8_t c : said) {
    if (c == '\n') {
      if (!words.empty() && words.back() != '|') words += " |";
    } else if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
      words += static_cast<char>(c);
    }
  }
  return words.substr(0, 300);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string cases = argv[1], out = argv[2];
  std::ifstream list(cases + "/list.txt");
  std::ofstream lines(out + "/said.jsonl");
  std::string name;
  while (list >> name) {
    const std::string said = out + "/" + name + ".said";
    lines.flush();
    const pid_t child = fork();
    if (child == 0) {
      const int file = open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      dup2(file, 1);
      dup2(file, 2);
      alarm(kSeconds);
      const std::string model = cases + "/" + name;
      const int code = Run(model + ".tflite", model + ".in", out + "/" + name + ".out");
      std::fflush(nullptr);
      _exit(code);
    }
    int status = 0;
    waitpid(child, &status, 0);
    std::string ended = "ran", why;
    if (WIFSIGNALED(status)) {
      ended = "crashed";
      why = "signal " + std::to_string(WTERMSIG(status)) + ": " + LastWords(said);
    } else if (WEXITSTATUS(status) == kRefused) {
      ended = "refused";
      why = LastWords(said);
    } else if (WEXITSTATUS(status) != 0) {
      ended = "crashed";
      why = "exit code " + std::to_string(WEXITSTATUS(status));
    }
    unlink(said.c_str());
    lines << "{\"name\": \"" << name << "\", \"ended\": \"" << ended << "\", \"why\": \"" << why << "\"}\n";
  }
  return 0;
}
