// The broker's hot paths one by one, without gRPC: see docs/benchmarks.md.
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
