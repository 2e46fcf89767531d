// Runs a fuzz target without libFuzzer, as a test: over the files that are named,
// over each of them with some bytes changed, and over random bytes. It finds
// little that fuzzing would not; it keeps targets compiling and old findings fixed.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kMutationsPerSeed = 200;
constexpr int kRandomInputs = 2'000;
constexpr int kMaxRandomBytes = 512;

void Run(const Bytes& bytes) { LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); }

Bytes Read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Always the same numbers, so that a failure is there again.
class Dice {
 public:
  uint32_t Below(uint32_t end) { return static_cast<uint32_t>(engine_() % end); }

 private:
  std::mt19937 engine_{5489};  // NOLINT(cert-msc51-cpp,bugprone-random-generator-seed)
};

Bytes Mutate(Bytes bytes, Dice& dice) {
  for (uint32_t i = 0, n = 1 + dice.Below(4); i < n && !bytes.empty(); ++i) {
    bytes[dice.Below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(dice.Below(256));
  }
  if (dice.Below(4) == 0) bytes.resize(dice.Below(static_cast<uint32_t>(bytes.size()) + 1));
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  Dice dice;
  for (int i = 1; i < argc; ++i) {
    std::printf("%s\n", argv[i]);
    std::fflush(stdout);  // the last line names the culprit
    const Bytes seed = Read(argv[i]);
    Run(seed);
    for (int m = 0; m < kMutationsPerSeed; ++m) Run(Mutate(seed, dice));
  }
  for (int i = 0; i < kRandomInputs; ++i) {
    Bytes bytes(dice.Below(kMaxRandomBytes));
    std::generate(bytes.begin(), bytes.end(),
                  [&] { return static_cast<uint8_t>(dice.Below(256)); });
    Run(bytes);
  }
  return 0;
}
