// The broker's own accept loop. gRPC's gives its listener up for good after one
// EMFILE and knows no caps; this one outlives both and hands gRPC the sockets.
#pragma once

#include <grpcpp/server_builder.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "broker/base/error.h"

namespace spillway::service {

struct AcceptorOptions {
  std::string listen = "127.0.0.1:0";  // host:port, [] around an IPv6 host
  uint64_t max_connections = 10'000;
  uint64_t max_connections_per_address = 5'000;
};

// Listens on every address that the host resolves to. A connection beyond a cap
// is accepted and closed at once, so that the peer knows.
// Thread-safety: Start and Stop once each; connections() on any thread.
class Acceptor {
 public:
  static Result<std::unique_ptr<Acceptor>> Listen(const AcceptorOptions& options);
  ~Acceptor();

  // Begins to accept. REQUIRES: `to` lives until Stop.
  void Start(std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> to);
  void Stop();

  int port() const { return port_; }
  uint64_t connections() const { return open_count_; }
  // Turned away, since the start.
  uint64_t refused() const { return refused_; }

 private:
  explicit Acceptor(const AcceptorOptions& options) : options_(options) {}
  struct Connection {
    uint64_t inode;  // of the socket, since the number of a descriptor comes back
    std::string address;
  };
  std::optional<Error> Bind();
  void Run();
  void AcceptAll(int listener);
  void Take(int fd, int listener, const std::string& address);
  // Drops what gRPC has closed meanwhile.
  void Sweep();
  void Forget(int fd);
  // No descriptor is left: takes one connection with the spare and closes it.
  void TurnAwayWithSpare(int listener);

  const AcceptorOptions options_;
  std::vector<int> listeners_;
  int port_ = 0;
  int stop_ = -1;   // an eventfd
  int spare_ = -1;  // a descriptor held back for EMFILE
  std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> to_;
  std::thread thread_;
  std::atomic<uint64_t> open_count_ = 0;
  std::atomic<uint64_t> refused_ = 0;

  // The accepting thread's.
  std::unordered_map<int, Connection> open_;
  std::unordered_map<std::string, uint64_t> by_address_;
};

}  // namespace spillway::service
