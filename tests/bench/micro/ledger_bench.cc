// The credit ledger: what each frame costs in it, and what each grant does.
#include <vector>

#include "broker/credit/ledger.h"
#include "tests/bench/micro/shapes.h"

namespace spillway::bench {
namespace {

// Grants a frame's worth and takes the frame, by turns over all producers.
void GrantAndReceive(benchmark::State& state) {
  credit::Ledger ledger;
  std::vector<credit::Ledger::AccountId> accounts;
  for (int64_t i = 0; i < state.range(0); ++i) accounts.push_back(ledger.Open());
  const Credit frame{100, 100 * 104};
  const credit::Bound bound{.window = {1 << 20, 64 << 20}, .held = {}};
  size_t next = 0;
  for ([[maybe_unused]] auto _ : state) {
    const auto id = accounts[next];
    next = next + 1 == accounts.size() ? 0 : next + 1;
    Credit limit = ledger.Grant(id, frame, bound);
    bool taken = ledger.Receive(id, frame);
    benchmark::DoNotOptimize(limit);
    benchmark::DoNotOptimize(taken);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));  // frames
}
BENCHMARK(GrantAndReceive)->ArgName("producers")->Arg(1)->Arg(1000)->Arg(100'000);

// Streams that come, are granted, and go without having sent.
void OpenGrantClose(benchmark::State& state) {
  credit::Ledger ledger;
  const credit::Bound bound{.window = {1 << 20, 64 << 20}, .held = {}};
  for ([[maybe_unused]] auto _ : state) {
    const auto id = ledger.Open();
    Credit limit = ledger.Grant(id, {100, 100 * 104}, bound);
    benchmark::DoNotOptimize(limit);
    ledger.Close(id);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));  // streams
}
BENCHMARK(OpenGrantClose);

}  // namespace
}  // namespace spillway::bench
