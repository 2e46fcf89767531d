#include "tests/bench/limits/frames.h"

#include <iostream>

#include "spillway/v1/broker.pb.h"

namespace spillway::bench {

std::string PublishFrame(const Shape& shape) {
  v1::PublishRequest request;
  v1::PublishBatch* batch = request.mutable_publish();
  batch->set_first_sequence(1'000'000);  // as long a number as in the middle of a run
  for (uint32_t i = 0; i < shape.batch; ++i) {
    batch->add_records()->set_payload(HalfRandom(shape.record_bytes, i + 1));
  }
  return request.SerializeAsString();
}

nlohmann::json QuantilesJson(const Histogram& h) {
  const auto us = [&](double q) { return static_cast<double>(h.Quantile(q)) / 1000; };
  return {{"p50_us", us(0.5)}, {"p99_us", us(0.99)}, {"p999_us", us(0.999)}};
}

int PrintResult(const nlohmann::json& result) {
  std::cout << result.dump() << std::endl;
  return 0;
}

int Fail(const std::string& why) {
  std::cerr << why << std::endl;
  return 1;
}

}  // namespace spillway::bench
