// What the sessions of one client share: the connection, the thread, the budget.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <mutex>
#include <random>
#include <string>

#include "clients/cpp/spillway/internal/io_loop.h"
#include "clients/cpp/spillway/options.h"

namespace spillway::client::internal {

// Thread-safe.
class Core {
 public:
  // `options` with the environment applied.
  static Result<std::shared_ptr<Core>> Make(ClientOptions options);

  const ClientOptions& options() const { return options_; }
  // "program spillway-cpp/version".
  const std::string& client_name() const { return client_name_; }
  IoLoop& loop() { return loop_; }
  // The connection; a new one if the last has failed, so that gRPC's own waits do
  // not add to ours.
  std::shared_ptr<grpc::Channel> channel();

  // Takes a token for a retry; false if the budget is used up.
  bool TakeRetry();
  void Succeeded();
  // Between 0 and `max`.
  milliseconds Jitter(milliseconds max);
  // 16 random hexadecimal digits, for producer ids.
  std::string RandomId();

 private:
  Core(ClientOptions options, std::string ca_pem);
  std::shared_ptr<grpc::Channel> Dial() const;

  const ClientOptions options_;
  const std::string ca_pem_;
  const std::string client_name_;
  IoLoop loop_;
  std::mutex mu_;
  std::shared_ptr<grpc::Channel> channel_;
  double tokens_;
  std::mt19937_64 random_;
};

}  // namespace spillway::client::internal
